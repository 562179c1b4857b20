"""Mean, deviation and 95% interval over the Monte-Carlo repetitions of a point."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import stdtrit

from .declared import conditions_of

Array = npt.NDArray[np.float64]

LEVEL = 0.95
"""Coverage of every interval that is drawn or written."""


def summaries(
    values: Array, groups: npt.NDArray[np.int64], count: int, level: float | Array = LEVEL, *, least: int = 1
) -> dict[str, npt.NDArray[Any]]:
    """`n`, `mean`, `deviation`, `low` and `high` of each group, by column; of shape [count].

    `groups` says to which of the groups 0 to `count` - 1 each value belongs; `level` is the coverage of the intervals,
    or that of each group: [count]. A group of one has a mean and no more, one of fewer than `least` has nothing and an
    `n` of 0: the rest is NaN. Raises `ValueError` for a value that is not finite.
    """
    if not np.isfinite(values).all():
        raise ValueError("a value that is not finite has no mean")
    sizes, levels = np.bincount(groups, minlength=count), np.broadcast_to(level, count)
    in_order, starts = values[np.argsort(groups, kind="stable")], np.cumsum(sizes) - sizes
    counted = np.where(sizes < least, 0, sizes)
    found = {"n": counted, **{name: np.full(count, np.nan) for name in ("mean", "deviation", "low", "high")}}
    for n in np.unique(counted[counted > 0]).tolist():
        these = np.flatnonzero(sizes == n)
        sample = in_order[starts[these][:, None] + np.arange(n)]
        mean = found["mean"][these] = sample.mean(axis=1)
        if n > 1:
            deviation = found["deviation"][these] = sample.std(axis=1, ddof=1)
            half = stdtrit(n - 1, 0.5 + levels[these] / 2) * deviation / math.sqrt(n)
            found["low"][these], found["high"][these] = mean - half, mean + half
    return found


def ratio_summaries(
    ours: Array, theirs: Array, groups: npt.NDArray[np.int64], count: int, level: float | Array, *, least: int
) -> dict[str, npt.NDArray[Any]]:  # fmt: skip
    """`summaries` of ratios of paired values: geometric mean and deviation, and the t-interval of the log ratio.

    Raises `ValueError` for a value that is not above zero.
    """
    if not ((ours > 0).all() and (theirs > 0).all()):
        raise ValueError("a value that is not above zero has no log ratio")
    found = summaries(np.log(ours) - np.log(theirs), groups, count, level, least=least)
    return {name: values if name == "n" else np.exp(values) for name, values in found.items()}


def summarise(frame: pd.DataFrame, *, by: str | Sequence[str], metric: str) -> pd.DataFrame:
    """The columns `by`, `n`, `left_out`, `mean`, `deviation`, `low` and `high`: a row for each group, sorted.

    `low` and `high` are the ends of Student's 95% t-interval of the mean. Rows whose `status` is not `ok` and values
    that are not finite are in no mean: `left_out` counts them, `n` counts the others. A group of one has a mean and
    neither deviation nor interval.

    >>> from dvq_ray import load_results
    >>> cells = load_results(
    ...     "results/reference/static_prior",
    ...     where=[("quantizer", "==", "kmeans"), ("factors", "==", 4096), ("dimension", "==", 256)],
    ... )
    >>> summarise(cells, by="codebook_size", metric="test_mse").round(2)
       codebook_size   n  left_out   mean  deviation    low   high
    0             16  10         0  33.61       0.05  33.58  33.65
    1             64  10         0  32.92       0.05  32.88  32.96
    2            256  10         0  31.50       0.08  31.44  31.56
    3           1024  10         0  26.48       0.17  26.36  26.61

    Raises `ValueError` for a column that the frame does not have, and for groups that pool what has no mean: several
    experiments or revisions, or cells that were not computed on the same data or with the same precision.
    """
    columns = [by] if isinstance(by, str) else list(by)
    if missing := [name for name in (*columns, metric) if name not in frame]:
        raise ValueError(f"there is no column {', '.join(missing)}; there are {', '.join(frame.columns)}")
    values = pd.to_numeric(frame[metric]).to_numpy(np.float64, na_value=np.nan)
    used = np.isfinite(values)
    if "status" in frame:
        used &= (frame["status"] == "ok").to_numpy(bool)
    groups = frame.groupby(columns, dropna=False, observed=True)
    for name in ("trainable", *conditions_of(frame)):
        if name in frame and name not in columns and (groups[name].nunique() > 1).any():
            held = ", ".join(map(str, sorted(frame[name].dropna().unique())))
            raise ValueError(f"a group holds several values of {name} ({held}); keep one, or group by {name} too")
    places, sizes = groups.ngroup().to_numpy(), groups.size()
    found = summaries(values[used], places[used], len(sizes))
    n = found.pop("n")
    heads = sizes.index.to_frame(index=False)
    return heads.assign(n=n, left_out=sizes.to_numpy() - n, **found)
