from __future__ import annotations

import itertools
import math
from collections import Counter

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.metrics import mutual_info_score

from dvq_ray.experiments.learned_prior import rate
from dvq_ray.experiments.learned_prior.code_counts import CodeCounts, Codes
from dvq_ray.experiments.learned_prior.rate import (
    RANDOM_ASSIGNMENTS,
    ChainPrior,
    UnigramPrior,
    dependence_bits,
    joint_entropy_bits,
    random_dependence_bits,
    refit_dependence_bits,
)


def random_codes(images: int, codebooks: int, codes: int, size: int, seed: int = 0) -> npt.NDArray[np.int32]:
    return np.random.default_rng(seed).integers(size, size=(images, codebooks, codes), dtype=np.int32)


def counted(codes: Codes, size: int) -> CodeCounts:
    counts = CodeCounts(size, pairs=True)
    counts.add(codes)
    return counts


def unigram(codes: Codes, size: int) -> UnigramPrior:
    return UnigramPrior.fitted(counted(codes, size).counts)


def unigram_bits(train: Codes, test: Codes, size: int) -> float:
    return unigram(train, size).bits_per_image(counted(test, size).counts, len(test))


def chain(codes: Codes, size: int) -> ChainPrior:
    counts = counted(codes, size)
    return ChainPrior.fitted(counts.counts, counts.pairs)


def chain_bits(prior: ChainPrior, codes: Codes) -> float:
    counts = counted(codes, prior.counts.shape[1])
    return prior.bits_per_position(counts.counts, counts.pairs)


def test_a_unigram_prior_of_equally_frequent_codes_costs_as_much_as_a_uniform_one() -> None:
    codes = np.tile(np.arange(8), (5, 3, 2))
    assert unigram_bits(codes, codes, 8) == pytest.approx(3 * 16 * math.log2(8))


def test_a_unigram_prior_adds_half_an_occurrence_to_each_code_of_each_codebook() -> None:
    train = np.array([[[0, 0, 0], [1, 1, 2]]])
    test = np.array([[[0, 1, 3], [1, 2, 3]], [[0, 0, 0], [0, 0, 0]]])
    first = {0: 3.5 / 5, 1: 0.5 / 5, 2: 0.5 / 5, 3: 0.5 / 5}
    second = {0: 0.5 / 5, 1: 2.5 / 5, 2: 1.5 / 5, 3: 0.5 / 5}
    likelihood = [math.prod(first[c] for c in image[0]) * math.prod(second[c] for c in image[1]) for image in test]
    expected = -np.log2(likelihood).mean()
    assert unigram_bits(train, test, 4) == pytest.approx(expected)


def test_no_prior_of_the_form_costs_less_on_its_own_codes_than_their_entropy() -> None:
    codes = random_codes(50, 2, 16, 8) ** 2 // 8
    bits = unigram_bits(codes, codes, 8)
    entropy = 16 * sum(math.log2(p) for p in rate.perplexity(counted(codes, 8).counts))
    assert entropy < bits < entropy + 1


def test_the_bits_of_single_images_are_those_of_their_codes_and_have_the_same_mean() -> None:
    train, test = random_codes(50, 3, 16, 8), random_codes(20, 3, 16, 8, seed=1)
    prior = unigram(train, 8)
    by_hand = [sum(prior.bits[place, code] for place in range(3) for code in image[place]) for image in test]
    np.testing.assert_allclose(prior.bits_of_images(test), by_hand)
    assert prior.bits_of_images(test).mean() == pytest.approx(unigram_bits(train, test, 8))


def chain_codes(positions: int, seed: int = 0) -> npt.NDArray[np.int64]:
    """Three codebooks of 8 codes: the second is the first one with a chance of 3/4, the third shares nothing."""
    rng = np.random.default_rng(seed)
    first, other, third = rng.integers(8, size=(3, positions))
    second = np.where(rng.random(positions) < 0.75, first, other)
    return np.stack([first, second, third])[np.newaxis]


def test_a_chain_prior_costs_what_the_dependence_of_neighbouring_codebooks_leaves() -> None:
    same, other = 0.75 + 0.25 / 8, 0.25 / 8
    entropy = 3 - same * math.log2(same) - 7 * other * math.log2(other) + 3
    cost = chain_bits(chain(chain_codes(100_000), 8), chain_codes(100_000, seed=1))
    assert cost == pytest.approx(entropy, abs=0.01)


