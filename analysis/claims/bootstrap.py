"""A third look at each cell, by the BCa bootstrap over seeds (Efron 1987). It decides nothing and is written beside.

The bootstrap of few values is too narrow, so its level is raised to what makes it as wide as Student's t-interval where
the values are normal (Hesterberg 2015, "What Teachers Should Know About the Bootstrap", section 5.3).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from itertools import groupby

import numpy as np
import numpy.typing as npt
from scipy import special
from threadpoolctl import threadpool_limits

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
    from scipy import stats  # here, because it takes as long to import as everything else together

    cells, n = values.shape
    level = expanded_level(n)

    def means(index: npt.NDArray[np.int64], axis: int = -1) -> Array:
        """`index[..., n]` to means `[cells, ...]`: how often each value was drawn, times the values."""
        drawn = index.reshape(-1, index.shape[-1])
        flat = (np.arange(len(drawn))[:, None] * n + drawn).ravel()
        counts = np.bincount(flat, minlength=len(drawn) * n).reshape(-1, n)
        return (values @ counts.T / drawn.shape[-1]).reshape(cells, *index.shape[:-1])

    # One thread: the products are small, and other processes make figures meanwhile.
    with warnings.catch_warnings(), np.errstate(all="ignore"), threadpool_limits(limits=1):
        warnings.simplefilter("ignore")  # of cells whose BCa interval is not defined, which are replaced below
        result = stats.bootstrap(
            (np.arange(n),), means, axis=-1, method="BCa", vectorized=True, confidence_level=level,
            n_resamples=min(RESAMPLES, max(LEAST_RESAMPLES, _MOST_DRAWS // n)), batch=max(1, _MOST_DRAWS // n),
            rng=np.random.default_rng(_GENERATOR_SEED),
        )  # fmt: skip
    low, high = np.array(result.confidence_interval.low), np.array(result.confidence_interval.high)
    undefined = ~(np.isfinite(low) & np.isfinite(high))
    if undefined.any():
        ends = [0.5 - level / 2, 0.5 + level / 2]
        low[undefined], high[undefined] = np.quantile(result.bootstrap_distribution[undefined], ends, axis=-1)
    constant = np.ptp(values, axis=-1) == 0
    low[constant], high[constant] = values[constant, 0], values[constant, 0]
    return low, high
