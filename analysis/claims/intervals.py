"""Intervals and tests of means over seeds, for many cells at once."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special
from threadpoolctl import threadpool_limits

from ..data.summary import LEVEL, summaries

Array = npt.NDArray[np.float64]

RESAMPLES, LEAST_RESAMPLES = 9999, 1999
_GENERATOR_SEED = 0
_MOST_CELLS = 500
"""Cells that are resampled together: 40 MB."""
_MOST_DRAWS = 500_000
"""Draws of a bootstrap. Samples of over 50 values get fewer resamples, for their level is hardly raised."""


@dataclass(frozen=True, kw_only=True)
class Region:
    """Where a claim says that an effect lies."""

    low: float = -math.inf
    high: float = math.inf

    def holds(self, low: float, high: float) -> bool:
        """Whether the whole interval lies in here."""
        return self.low < low and high < self.high

    def excludes(self, low: float, high: float) -> bool:
        """Whether the whole interval lies outside."""
        return high < self.low or low > self.high

    def text(self) -> str:
        """`below 0`, `above 0.1`, `between 0.28 and 0.38`."""
        if math.isinf(self.low):
            return f"below {self.high:g}"
        return f"above {self.low:g}" if math.isinf(self.high) else f"between {self.low:g} and {self.high:g}"


def intervals(samples: Sequence[Array], levels: Sequence[float] | None = None) -> list[tuple[float, float]]:
    """A bootstrap interval of the mean of each sample, of 95% or of its own level; equal samples get equal intervals.

    Raises `ValueError` for a sample of fewer than two values.
    """
    each = [(level, sample.tobytes()) for sample, level in zip(samples, levels or [LEVEL] * len(samples), strict=True)]
    kinds: dict[tuple[int, float], dict[bytes, Array]] = {}
    for sample, (level, content) in zip(samples, each, strict=True):
        kinds.setdefault((len(sample), level), {})[content] = sample
    found: dict[tuple[float, bytes], tuple[float, float]] = {}
    for (n, level), unequal in sorted(kinds.items()):
        if n < 2:
            raise ValueError(f"{n} values have no interval; at least 2 are needed")
        contents, values = list(unequal), np.stack(list(unequal.values()))
        for start in range(0, len(values), _MOST_CELLS):
            lows, highs = _bootstrap(values[start : start + _MOST_CELLS], level)
            ends = zip(lows.tolist(), highs.tolist(), strict=True)
            found |= {(level, content): pair for content, pair in zip(contents[start:], ends, strict=False)}
    return [found[one] for one in each]


def expanded_level(n: int, level: float = LEVEL) -> float:
    """The level at which the percentiles of n bootstrapped normal values are as far apart as their t-interval."""
    half = math.sqrt(n / (n - 1)) * float(special.stdtrit(n - 1, 0.5 + level / 2))
    return 1 - 2 * float(special.ndtr(-half))


def _bootstrap(values: Array, covered: float) -> tuple[Array, Array]:
    """Ends of the intervals of the means of `values[cells, n]`, each of shape [cells]."""
    from scipy import stats  # here, because it takes as long to import as everything else together

    cells, n = values.shape
    level = expanded_level(n, covered)

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


def outside_p_values(samples: Sequence[Array], regions: Sequence[Region]) -> list[float]:
    """One-sided p-values of Student's t-tests that each mean lies outside of its region, beyond its nearer end."""
    n = np.array([len(values) for values in samples])
    if not len(n):
        return []
    found = summaries(np.concatenate(samples), np.repeat(np.arange(len(n)), n), len(n))
    means, deviations = found["mean"], found["deviation"]
    beyond = np.array([max(r.low - mean, mean - r.high) for r, mean in zip(regions, means.tolist(), strict=True)])
    constant = np.array([np.ptp(values) == 0 for values in samples], bool)
    with np.errstate(divide="ignore", invalid="ignore"):
        p_values = special.stdtr(n - 1, -beyond / (deviations / np.sqrt(n)))
    result: list[float] = np.where(constant, np.where(beyond > 0, 0.0, 1.0), p_values).tolist()
    return result


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values, corrected for their number (Holm 1979)."""
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = largest
    return adjusted
