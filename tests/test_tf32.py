from __future__ import annotations

import struct

import numpy as np
import pytest
import torch

from benchmarks import tf32
from benchmarks.tf32 import agreement, rounded_to_tf32, tf32_codes
from dvq_ray.quantizer.nearest import nearest_codes


def test_tf32_keeps_ten_bits_and_rounds_to_the_nearest_and_the_even_one() -> None:
    step = 2.0**-10
    given = [1 + step / 2, 1 + 1.5 * step, 1 + 0.51 * step, 1 + 0.49 * step, -(1 + 0.75 * step), 0.0, 3e38, 1 + step]
    expected = [1, 1 + 2 * step, 1 + step, 1, -(1 + step), 0.0, None, 1 + step]
    found = rounded_to_tf32(torch.tensor(given)).tolist()
    for one, other in zip(found, expected, strict=True):
        assert other is None or one == other
    random = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    rounded = rounded_to_tf32(random)
    assert ((rounded - random).abs() <= random.abs() * 2.0**-11).all()
    bits = [struct.unpack("<I", struct.pack("<f", value))[0] for value in rounded.tolist()]
    assert {each & 0x1FFF for each in bits} == {0}


def drawn(spread: float) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    codebooks = torch.randn(2, 64, 32, generator=random)
    places = torch.randint(64, (2, 2000), generator=random)
    vectors = torch.stack([codes[own] for codes, own in zip(codebooks, places, strict=True)])
    return vectors + spread * torch.randn(vectors.shape, generator=random), codebooks


def test_vectors_close_to_their_codes_keep_them_in_tf32() -> None:
    assert agreement(*drawn(0.01)) == {"float32": 1.0, "tf32": 1.0, "excess": 0.0}


def test_vectors_between_codes_change_some_and_the_error_grows_by_little() -> None:
    vectors, codebooks = drawn(30.0)
    found = agreement(vectors, codebooks)
    assert 0.98 < found["tf32"] < found["float32"] <= 1
    assert 0 < found["excess"] < 1e-4
    by_hand = (tf32_codes(vectors, codebooks) == nearest_codes(vectors.double(), codebooks.double())).double().mean()
    assert found["tf32"] == pytest.approx(float(by_hand))


def test_the_codes_of_a_training_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    from dvq_ray.experiments.learned_prior.device import DataSet, Device
    from dvq_ray.experiments.learned_prior.images import Images
    from dvq_ray.experiments.learned_prior.training import Training

    pixels = np.random.default_rng(0).integers(0, 256, (20, 3, 32, 32), dtype=np.uint8)
    device = Device("cpu")
    training = Training(tf32.small(2), 0, DataSet(Images(train=pixels, test=pixels, sha256=""), device), device)
    found = tf32.agreement_of(training, images=5)
    assert 0.9 < found["tf32"] <= 1
    assert found["float32"] > 0.999