def test_a_chain_prior_is_not_bounded_by_the_number_of_positions_as_the_joint_entropy_is() -> None:
    """Four independent codebooks of 16 codes have 16 bits; no plug-in estimate from 4,096 positions exceeds 12."""
    train, test = random_codes(64, 4, 64, 16), random_codes(64, 4, 64, 16, seed=1)
    assert joint_entropy_bits(test) <= 12
    assert chain_bits(chain(train, 16), test) == pytest.approx(16, abs=0.15)


def test_a_chain_prior_is_a_distribution_over_all_codes_of_a_position() -> None:
    prior = chain(random_codes(3, 3, 5, 4) ** 2 // 4, 4)
    positions = [np.array(codes).reshape(1, 3, 1) for codes in itertools.product(range(4), repeat=3)]
    assert sum(2 ** -chain_bits(prior, codes) for codes in positions) == pytest.approx(1)


def chain_bits_by_hand(train: npt.NDArray[np.int32], test: npt.NDArray[np.int32], size: int) -> float:
    """Half an occurrence for each code is added: of the first codebook to each, of the others to a code's followers, as
    their unigram distribution deals them."""
    rows, wanted = (codes.transpose(0, 2, 1).reshape(-1, codes.shape[1]).tolist() for codes in (train, test))
    singles = [Counter(column) for column in zip(*rows, strict=True)]
    pairs = [Counter((row[place], row[place + 1]) for row in rows) for place in range(train.shape[1] - 1)]
    bits = 0.0
    for row in wanted:
        alone = [(singles[place][code] + 0.5) / (len(rows) + size / 2) for place, code in enumerate(row)]
        bits -= math.log2(alone[0])
        for place, pair in enumerate(itertools.pairwise(row)):
            occurrences = pairs[place][pair] + size / 2 * alone[place + 1]
            bits -= math.log2(occurrences / (singles[place][pair[0]] + size / 2))
    return bits / len(wanted)


@pytest.mark.parametrize("size", [2, 16, 100_000])
@pytest.mark.parametrize("codebooks", [1, 2, 5])
def test_a_chain_prior_costs_what_counting_by_hand_says(codebooks: int, size: int) -> None:
    """A table of all pairs of 100,000 codes would have 10^10 entries."""
    train, test = random_codes(10, codebooks, 64, size), random_codes(5, codebooks, 64, size, seed=1)
    test[0] = train[0]
    cost = chain_bits(chain(train, size), test)
    assert cost == pytest.approx(chain_bits_by_hand(train, test, size))


def test_a_chain_prior_of_one_codebook_is_its_unigram_prior() -> None:
    train, test = random_codes(50, 1, 16, 8) ** 2 // 8, random_codes(20, 1, 16, 8, seed=1)
    expected = unigram_bits(train, test, 8) / 16
    assert chain_bits(chain(train, 8), test) == pytest.approx(expected)


def test_perplexity_and_use_of_each_codebook() -> None:
    codes = np.stack([np.arange(8), np.arange(8) % 2, np.full(8, 5)])[np.newaxis]
    assert rate.codes_used(counted(codes, 16).counts) == [8, 2, 1]
    np.testing.assert_allclose(rate.perplexity(counted(codes, 16).counts), [8, 2, 1])


def test_dependence_of_large_codebooks_needs_no_table_of_all_pairs() -> None:
    """A table of all pairs of 2^20 codes would have 2^40 entries."""
    codes = np.repeat(random_codes(20, 1, 50, 1 << 20), 2, axis=1)
    assert dependence_bits(codes, 1 << 20, np.random.default_rng(0)) == pytest.approx(0, abs=0.01)


def test_joint_entropy_of_all_pairs_once_is_the_sum_and_of_copies_that_of_one() -> None:
    pairs = np.array(list(itertools.product(range(4), range(8)))).T[np.newaxis]
    assert joint_entropy_bits(pairs) == pytest.approx(5)
    copies = np.repeat(random_codes(4, 1, 100, 16), 3, axis=1)
    assert joint_entropy_bits(copies) == pytest.approx(math.log2(rate.perplexity(counted(copies, 16).counts)[0]))


@pytest.mark.parametrize("codebooks", [6, 7, 20])
def test_joint_entropy_tells_tuples_apart_whose_number_is_beyond_64_bits(codebooks: int) -> None:
    """Six codebooks of 1,024 codes fit. The entropy is that of counting whole rows."""
    codes = random_codes(20, codebooks, 30, 2, seed=1) * 1023
    rows = codes.transpose(0, 2, 1).reshape(-1, codebooks)
    shares = np.unique(rows, axis=0, return_counts=True)[1] / len(rows)
    assert joint_entropy_bits(codes) == pytest.approx(-(shares * np.log2(shares)).sum())


def test_dependence_of_independent_codes_is_about_zero_where_the_plug_in_estimate_is_not() -> None:
    codes = random_codes(100, 4, 64, 64)
    plug_in = mutual_info_score(codes[:, 0].ravel(), codes[:, 1].ravel()) / math.log(2)
    assert plug_in > 0.3
    assert dependence_bits(codes, 64, np.random.default_rng(0)) == pytest.approx(0, abs=0.01)


def test_dependence_of_copies_is_their_entropy_less_that_of_random_pairs() -> None:
    codes = np.repeat(random_codes(100, 1, 64, 4), 3, axis=1)
    entropy = math.log2(rate.perplexity(counted(codes, 4).counts)[0])
    assert dependence_bits(codes, 4, np.random.default_rng(0)) == pytest.approx(entropy, abs=0.005)


def test_dependence_is_the_mean_over_pairs() -> None:
    """Two of three codebooks are copies: one pair of the three has all of the entropy."""
    codes = random_codes(200, 3, 64, 4)
    codes[:, 2] = codes[:, 0]
    assert dependence_bits(codes, 4, np.random.default_rng(0)) == pytest.approx(2 / 3, abs=0.005)


def test_dependence_is_the_mutual_information_less_that_of_the_drawn_pairing() -> None:
    codes = random_codes(30, 2, 10, 5)
    codes[:, 1] = (codes[:, 0] + codes[:, 1] // 3) % 5
    first, second = codes[:, 0].ravel(), codes[:, 1].ravel()
    shuffled = np.random.default_rng(3).permutation(second)
    nats = mutual_info_score(first, second) - mutual_info_score(first, shuffled)
    assert dependence_bits(codes, 5, np.random.default_rng(3)) == pytest.approx(nats / math.log(2))


def latents_of_independent_slices() -> npt.NDArray[np.float32]:
    """Each slice of 4 features has clusters of its own."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(3, 8, 4)) * 10
    which = rng.integers(8, size=(4000, 3))
    latents = np.concatenate([centres[s][which[:, s]] for s in range(3)], axis=1)
    return (latents + rng.normal(size=latents.shape)).astype(np.float32)


def test_refit_finds_independent_slices_and_a_shuffled_deal_mixes_them() -> None:
    """Dealt out at random, all slices see all clusters."""
    latents = latents_of_independent_slices()
    in_order, shuffled = (
        refit_dependence_bits(latents, 3, 16, np.random.default_rng(1), shuffled=shuffled) for shuffled in (False, True)
    )
    assert in_order == pytest.approx(0, abs=0.02)
    assert shuffled > 0.5


def test_refit_is_the_same_for_the_same_generator_and_takes_no_more_positions_than_it_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rate, "MOST_POSITIONS", 300)
    latents = np.random.default_rng(0).normal(size=(400, 6)).astype(np.float32)
    found = [
        refit_dependence_bits(part, 2, 8, np.random.default_rng(2), shuffled=True) for part in (latents, latents[:300])
    ]
    assert found[0] == found[1]


def test_refit_of_fewer_positions_than_codes_is_possible() -> None:
    latents = np.random.default_rng(0).normal(size=(10, 6)).astype(np.float32)
    assert math.isfinite(refit_dependence_bits(latents, 2, 64, np.random.default_rng(2), shuffled=False))


def test_independent_slices_lie_far_below_those_of_random_features_and_arbitrary_ones_do_not() -> None:
    latents = latents_of_independent_slices()
    for features, is_below in ((np.arange(12), True), (np.random.default_rng(5).permutation(12), False)):
        in_order = refit_dependence_bits(latents[:, features], 3, 16, np.random.default_rng(1), shuffled=False)
        mean, deviation = random_dependence_bits(latents[:, features], 3, 16, np.random.default_rng(2))
        assert (in_order < mean - 4 * deviation) == is_below


def test_random_dependence_is_the_mean_and_deviation_over_deals_of_one_stream() -> None:
    latents = np.random.default_rng(0).normal(size=(400, 6)).astype(np.float32)
    rng = np.random.default_rng(3)
    deals = [refit_dependence_bits(latents, 2, 8, rng, shuffled=True) for _ in range(RANDOM_ASSIGNMENTS)]
    assert len({*deals}) > 1
    found = random_dependence_bits(latents, 2, 8, np.random.default_rng(3))
    assert found == pytest.approx((np.mean(deals), np.std(deals, ddof=1)))
