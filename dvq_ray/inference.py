"""Tests of a mean over Monte-Carlo repetitions, and how they stay valid where repetitions are added until they decide.

A sample is one number for each seed, such as the difference of two quantizers that saw the same vectors. Two tests with
different assumptions are taken of it, and the larger p-value counts:

- Student's t-test. It takes a mean that is about normal.
- The exact sign-flip test (Fisher 1935, "The Design of Experiments", section 21). It takes a distribution that is
  symmetric about the bound, whatever its tails. The difference of two quantizers that do not differ is symmetric about
  0, because either could be called the first.

Where repetitions are added until a test decides, it is taken at a few stated numbers of repetitions, the looks, each at
an equal part of the error that is allowed (Bonferroni). The intervals of all looks then hold together, so that the last
one holds too, whatever made the adding stop.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

ERROR = 0.05
"""Chance of an error that all looks at a sample have together."""
MOST_EXACT = 32
"""Values of a sample whose sign flips are all counted, at most; of more, some are drawn."""
DRAWN_FLIPS = 99_999
_GENERATOR_SEED = 0
_DRAWN_AT_ONCE = 1 << 20
"""Signs that are held in memory."""
_ROUNDING = 1e-12


def p_above(sample: Array, bound: float = 0.0) -> float:
    """One-sided p-value against "the mean of the sample `[seeds]` is at most the bound": the larger of both tests'.

    Raises `ValueError` for a sample of fewer than two values, or with one that is not finite.
    """
    values = _about(sample, bound)
    return max(t_p_above(values), sign_flip_p_above(values))


def p_below(sample: Array, bound: float = 0.0) -> float:
    """The same against "the mean is at least the bound"."""
    return p_above(-np.asarray(sample, np.float64), -bound)


def is_above(sample: Array, bound: float, error: float) -> bool:
    """Whether `p_above` is at most the error. Signs are drawn only where nothing cheaper decides."""
    values = _about(sample, bound)
    if t_p_above(values) > error:
        return False
    return (len(values) > MOST_EXACT and _most_sign_flip_p(values) <= error) or sign_flip_p_above(values) <= error


def is_below(sample: Array, bound: float, error: float) -> bool:
    """The same of `p_below`."""
    return is_above(-np.asarray(sample, np.float64), -bound, error)


def is_within(sample: Array, margin: float, error: float) -> bool:
    """Whether the mean is surely between the margins, by two one-sided tests with this error each."""
    mirrored = -np.asarray(sample, np.float64)
    if any(t_p_above(_about(values, -margin)) > error for values in (sample, mirrored)):
        return False
    return is_above(sample, -margin, error) and is_above(mirrored, -margin, error)


def t_p_above(values: Array) -> float:
    """One-sided p-value of Student's t-test against a mean of at most 0."""
    from scipy import special  # here, because a sweep that tests nothing need not import it

    mean, deviation, n = float(values.mean()), float(values.std(ddof=1)), len(values)
    if deviation <= _ROUNDING * abs(mean):
        return 0.0 if mean > 0 else 1.0
    return float(special.stdtr(n - 1, -mean / (deviation / math.sqrt(n))))


def sign_flip_p_above(values: Array) -> float:
    """The share of all choices of signs with which the values add up to at least what they do: at least 2 ** -n.

    All are counted for up to `MOST_EXACT` values. Of more, `DRAWN_FLIPS` are drawn, the sample's own among them.
    """
    total, slack = values.sum(), _ROUNDING * np.abs(values).sum()
    if len(values) > MOST_EXACT:
        rng = np.random.default_rng(_GENERATOR_SEED)
        enough_drawn, most = 1, max(_DRAWN_AT_ONCE // len(values), 1)
        for start in range(0, DRAWN_FLIPS, most):
            signs = rng.choice(np.array([-1.0, 1.0]), size=(min(most, DRAWN_FLIPS - start), len(values)))
            enough_drawn += int((signs @ values >= total - slack).sum())
        return enough_drawn / (1 + DRAWN_FLIPS)
    # Each sum is one of the first half's plus one of the second half's: 2 ** (n / 2) of either, and not 2 ** n.
    half = len(values) // 2
    first, second = _signed_sums(values[:half]), np.sort(_signed_sums(values[half:]))
    enough = len(second) - np.searchsorted(second, total - slack - first)
    return float(enough.sum() / 2.0 ** len(values))


def _most_sign_flip_p(values: Array) -> float:
    """What `sign_flip_p_above` of all flips cannot exceed (Bentkus and Dzindzalieta 2015, Bernoulli 21, 1.1)."""
    from scipy import special

    squares = float(np.square(values).sum())
    tail = special.ndtr(-float(values.sum()) / math.sqrt(squares)) if squares else 1.0
    return float(tail / (4 * special.ndtr(-math.sqrt(2))))


def t_interval(sample: Array, level: float = 1 - ERROR, further_error: float = 0.0) -> tuple[float, float]:
    """Ends of Student's two-sided interval of the mean of a sample `[seeds]`. Raises as `p_above`.

    `further_error` is a standard error of the mean that is due to something else than seeds.
    """
    from scipy import special

    values = _checked(sample)
    n, mean = len(values), float(values.mean())
    half = float(special.stdtrit(n - 1, 0.5 + level / 2)) * math.hypot(standard_error(values), further_error)
    return mean - half, mean + half


def standard_error(values: Array) -> float:
    """That of the mean of a sample `[seeds]`."""
    return float(values.std(ddof=1)) / math.sqrt(len(values))


def looks(least: int, most: int) -> tuple[int, ...]:
    """Numbers of repetitions at which a test is taken: `least`, twice as many each time, and `most`.

    >>> looks(8, 200)
    (8, 16, 32, 64, 128, 200)
    """
    found = [least]
    while found[-1] < most:
        found.append(min(2 * found[-1], most))
    return tuple(found)


def level_at_each(count: int) -> float:
    """Coverage of the interval of each of so many looks, with which all of them hold together at 95%."""
    return 1 - ERROR / count


def holm(p_values: Sequence[float], of: int | None = None) -> list[float]:
    """The p-values, corrected for their number (Holm 1979), or as the smallest ones `of` so many."""
    adjusted, largest, count = [0.0] * len(p_values), 0.0, of or len(p_values)
    for rank, i in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (count - rank) * p_values[i]))
        adjusted[i] = largest
    return adjusted


def least_p(n: int) -> float:
    """The smallest p-value that a sample of so many values can have: that of one whose values have the same sign."""
    return 2.0**-n if n <= MOST_EXACT else 1 / (1 + DRAWN_FLIPS)


def _about(sample: Array, bound: float) -> Array:
    """The values less the bound. What differs from it by rounding alone is 0: 0.1 + 0.2 is not above 0.3."""
    values = _checked(sample)
    scale = _ROUNDING * max(float(np.abs(values).max()), abs(bound))
    values = values - bound
    values[np.abs(values) <= scale] = 0.0
    return values


def _checked(sample: Array) -> Array:
    values = np.asarray(sample, np.float64)
    if len(values) < 2:
        raise ValueError(f"{len(values)} values have no test; at least 2 are needed")
    if not np.isfinite(values).all():
        raise ValueError("a value that is not finite has no test")
    return values


def _signed_sums(values: Array) -> Array:
    """Sums of the values with all choices of signs: [2 ** values]."""
    sums = np.zeros(1)
    for value in values:
        sums = np.concatenate([sums + value, sums - value])
    return sums
