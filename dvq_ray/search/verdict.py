"""What the rows of a suggestion's cells say about it."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import pandas as pd
from optuna.trial import TrialState

from dvq_ray.store import FINISHED, STOPPED, STUDY
from dvq_ray.sweep.search import Search

Row = Mapping[str, Any]


def columns_of(search: Search) -> list[str]:
    """What `rows_by_cell` needs of each row."""
    return ["cell_id", "status", STUDY, *search.objectives]


def rows_by_cell(search: Search, frame: pd.DataFrame, study: str) -> dict[str, Row]:
    """What `verdict` needs of the rows of a store, for the search's study of that name.

    A cell that another search stopped early is not among them: to this one it is missing. Rows of earlier versions do
    not say whose they are, and count for a search that stops early itself.
    """
    frame = frame.reindex(columns=columns_of(search))
    own = frame[STUDY] == study
    if search.stop_early:
        own |= frame[STUDY].isna()
    frame = frame[(frame["status"] != STOPPED) | own]
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
    if any(row["status"] == STOPPED for row in found):
        return TrialState.PRUNED, None
    values = [[_number(row[metric]) for metric in search.objectives] for row in found]
    if any(row["status"] not in FINISHED for row in found) or not np.isfinite(values).all():
        # The other repetitions are not run: there is no mean to be had.
        return TrialState.FAIL, None
    if len(found) < len(cell_ids):
        return None
    return TrialState.COMPLETE, [sum(each) / len(each) for each in zip(*values, strict=True)]


def _number(value: Any) -> float:
    return math.nan if value is None or value is pd.NA else float(value)
