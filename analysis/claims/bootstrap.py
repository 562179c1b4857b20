"""A third look at each cell, by the BCa bootstrap over seeds (Efron 1987). It decides nothing and is written beside.

The interval is that of `scipy.stats.bootstrap`, which takes long to import, for many samples on the same resamples.

The bootstrap of few values is too narrow, so its level is raised to what makes it as wide as Student's t-interval where
the values are normal (Hesterberg 2015, "What Teachers Should Know About the Bootstrap", section 5.3).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby

import numpy as np
from scipy import special

from dvq_ray.process.blas_threads import one_blas_thread

from ..data.summary import LEVEL
from .claim import Array, Region
from .decide import Cell, Side

RESAMPLES, LEAST_RESAMPLES = 9999, 1999
_GENERATOR_SEED = 0
_MOST_DRAWS = 500_000
"""Draws of a bootstrap. Samples of over 50 values get fewer resamples, for their level is hardly raised."""


def intervals(cells: Sequence[Cell]) -> list[tuple[float, float]]:
    """A bootstrap interval of each cell's mean, those of equal n computed together."""
    found: dict[int, tuple[float, float]] = {}
    places = sorted(range(len(cells)), key=lambda place: cells[place].n)
    for _, its in groupby(places, key=lambda place: cells[place].n):
        some = list(its)
        lows, highs = bootstrap(np.stack([cells[place].sample.values for place in some]))
        found |= dict(zip(some, zip(lows.tolist(), highs.tolist(), strict=True), strict=True))
    return [found[place] for place in range(len(cells))]


def agrees(outcome: Side, region: Region, ends: tuple[float, float]) -> bool:
    """Whether the interval says what the tests say; where they say nothing, it may say anything."""
    low, high = ends
    if outcome == "holds":
        return region.low < low and high < region.high
    return outcome == "undecided" or high < region.low or low > region.high


def expanded_level(n: int) -> float:
    """The level at which the percentiles of n bootstrapped normal values are as far apart as their t-interval."""
    half = math.sqrt(n / (n - 1)) * float(special.stdtrit(n - 1, 0.5 + LEVEL / 2))
    return 1 - 2 * float(special.ndtr(-half))


def bootstrap(values: Array) -> tuple[Array, Array]:
    """Ends of the intervals of the means of `values[cells, n]`, each of shape [cells]."""
    n = values.shape[1]
    half = (1 - expanded_level(n)) / 2
    means = _resampled_means(values)
    shares = np.where(np.isfinite(found := _corrected(values, means, half)), found, [half, 1 - half])
    ends = _quantiles(means, shares)
    constant = np.ptp(values, axis=-1) == 0
    ends[constant] = values[constant, :1]
    return ends[:, 0], ends[:, 1]


def _resampled_means(values: Array) -> Array:
    """Means of `values[cells, n]` over resamples, which are the same for all cells: [cells, resamples]."""
    n = values.shape[1]
    draw, found = np.random.default_rng(_GENERATOR_SEED), list[Array]()
    left = min(RESAMPLES, max(LEAST_RESAMPLES, _MOST_DRAWS // n))
    with one_blas_thread():  # the products are small, and other processes make figures meanwhile
        while left:
            some = min(left, max(1, _MOST_DRAWS // n))
            drawn = np.arange(some)[:, None] * n + draw.integers(n, size=(some, n))
            times = np.bincount(drawn.ravel(), minlength=some * n).reshape(some, n)
            found.append(values @ times.T / n)
            left -= some
    return np.concatenate(found, axis=1)


def _corrected(values: Array, means: Array, half: float) -> Array:
    """Shares of resampled means below the ends of each interval, which BCa says: [cells, 2]; NaN where it says none."""
    n = values.shape[1]
    mean = values @ np.ones((n, 1)) / n  # as those of resamples: one of each value has this mean to the last digit
    with np.errstate(all="ignore"):
        bias = special.ndtri(((means < mean).mean(axis=1) + (means <= mean).mean(axis=1)) / 2)[:, None]
        without_one = (values.sum(axis=1, keepdims=True) - values) / (n - 1)
        apart = without_one.mean(axis=1, keepdims=True) - without_one
        skew = ((apart**3).sum(axis=1) / 6 / (apart**2).sum(axis=1) ** 1.5)[:, None]
        shifted = bias + special.ndtri([half, 1 - half])
        return np.asarray(special.ndtr(bias + shifted / (1 - skew * shifted)))


def _quantiles(values: Array, shares: Array) -> Array:
    """Quantiles of each row by linear interpolation: of `values[cells, n]` and `shares[cells, 2]`, [cells, 2]."""
    ordered, places = np.sort(values, axis=1), shares * (values.shape[1] - 1)
    below = np.floor(places).astype(np.int64)
    low, high = (np.take_along_axis(ordered, at, axis=1) for at in (below, np.ceil(places).astype(np.int64)))
    return np.asarray(low + (places - below) * (high - low))
