"""Rate and use of codes, against closed forms and published figures."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dvq_ray.quantizer.usage import (
    codes_used,
    count,
    entropy_bits_per_vector,
    perplexity,
    unseen_codes,
    vectors_per_code,
)


def test_codes_are_counted_for_each_codebook() -> None:
    first, second = count(np.array([[0, 1], [0, 2], [1, 2]], np.uint8), (2, 4))
    assert first.tolist() == [2, 1]
    assert second.tolist() == [0, 1, 2, 0]


def test_equally_likely_codes_cost_their_logarithm() -> None:
    counts = [np.full(16, 10), np.full(4, 40)]
    assert entropy_bits_per_vector(counts, counts) == pytest.approx(6)
    assert perplexity(counts[0]) == pytest.approx(16)


def test_test_codes_cost_what_the_training_codes_say_with_half_an_occurrence_added() -> None:
    bits = entropy_bits_per_vector([np.array([3, 1, 0])], [np.array([1, 0, 1])])
    assert bits == pytest.approx((-math.log2(3.5 / 5.5) - math.log2(0.5 / 5.5)) / 2)


def test_a_code_that_training_never_saw_costs_finitely_many_bits_and_more_than_any_other() -> None:
    unseen = entropy_bits_per_vector([np.array([1000, 0])], [np.array([0, 5])])
    seen = entropy_bits_per_vector([np.array([1000, 0])], [np.array([5, 0])])
    assert math.isfinite(unseen)
    assert unseen == pytest.approx(math.log2(1001 / 0.5))
    assert seen < 0.01


def test_the_model_costs_the_entropy_and_the_distance_to_it() -> None:
    rng = np.random.default_rng(0)
    train, test = rng.multinomial(100_000, [0.5, 0.25, 0.25]), rng.multinomial(100_000, [0.25, 0.5, 0.25])
    own, other = entropy_bits_per_vector([test], [test]), entropy_bits_per_vector([train], [test])
    assert own == pytest.approx(1.5, abs=0.01)
    assert other - own == pytest.approx(0.25, abs=0.01), "the Kullback-Leibler divergence of the two"


def test_perplexity_is_two_to_the_entropy() -> None:
    assert perplexity(np.array([2, 1, 1, 0])) == pytest.approx(2**1.5)
    assert codes_used(np.array([2, 1, 1, 0])) == 3


def test_unseen_codes_are_those_of_published_software() -> None:
    """Of EstimateS, as scikit-bio's tests have them: 9.75 in all, from 9.07 to 17.45, of 9 seen."""
    counts = np.array([0, 1, 1, 4, 2, 5, 2, 4, 1, 2, *[0] * 20])
    found = unseen_codes(counts)
    assert found.estimate == pytest.approx(0.75)
    assert found.low == pytest.approx(0.07, abs=0.005)
    assert found.high == pytest.approx(8.45, abs=0.005)


def test_no_more_codes_are_unseen_than_there_are() -> None:
    found = unseen_codes(np.array([1, 1, 1, 1, 1, 0]))
    assert found.estimate == found.high == 1
    assert 0 < found.low <= 1
    assert unseen_codes(np.array([1, 1, 1, 1])).high == 0


def test_where_hardly_a_code_occurs_once_none_are_unseen() -> None:
    assert unseen_codes(np.array([9, 8, 1, 0])).estimate == 0
    assert unseen_codes(np.array([5, 5, 0, 0])).high == 0


def test_the_interval_covers_the_truth_where_codes_are_equally_likely() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(400):
        counts = rng.multinomial(1000, np.full(1024, 1 / 1024))
        found = unseen_codes(counts)
        covered += found.low <= 1024 - codes_used(counts) <= found.high
    assert 0.92 <= covered / 400 <= 0.99


def test_training_vectors_are_counted_for_each_code_of_the_largest_codebook() -> None:
    assert vectors_per_code(1000, (10, 100)) == 10
