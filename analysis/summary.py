"""Mean, deviation and 95% interval over the Monte-Carlo repetitions of a point."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy import stats

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


def summarise(values: Iterable[float], level: float = LEVEL) -> Summary:
    """Raises `ValueError` for fewer than two values, and for one that is not finite: neither has an interval."""
    x = np.asarray(list(values), dtype=np.float64)
    if x.size < 2:
        raise ValueError(f"{x.size} repetitions give no interval; at least 2 are needed")
    if not np.isfinite(x).all():
        raise ValueError("a value that is not finite has no mean")
    mean, deviation = float(x.mean()), float(x.std(ddof=1))
    half = float(stats.t.ppf(0.5 + level / 2, x.size - 1)) * deviation / math.sqrt(x.size)
    return Summary(n=x.size, mean=mean, deviation=deviation, low=mean - half, high=mean + half)
