"""What the rows of a suggestion's cells say about it."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import pandas as pd
from optuna.trial import TrialState

from dvq_ray.store import FINISHED
from dvq_ray.sweep.search import Search

Row = Mapping[str, Any]


def rows_by_cell(search: Search, frame: pd.DataFrame) -> dict[str, Row]:
    """What `verdict` needs of the rows of a store."""
    records = frame[["status", *search.objectives]].to_dict("records")
    return {
        cell_id: {str(column): value for column, value in record.items()}
        for cell_id, record in zip(frame["cell_id"], records, strict=True)
    }


def verdict(
    search: Search, cell_ids: Collection[str], rows: Mapping[str, Row]
) -> tuple[TrialState, list[float] | None] | None:
    """Its final state, and its values where it is complete; None where that is not known yet.

    `rows` holds rows by cell id, with the columns `status` and the objectives.
    """
    found = [rows[cell_id] for cell_id in cell_ids if cell_id in rows]
    if any(row["status"] == "stopped" for row in found):
        return TrialState.PRUNED, None
    values = [[_number(row[metric]) for metric in search.objectives] for row in found]
    if any(row["status"] not in FINISHED for row in found) or not np.isfinite(values).all():
        # The other repetitions are not run: there is no mean to be had.
        return TrialState.FAIL, None
    if len(found) < len(cell_ids):
        return None
    return TrialState.COMPLETE, [sum(each) / len(each) for each in zip(*values, strict=True)]


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)
