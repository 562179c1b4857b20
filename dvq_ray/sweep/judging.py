"""What one look at the repetitions of a point, or of a pair of points, finds."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from dvq_ray import inference
from dvq_ray.sweep.until import Comparison, Precision, SeedsUntil

Decision = Literal["reached", "win", "loss", "equal", "most reached", "too few finished", "undecided"]
ANSWERS: tuple[Decision, ...] = ("reached", "win", "loss", "equal")
"""Decisions that answer a question."""
FEWEST = 2
"""Repetitions that must have finished; fewer have no interval, and more of the same are not waited for."""
Values = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What a look found."""

    n: int = 0
    """Repetitions that were used: of a pair, seeds that both of its points finished."""
    estimate: float = math.nan
    """Of the metric's mean, or of the mean difference of the point less its partner."""
    low: float = math.nan
    high: float = math.nan
    """Ends of the interval of the estimate at the look's level."""
    decision: Decision = "undecided"
    """A win says that the point is better than its partner."""


UNSEEN = Finding()
"""Before the first look."""


def judge(until: SeedsUntil, *values: Values) -> Finding:
    """What a look finds at the values of a point, or of a pair, `[repetitions]` each, NaN where one failed."""
    return _JUDGES[type(until.rule)](until, *values)


def _precision(until: SeedsUntil, values: Values) -> Finding:
    """Whether the interval of the mean is narrow enough."""
    assert isinstance(until.rule, Precision)
    sample = values[np.isfinite(values)]
    if len(sample) < FEWEST:
        return Finding(n=len(sample), decision="too few finished")
    (low, high), mean = inference.t_interval(sample, until.level), float(sample.mean())
    is_narrow = (high - low) / 2 <= until.rule.half_width * abs(mean)
    decision: Decision = "reached" if is_narrow else "undecided"
    return Finding(n=len(sample), estimate=mean, low=low, high=high, decision=decision)


def _comparison(until: SeedsUntil, ours: Values, theirs: Values) -> Finding:
    """Which one is better, paired by seed.

    A win or a loss is a difference that is surely not 0, however small. Two are equal where there is none and the
    difference is surely within the margin.
    """
    assert isinstance(until.rule, Comparison)
    is_paired = np.isfinite(ours) & np.isfinite(theirs)
    ours, theirs = ours[is_paired], theirs[is_paired]
    sample, error = ours - theirs, until.error
    if len(sample) < FEWEST:
        return Finding(n=len(sample), decision="too few finished")
    margin = (until.rule.margin or 0.0) * abs(float(theirs.mean()))
    decision: Decision = "undecided"
    if inference.is_above(sample, 0.0, error):
        decision = "win" if until.rule.higher_is_better else "loss"
    elif inference.is_below(sample, 0.0, error):
        decision = "loss" if until.rule.higher_is_better else "win"
    elif margin and inference.is_within(sample, margin, error):
        decision = "equal"
    low, high = inference.t_interval(sample, until.level)
    return Finding(n=len(sample), estimate=float(sample.mean()), low=low, high=high, decision=decision)


_JUDGES: Mapping[type, Callable[..., Finding]] = {Precision: _precision, Comparison: _comparison}
