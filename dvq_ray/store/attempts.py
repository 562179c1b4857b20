"""Attempts at a cell: what names the files of one, and which of several stands.

A file of attempts is named after the first: its cell, its run and the moment when it began. No two files share a name,
so whoever deletes a file deletes what it has read, and writing one twice leaves one file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from dvq_ray.store.columns import FINISHED, STOPPED
from dvq_ray.store.storage import checked_name


def file_name(row: Mapping[str, Any]) -> str:
    """The name of a file of rows, or of their curves, of which this is the first."""
    began: datetime = row["run_started_at"]
    moment = began.astimezone(UTC) if began.tzinfo else began
    return checked_name(f"{of_cell_and_run(row['cell_id'], row['run_id'])}-{moment:%Y%m%dT%H%M%S.%f}.parquet")


def of_cell_and_run(cell_id: str, run_id: str) -> str:
    """What the names of all attempts of a run at a cell have in common."""
    return f"{cell_id}-{run_id[:8]}"


def cell_and_run(path: str) -> str:
    """The same, of a file."""
    return path.rpartition("/")[2].rpartition("-")[0]


def best_rows(frame: pd.DataFrame) -> pd.DataFrame:
    """The row of each cell that stands: a finished one before one that was stopped early, that before a failed one, and
    a later one before an earlier.

    Keeps the index of `frame`.
    """
    if not frame["cell_id"].duplicated().any():
        return frame
    order = frame.assign(_rank=_rank(frame["status"])).sort_values(
        ["_rank", "run_started_at"], ascending=[True, False], kind="stable"
    )
    return frame.loc[order.drop_duplicates("cell_id").index.sort_values()]


def standing_of_stores(parts: Sequence[pd.DataFrame]) -> list[npt.NDArray[np.bool_]]:
    """Which rows stand, given the columns `STANDING` of those of several stores: by the same rule as in one of them.

    So the order of the stores decides nothing, unless two attempts began in the same microsecond.
    """
    ids = np.concatenate([part["cell_id"].to_numpy(object) for part in parts])
    ranks = np.concatenate([_rank(part["status"]) for part in parts])
    began = np.concatenate([pd.to_datetime(part["run_started_at"], utc=True).astype(np.int64) for part in parts])
    order = np.lexsort((-began, ranks))
    stands = np.empty(len(ids), bool)
    stands[order] = ~pd.Series(ids[order]).duplicated()
    return np.split(stands, np.cumsum([len(part) for part in parts])[:-1])


def _rank(statuses: pd.Series[Any]) -> pd.Series[Any]:
    ranked = [*FINISHED, STOPPED]
    ranks = {status: place for place, status in enumerate(ranked)}
    return statuses.astype(object).map(ranks).fillna(len(ranked))
