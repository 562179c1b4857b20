from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from tests.analysis.summary_of import summary_of


@pytest.mark.parametrize("n", [2, 3, 10, 50])
def test_interval_agrees_with_scipy(n: int) -> None:
    values = np.random.default_rng(n).normal(30.0, 2.0, size=n)
    summary = summary_of(values)
    low, high = stats.t.interval(0.95, n - 1, loc=values.mean(), scale=stats.sem(values))
    assert summary.n == n
    assert summary.low == pytest.approx(low, rel=1e-12)
    assert summary.high == pytest.approx(high, rel=1e-12)


def test_interval_of_two_values_is_the_closed_form() -> None:
    # The t distribution with one degree of freedom is Cauchy's: its quantiles are tangents.
    summary = summary_of([1.0, 3.0])
    half = math.tan(math.pi * 0.475)
    assert summary.mean == 2.0
    assert summary.deviation == pytest.approx(math.sqrt(2.0))
    assert summary.low == pytest.approx(2.0 - half)
    assert summary.high == pytest.approx(2.0 + half)


def test_one_repetition_has_no_interval() -> None:
    summary = summary_of([1.0])
    assert summary.mean == 1.0
    assert np.isnan([summary.deviation, summary.low, summary.high]).all()


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_values_that_are_not_finite_are_refused_and_not_skipped(bad: float) -> None:
    with pytest.raises(ValueError, match="not finite"):
        summary_of([1.0, bad, 2.0])
