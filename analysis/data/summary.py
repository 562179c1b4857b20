"""Mean, deviation and 95% interval over the Monte-Carlo repetitions of a point."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

Array = npt.NDArray[np.float64]

LEVEL = 0.95
"""Coverage of every interval that is drawn or written."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What is said about one point."""

    n: int
    """Repetitions."""
    mean: float
    deviation: float
    """Sample standard deviation, with n - 1 in the denominator."""
    low: float
    high: float
    """Student's t-interval of the mean."""


def summary_of(values: Iterable[float], level: float = LEVEL) -> Summary:
    """Raises `ValueError` for fewer than two values, and for one that is not finite: neither has an interval."""
    x = np.asarray(list(values), dtype=np.float64)
    if x.size < 2:
        raise ValueError(f"{x.size} repetitions give no interval; at least 2 are needed")
    found = summaries(x, np.zeros(x.size, np.int64), 1, level)
    return Summary(n=x.size, **{name: float(found[name][0]) for name in ("mean", "deviation", "low", "high")})


def summaries(
    values: Array, groups: npt.NDArray[np.int64], count: int, level: float = LEVEL, *, least: int = 1
) -> dict[str, npt.NDArray[Any]]:
    """`n`, `mean`, `deviation`, `low` and `high` of each group, by column; of shape [count].

    `groups` says to which of the groups 0 to `count` - 1 each value belongs. A group of one has a mean and no more, one
    of fewer than `least` has nothing and an `n` of 0: the rest is NaN. Raises `ValueError` for a value that is not
    finite.
    """
    if not np.isfinite(values).all():
        raise ValueError("a value that is not finite has no mean")
    sizes = np.bincount(groups, minlength=count)
    in_order, starts = values[np.argsort(groups, kind="stable")], np.cumsum(sizes) - sizes
    told = np.where(sizes < least, 0, sizes)
    found = {"n": told, **{name: np.full(count, np.nan) for name in ("mean", "deviation", "low", "high")}}
    for n in np.unique(told[told > 0]).tolist():
        these = np.flatnonzero(sizes == n)
        sample = in_order[starts[these][:, None] + np.arange(n)]
        mean = found["mean"][these] = sample.mean(axis=1)
        if n > 1:
            deviation = found["deviation"][these] = sample.std(axis=1, ddof=1)
            half = float(stdtrit(n - 1, 0.5 + level / 2)) * deviation / math.sqrt(n)
            found["low"][these], found["high"][these] = mean - half, mean + half
    return found
