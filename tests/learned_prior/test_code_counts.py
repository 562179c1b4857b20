from __future__ import annotations

import tracemalloc
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from dvq_ray.experiment.registry import find_experiment
from dvq_ray.experiments.learned_prior import code_counts
from dvq_ray.experiments.learned_prior.autoencoder import build_autoencoder
from dvq_ray.experiments.learned_prior.code_counts import CodeCounts, Codes, CodeSample, evenly_spaced
from dvq_ray.experiments.learned_prior.device import Device, ImageSet
from dvq_ray.experiments.learned_prior.evaluation import evaluate
from dvq_ray.experiments.learned_prior.settings import LearnedPriorSettings

SIZE = 12


def batches(number: int, images: int = 7, codebooks: int = 3, codes: int = 5, size: int = SIZE) -> Iterator[Codes]:
    rng = np.random.default_rng(0)
    return (rng.integers(size, size=(images, codebooks, codes)) for _ in range(number))


@pytest.mark.parametrize("size", [SIZE, 1000])  # pairs in a table, and sorted
@pytest.mark.parametrize("at_once", [1, 150, 1 << 22])
def test_counts_of_batches_are_those_of_all_codes_by_hand(
    size: int, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(code_counts, "_COUNTED_AT_ONCE", at_once)
    counted = CodeCounts(size, pairs=True)
    for batch in batches(9, size=size):
        counted.add(batch)
    rows = [
        list(row) for batch in batches(9, size=size) for image in batch.tolist() for row in zip(*image, strict=True)
    ]
    assert counted.images == 63
    for place in range(3):
        expected = Counter(row[place] for row in rows)
        assert {code: n for code, n in enumerate(counted.counts[place].tolist()) if n} == expected
    assert len(counted.pairs) == 2
    for place, (numbers, times) in enumerate(counted.pairs):
        assert (np.diff(numbers) > 0).all()
        found = {divmod(number, size): n for number, n in zip(numbers.tolist(), times.tolist(), strict=True)}
        assert found == Counter((row[place], row[place + 1]) for row in rows)


def test_counts_can_be_read_between_batches() -> None:
    counted = CodeCounts(SIZE, pairs=True)
    totals = []
    for batch in batches(3):
        counted.add(batch)
        totals.append((int(counted.counts[0].sum()), sum(int(times.sum()) for _, times in counted.pairs)))
    assert totals == [(35, 70), (70, 140), (105, 210)]


@pytest.mark.parametrize(("most", "step"), [(10_000, 1), (9 * 5, 7), (5, 63), (1, 63)])
def test_a_sample_is_of_evenly_spaced_images_whatever_the_batches(most: int, step: int) -> None:
    sample = CodeSample(SIZE, 63, most)
    for batch in batches(9):
        sample.add(batch)
    whole = np.concatenate(list(batches(9)))
    assert sample.codes.dtype == np.uint8
    np.testing.assert_array_equal(sample.codes, whole[::step])
    np.testing.assert_array_equal(evenly_spaced(whole, most), whole[::step])
    np.testing.assert_array_equal(evenly_spaced(sample.codes, most), sample.codes)


def test_a_sample_without_a_limit_has_all_codes_in_the_smallest_type() -> None:
    sample = CodeSample(300, 63, None)
    for batch in batches(9, size=300):
        sample.add(batch)
    assert sample.codes.dtype == np.uint16
    np.testing.assert_array_equal(sample.codes, np.concatenate(list(batches(9, size=300))))


def peak_bytes(images: int) -> int:
    """Of counting and sampling so many images with 4 codebooks of 512 and 64 positions."""
    rng = np.random.default_rng(0)
    batch = rng.integers(512, size=(250, 4, 64)).astype(np.uint16)
    tracemalloc.start()
    counted, sample = CodeCounts(512, pairs=True), CodeSample(512, images, 50_000)
    for _ in range(images // 250):
        counted.add(batch)
        sample.add(batch)
    assert counted.counts.sum() == images * 4 * 64
    assert len(counted.pairs) == 3
    assert sample.codes.shape[0] * 64 <= 50_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_memory_does_not_grow_with_the_number_of_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code_counts, "_COUNTED_AT_ONCE", 1 << 18)
    few, many = peak_bytes(4_000), peak_bytes(40_000)
    assert many < 1.2 * few
    assert many < 40_000 * 4 * 64 * 2, "all codes in the smallest type take more"


@pytest.mark.parametrize("codebook_size", [200, 300, 40_000])
def test_an_evaluation_hands_on_the_codes_of_each_batch_in_the_smallest_type(codebook_size: int) -> None:
    settings = find_experiment("learned_prior").settings(
        {
            "quantizer": "dvq", "slices": 2, "image_size": 8, "dimension": 4, "downsamplings": 1, "stem_channels": 4,
            "body_channels": 4, "residual_blocks": 0, "codebook_size": codebook_size, "logistic_mixtures": 1,
        }
    )  # fmt: skip
    assert isinstance(settings, LearnedPriorSettings)
    model = build_autoencoder(settings, torch.Generator().manual_seed(0))
    pixels = torch.randint(256, (10, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    seen: list[Codes] = []
    evaluate(model, ImageSet(pixels, Device("cpu")), Device("cpu"), 4, see_codes=seen.append)
    assert [codes.shape for codes in seen] == [(4, 2, 16), (4, 2, 16), (2, 2, 16)]
    assert {codes.dtype for codes in seen} == {np.dtype(np.uint8 if codebook_size <= 256 else np.uint16)}
    with torch.no_grad():
        expected = model.quantizer.encode(model.encode_latents(pixels)).numpy()
    np.testing.assert_array_equal(np.concatenate(seen), expected)
    assert codebook_size < 40_000 or expected.max() > 32_767, "no code is beyond the signed type"
