"""Priors against distributions whose entropy is known in closed form."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from dvq_ray.experiments.code_prior.layout import Codes, Layout, arranged
from dvq_ray.experiments.code_prior.prior import Fit, FittedPrior
from dvq_ray.experiments.code_prior.registry import find_prior, ladder
from dvq_ray.experiments.learned_prior.rate import UnigramPrior

TABLES = ["uniform", "unigram", "positional"]
TRAINED = ["chain", "spatial"]
SMALL = {
    "prior_width": 24,
    "prior_steps": 300,
    "prior_learning_rate": 0.01,
    "prior_batch_positions": 512,
    "prior_convolutions": 2,
}


def fitted(name: str, codes: Codes, layout: Layout, seed: int = 0, **changed: Any) -> FittedPrior:
    settings: Any = SimpleNamespace(**{**SMALL, **changed})
    return find_prior(name).fit(codes, Fit(layout=layout, settings=settings, seed=seed))


def entropy(probabilities: np.ndarray[Any, Any]) -> float:
    return float(-(probabilities * np.log2(probabilities)).sum())


GRID = Layout(4, 4, (4, 4), shared=True)
SKEWED = np.array([0.6, 0.25, 0.1, 0.05])


def independent(rng: np.random.Generator, samples: int) -> Codes:
    return rng.choice(4, size=(samples, 16, 2), p=SKEWED)


@pytest.mark.parametrize("name", ["unigram", "positional", *TRAINED])
def test_independent_codes_cost_their_entropy(name: str) -> None:
    rng = np.random.default_rng(0)
    codes = independent(rng, 3000)
    bits = fitted(name, codes[:2500], GRID).bits(codes[2500:])
    truth = -np.log2(SKEWED[codes[2500:]]).sum((1, 2))
    assert truth.mean() == pytest.approx(32 * entropy(SKEWED), abs=4 * truth.std() / np.sqrt(len(truth)))
    assert bits.mean() == pytest.approx(truth.mean(), rel=0.003)


@pytest.mark.parametrize("name", TABLES + TRAINED)
def test_no_prior_beats_the_truth(name: str) -> None:
    """Cross-entropy is at least entropy: over many draws, the cost beyond the truth's is above 0 on average."""
    draws, beyond = (40, 60) if name in TABLES else (4, 60), []
    for seed in range(draws[0]):
        rng = np.random.default_rng(seed)
        codes = independent(rng, 2 * draws[1])
        train, test = codes[: draws[1]], codes[draws[1] :]
        bits = fitted(name, train, GRID, seed=seed, prior_steps=40).bits(test)
        beyond.append((bits + np.log2(SKEWED[test]).sum((1, 2))).mean())
    assert np.mean(beyond) > 0


def test_unigram_is_that_of_the_rows_of_the_learned_prior() -> None:
    rng = np.random.default_rng(1)
    kept = rng.integers(0, 5, size=(30, 3, 16)) ** 2
    codes, layout = arranged(kept, (17,) * 3, positionwise=True)
    bits = fitted("unigram", codes[:20], layout).bits(codes[20:])
    counts = np.stack([np.bincount(kept[:20, codebook].ravel(), minlength=17) for codebook in range(3)])
    np.testing.assert_allclose(bits, UnigramPrior.fitted(counts).bits_of_images(kept[20:]))


def test_positional_finds_what_each_position_prefers() -> None:
    rng = np.random.default_rng(2)
    tables = rng.dirichlet(np.full(4, 0.5), size=16)
    codes = np.stack([rng.choice(4, size=6000, p=table) for table in tables], axis=1)[:, :, None]
    layout = Layout(4, 4, (4,), shared=True)
    bits = fitted("positional", codes[:4000], layout).bits(codes[4000:]).mean()
    assert bits == pytest.approx(sum(map(entropy, tables)), rel=0.02)
    assert fitted("unigram", codes[:4000], layout).bits(codes[4000:]).mean() > 1.2 * bits


