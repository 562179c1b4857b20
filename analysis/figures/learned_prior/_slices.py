"""What figures over the number of slices of DVQ share, whatever its codes cost."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from ...data.needs import at
from ...output.messages import best

_LEAST_SLICE_COUNTS = 3
"""Models of one width and codebook size that make a line over the number of slices."""
SEVERAL_SLICE_COUNTS = f"dvq with at least {_LEAST_SLICE_COUNTS} values of slices at one dimension and codebook_size"


def several_slice_counts(rows: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """The rows of DVQ, where enough slice counts were run with equal values in the columns `by`."""
    dvq = at(rows, quantizer="dvq")
    return dvq[dvq.groupby([*by])["slices"].transform("nunique") >= _LEAST_SLICE_COUNTS]


def best_slices(table: pd.DataFrame, what: str) -> str:
    """Which number of slices is the best, of means with a row for each."""
    return best([(f"L = {point['slices']}", point) for point in table.to_dict("records")], what, "bits/dim")
