"""What is said about each group of cells of a frame, for notebooks and scripts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from .summary import summaries


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

    Raises `ValueError` for a column that the frame does not have.
    """
    columns = [by] if isinstance(by, str) else list(by)
    if lacking := [name for name in (*columns, metric) if name not in frame]:
        raise ValueError(f"there is no column {', '.join(lacking)}; there are {', '.join(frame.columns)}")
    values = pd.to_numeric(frame[metric]).to_numpy(np.float64, na_value=np.nan)
    used = np.isfinite(values)
    if "status" in frame:
        used &= (frame["status"] == "ok").to_numpy(bool)
    groups = frame.groupby(columns, dropna=False, observed=True)
    places, sizes = groups.ngroup().to_numpy(), groups.size()
    found = summaries(values[used], places[used], len(sizes))
    n = found.pop("n")
    heads = sizes.index.to_frame(index=False)
    return heads.assign(n=n, left_out=sizes.to_numpy() - n, **found)
