"""Codes to bytes and back."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from dvq_ray.experiments.code_prior import integer_network
from dvq_ray.experiments.code_prior import prior as prior_module
from dvq_ray.experiments.code_prior.coding import HEADER_BYTES, CodingError, decoded, encoded
from dvq_ray.experiments.code_prior.layout import Codes, Layout
from dvq_ray.experiments.code_prior.registry import ladder
from tests.code_prior.test_priors import GRID, fitted, independent

LAYOUTS = {
    "grid": GRID,
    "vector": Layout(1, 1, (5, 3, 16), shared=True),
    "regions": Layout(2, 2, (4, 4), shared=False),
}


def drawn(layout: Layout, samples: int) -> Codes:
    rng = np.random.default_rng(0)
    codes = np.zeros((samples, layout.positions, layout.codes), np.int64)
    for position in range(layout.positions):
        for place in range(layout.codes):
            size = layout.size(position, place)
            codes[:, position, place] = np.minimum(rng.geometric(0.4, samples) - 1, size - 1)
    return codes


@pytest.mark.long
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("name", ladder())
def test_codes_come_back_and_take_what_the_prior_says(name: str, layout: Layout) -> None:
    codes = drawn(layout, 12_000 if layout.positions < 16 else 2000)
    prior = fitted(name, codes[:200], layout, prior_steps=20)
    content = encoded(prior, codes)
    np.testing.assert_array_equal(decoded(prior, content), codes)
    bits = prior.bits(codes).sum()
    assert bits <= 8 * (len(content) - HEADER_BYTES) <= 1.001 * bits + 32


def test_a_single_sample_and_none_come_back() -> None:
    codes = drawn(GRID, 3)
    prior = fitted("spatial", codes, GRID, prior_steps=5)
    for samples in (0, 1):
        np.testing.assert_array_equal(decoded(prior, encoded(prior, codes[:samples])), codes[:samples])


@pytest.mark.parametrize("name", ["unigram", "spatial"])
def test_many_samples_are_coded_block_by_block(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    codes = drawn(GRID, 25)
    prior = fitted(name, codes, GRID, prior_steps=5)
    together = prior.bits(codes)
    monkeypatch.setattr(prior_module, "_POSITIONS_AT_ONCE", 10 * GRID.positions)
    assert [block.stop - block.start for block in prior_module.blocks(25, GRID)] == [10, 10, 5]
    np.testing.assert_array_equal(prior.bits(codes), together)
    np.testing.assert_array_equal(decoded(prior, encoded(prior, codes)), codes)


def test_certain_codes_take_next_to_nothing() -> None:
    codes = np.zeros((5000, 16, 2), np.int64)
    prior = fitted("unigram", codes, GRID)
    assert len(encoded(prior, codes)) - HEADER_BYTES < 16


def test_another_prior_is_rejected() -> None:
    codes = independent(np.random.default_rng(0), 300)
    first, other = fitted("unigram", codes[:150], GRID), fitted("unigram", codes[150:], GRID)
    with pytest.raises(CodingError, match="another prior"):
        decoded(other, encoded(first, codes))


@pytest.mark.parametrize("name", ["unigram", "spatial"])
def test_a_damaged_file_never_gives_wrong_codes(name: str) -> None:
    codes = independent(np.random.default_rng(0), 50)
    prior = fitted(name, codes, GRID, prior_steps=5)
    content = encoded(prior, codes)
    for place in range(0, len(content), 7):
        broken = bytearray(content)
        broken[place] ^= 0x10
        with pytest.raises(CodingError):
            decoded(prior, bytes(broken))
    for length in (0, 10, HEADER_BYTES - 1, HEADER_BYTES + 4, len(content) - 4):
        with pytest.raises(CodingError):
            decoded(prior, content[:length])


def test_probabilities_of_another_processor_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Were some probability of the decoder another one, codes would be wrong from there on: the digest says so."""
    codes = independent(np.random.default_rng(0), 50)
    prior = fitted("chain", codes, GRID, prior_steps=5)
    content = encoded(prior, codes)
    exact = integer_network.probabilities_of
    monkeypatch.setattr(integer_network, "probabilities_of", lambda logits: exact(logits + np.arange(logits.shape[1])))
    with pytest.raises(CodingError, match="other codes were decoded"):
        decoded(prior, content)


def test_bytes_are_the_same_on_every_machine() -> None:
    """Pinned: a network of given whole numbers writes these bytes, wherever the test runs."""
    rng = np.random.default_rng(0)
    width, taps = 8, (12, 5)
    arrays = {f"convolution{place}.weights": rng.integers(-4000, 4000, (count * width, width), np.int16)
              for place, count in enumerate(taps)}  # fmt: skip
    arrays |= {"convolution0.bias": rng.integers(-900, 900, (16, width), np.int32)}
    arrays |= {"convolution1.bias": rng.integers(-900, 900, width, np.int32)}
    for book in range(2):
        shapes = {
            "bias": (width,),
            "hidden": (width, width),
            "hidden_bias": (width,),
            "output": (width, 4),
            "logits": (4,),
        }
        arrays |= {f"head{book}.{name}": rng.integers(-3000, 3000, shape, np.int32) for name, shape in shapes.items()}
        arrays |= {f"{name}{book}": rng.integers(-2000, 2000, (4, width), np.int32) for name in ("link", "embedding")}
    prior = integer_network.IntegerNetwork(GRID, arrays)
    content = encoded(prior, independent(rng, 100))
    assert hashlib.sha256(content).hexdigest() == "aa9f094445c03191df40fa4ecc01e968ca5e2e20a94bfa12a630692822e93c7b"