KEPT = 0.9
"""Chance that a code is that of its neighbour; else it is drawn anew."""


def copied(rng: np.random.Generator, before: Codes, kept: float) -> Codes:
    return np.where(rng.random(before.shape) < kept, before, rng.integers(0, 4, before.shape))


def bits_of_copies(before: Codes, codes: Codes, kept: float) -> float:
    """What codes cost a sample, given those that they may be copies of."""
    costs = np.where(codes == before, -np.log2(kept + (1 - kept) / 4), -np.log2(max((1 - kept) / 4, 1e-300)))
    return float(costs.sum() / len(codes))


def expected_bits(kept: float) -> float:
    """Entropy of a code given its neighbour."""
    return entropy(np.array([kept + (1 - kept) / 4, *[(1 - kept) / 4] * 3])) if kept < 1 else 0.0


def in_codebooks(kept: float) -> Codes:
    rng = np.random.default_rng(3)
    first = rng.integers(0, 4, size=(4000, 9))
    second = copied(rng, first, kept)
    return np.stack([first, second, copied(rng, second, kept)], axis=2)


@pytest.mark.long
@pytest.mark.parametrize(("name", "kept"), [("chain", KEPT), ("chain", 1.0), ("spatial", KEPT)])
def test_chain_and_spatial_find_what_codebooks_tell_of_each_other(name: str, kept: float) -> None:
    codes, layout = in_codebooks(kept), Layout(3, 3, (4, 4, 4), shared=True)
    train, test = codes[:3000], codes[3000:]
    truth = 9 * 2 + bits_of_copies(test[:, :, :2], test[:, :, 1:], kept)
    assert truth == pytest.approx(9 * (2 + 2 * expected_bits(kept)), rel=0.02)
    assert fitted(name, train, layout).bits(test).mean() == pytest.approx(truth, rel=0.02)
    assert fitted("unigram", train, layout).bits(test).mean() == pytest.approx(9 * 6, rel=0.001)


@pytest.mark.long
@pytest.mark.parametrize("kept", [KEPT, 1.0])
def test_spatial_finds_what_neighbours_tell_of_each_other(kept: float) -> None:
    """Each code is that of the position above, or a new one; the first row is drawn."""
    rng = np.random.default_rng(4)
    rows = [rng.integers(0, 4, size=(4000, 4))]
    for _ in range(3):
        rows.append(copied(rng, rows[-1], kept))
    codes, layout = np.concatenate(rows, axis=1)[:, :, None], Layout(4, 4, (4,), shared=True)
    train, test = codes[:3000], codes[3000:]
    truth = 4 * 2 + bits_of_copies(test[:, :-4], test[:, 4:], kept)
    assert truth == pytest.approx(4 * 2 + 12 * expected_bits(kept), rel=0.02)
    assert fitted("spatial", train, layout).bits(test).mean() == pytest.approx(truth, rel=0.02)
    assert fitted("chain", train, layout).bits(test).mean() == pytest.approx(32, rel=0.001)


def test_codebooks_of_regions_lie_along_the_positions() -> None:
    kept = np.arange(2 * 2 * 8).reshape(2, 2, 8) % 3
    codes, layout = arranged(kept, (3, 3), positionwise=False)
    assert (layout.height, layout.width, layout.codes) == (4, 4, 1)
    assert [layout.codebook(position, 0) for position in range(16)] == [0] * 8 + [1] * 8
    np.testing.assert_array_equal(codes[1, :, 0], kept[1].ravel())
    assert [column.tolist() for column in layout.pooled(codes)] == [kept[:, book].ravel().tolist() for book in (0, 1)]


