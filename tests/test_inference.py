from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from dvq_ray import inference


@pytest.mark.parametrize("n", [2, 5, 8, 12])
def test_sign_flips_are_those_of_scipys_exact_test(n: int) -> None:
    values = np.random.default_rng(n).standard_t(2, n) + 0.4
    exact = stats.permutation_test(
        (values,), np.sum, permutation_type="samples", n_resamples=2**n, alternative="greater"
    )
    assert inference.sign_flip_p_above(values) == pytest.approx(exact.pvalue, abs=1e-12)


def test_a_sample_of_one_sign_has_the_least_p_value() -> None:
    assert inference.sign_flip_p_above(np.arange(1.0, 21.0)) == 2**-20


def test_drawn_flips_agree_with_all_of_them() -> None:
    values = np.random.default_rng(1).normal(0.3, 1, inference.MOST_EXACT)
    exact = inference.sign_flip_p_above(values)
    rng = np.random.default_rng(2)
    drawn = (rng.choice([-1.0, 1.0], size=(400_000, len(values))) @ values >= values.sum()).mean()
    assert exact == pytest.approx(drawn, rel=0.05)
    longer = np.append(values, 0.0)  # whose sign changes nothing
    assert inference.sign_flip_p_above(longer) == pytest.approx(exact, rel=0.05)


def test_students_test_is_scipys() -> None:
    values = np.random.default_rng(3).normal(0.2, 1, 9)
    assert inference.t_p_above(values) == pytest.approx(stats.ttest_1samp(values, 0, alternative="greater").pvalue)
    low, high = inference.t_interval(values, 0.9)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.9)
    assert (low, high) == pytest.approx((expected.low, expected.high))


def test_the_larger_p_value_counts() -> None:
    values = np.array([1.0, 1.01, 0.99, 1.0])
    assert inference.t_p_above(values) < 1e-4
    assert inference.p_above(values) == 1 / 16
    assert inference.p_below(values) > 0.9
    assert inference.p_below(values, 3.0) == 1 / 16


def test_equal_values_are_above_what_is_below_them_and_nothing_else() -> None:
    values = np.full(8, 0.1 + 0.2)
    assert inference.p_above(values) == 1 / 256
    assert inference.p_above(values, 0.3) == 1
    assert inference.p_above(np.zeros(8)) == inference.p_below(np.zeros(8)) == 1


@pytest.mark.parametrize("sample", [[1.0], [1.0, np.nan], [np.inf, 1.0]])
def test_what_cannot_be_tested_is_an_error(sample: list[float]) -> None:
    with pytest.raises(ValueError, match="no test"):
        inference.p_above(np.array(sample))


def test_looks_double_up_to_the_last() -> None:
    assert inference.looks(8, 200) == (8, 16, 32, 64, 128, 200)
    assert inference.looks(10, 20) == (10, 20)
    assert inference.looks(8, 8) == (8,)


def test_intervals_of_all_looks_hold_together_where_adding_stops_at_the_narrowest() -> None:
    """Stopping where the interval leaves 0 is the worst that a rule can do to it."""
    rng, stores = np.random.default_rng(4), 2000
    looks = inference.looks(8, 64)
    level = inference.level_at_each(len(looks))
    samples = rng.standard_normal((stores, looks[-1]))

    def misses(sample: np.ndarray, level: float) -> bool:
        ends = [inference.t_interval(sample[:n], level) for n in looks]
        return any(low > 0 or high < 0 for low, high in ends)

    assert np.mean([misses(sample, level) for sample in samples]) < 0.05
    assert np.mean([misses(sample, 0.95) for sample in samples]) > 0.08


def test_holms_correction_is_statsmodels() -> None:
    assert inference.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_a_sample_is_above_a_bound_where_its_p_value_is_at_most_the_error() -> None:
    rng = np.random.default_rng(5)
    for n in (2, 8, 31, 40, 60):
        sample = rng.normal(0.4, 1, n)
        for bound, error in ((0.0, 0.02), (0.3, 0.4), (1.0, 0.9)):
            assert inference.is_above(sample, bound, error) == (inference.p_above(sample, bound) <= error)
            assert inference.is_below(sample, bound, error) == (inference.p_below(sample, bound) <= error)
            both = max(inference.p_above(sample, -bound), inference.p_below(sample, bound))
            assert inference.is_within(sample, bound, error) == (both <= error)


@pytest.mark.parametrize("spread", ["normal", "standard_cauchy"])
def test_the_bound_of_a_sign_flip_test_is_one(spread: str) -> None:
    rng = np.random.default_rng(7)
    for _ in range(200):
        values = getattr(rng, spread)(size=16) + 0.5
        assert inference.sign_flip_p_above(values) <= inference._most_sign_flip_p(values)


@pytest.mark.parametrize("n", [2, 8, inference.MOST_EXACT, inference.MOST_EXACT + 1, 200])
def test_no_p_value_is_smaller_than_the_least_of_so_many_values(n: int) -> None:
    assert inference.p_above(np.linspace(1, 1.001, n)) == inference.least_p(n)


@pytest.mark.long
def test_thousands_of_values_take_no_more_memory_than_some() -> None:
    import tracemalloc

    tracemalloc.start()
    inference.sign_flip_p_above(np.random.default_rng(6).normal(0, 1, 3_000))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 64e6