@pytest.mark.parametrize(("codes", "joint", "grid"), [(16, 4, (8, 2)), (8, 8, (8, 1)), (64, 1, (8, 8)), (6, 1, (1, 6))])
def test_a_code_may_stand_for_neighbouring_positions(codes: int, joint: int, grid: tuple[int, int]) -> None:
    kept = np.zeros((3, 2, codes // 2), np.int64)
    layout = arranged(kept, (2, 2), positionwise=False, joint_positions=joint)[1]
    assert (layout.height, layout.width) == grid


def test_a_code_that_its_codebook_does_not_have_is_an_error() -> None:
    with pytest.raises(ValueError, match="the code 3 in codebook 1, which has 3"):
        arranged(np.array([[0, 3]]), (4, 3), positionwise=True)


@pytest.mark.parametrize("name", TABLES + TRAINED)
@pytest.mark.parametrize("shared", [True, False])
def test_every_prior_is_a_distribution_and_comes_back_from_its_arrays(name: str, shared: bool) -> None:
    rng = np.random.default_rng(5)
    layout = Layout(2, 2, (2, 3) if shared else (3, 3), shared=shared)
    codes = rng.integers(0, 2, size=(50, 4, layout.codes))
    prior = fitted(name, codes, layout, prior_steps=5)
    sizes = [layout.size(position, place) for position in range(4) for place in range(layout.codes)]
    every = np.stack(np.meshgrid(*map(range, sizes), indexing="ij"), -1)
    every = every.reshape(-1, 4, layout.codes)
    assert (2.0 ** -prior.bits(every)).sum() == pytest.approx(1)
    again = find_prior(name).fitted.rebuilt(layout, prior.arrays())
    assert again.digest == prior.digest
    np.testing.assert_array_equal(again.bits(codes), prior.bits(codes))
    assert all(array.dtype.kind in "iu" for array in prior.arrays().values())


@pytest.mark.parametrize("shared", [True, False])
def test_the_whole_numbered_network_computes_what_was_trained(shared: bool) -> None:
    from dvq_ray.experiments.code_prior.integer_network import IntegerNetwork
    from dvq_ray.experiments.code_prior.training import Network

    rng = np.random.default_rng(6)
    layout = Layout(4, 4, (5, 6) if shared else (5, 5), shared=shared)
    codes = rng.integers(0, 5, size=(20, 16, layout.codes))
    start = [torch.randn(size) for size in layout.sizes]
    network = Network(layout, 16, 3, start, torch.Generator().manual_seed(0))
    nats = [float(network(torch.from_numpy(codes[row : row + 1])).detach()) for row in range(20)]
    bits = IntegerNetwork(layout, network.arrays()).bits(codes)
    np.testing.assert_allclose(bits * np.log(2), nats, rtol=1e-3)


def test_probabilities_do_not_depend_on_what_is_computed_beside_them() -> None:
    """To the bit: sums of whole numbers are exact in any order, so an encoder and a decoder may compute differently."""
    rng = np.random.default_rng(7)
    codes = rng.integers(0, 4, size=(300, 16, 2))
    prior = fitted("spatial", codes, GRID, prior_steps=20)
    one = np.concatenate([prior.bits(codes[row : row + 1]) for row in range(40)])
    np.testing.assert_array_equal(one, prior.bits(codes)[:40])


def test_training_is_the_same_each_time_and_depends_on_the_seed() -> None:
    codes = independent(np.random.default_rng(8), 200)
    digests = [fitted("spatial", codes, GRID, seed=seed, prior_steps=10).digest for seed in (0, 0, 1)]
    assert digests[0] == digests[1] != digests[2]


def test_the_ladder_begins_with_what_knows_least() -> None:
    assert ladder() == ["uniform", "unigram", "positional", "chain", "spatial"]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_trains_to_about_the_same_rate() -> None:
    codes, layout = in_codebooks(KEPT), Layout(3, 3, (4, 4, 4), shared=True)
    settings: Any = SimpleNamespace(**SMALL)
    rates = [
        find_prior("spatial").fit(codes[:3000], Fit(layout=layout, settings=settings, seed=0, device=device))
        .bits(codes[3000:]).mean() for device in ("cpu", "cuda")
    ]  # fmt: skip
    assert rates[1] == pytest.approx(rates[0], rel=0.01)
