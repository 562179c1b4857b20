"""The last and the best value of an experiment's main metric in a store, and the cells that have them."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from dvq_ray.store import FINISHED
from dvq_ray.sweep.spec import SweepSpec


def columns_of(spec: SweepSpec) -> list[str]:
    """What is read of each row to say which cell has a value."""
    return [spec.experiment.main_metric, "seed", *_varied(spec)]


def values_so_far(spec: SweepSpec, rows: pd.DataFrame) -> list[tuple[str, str]]:
    """A line for the best value and one for the last, each with its label; none where no cell has one.

    `rows` have the columns of `columns_of` and those of `dvq_ray.sweep.pace`.
    """
    metric = spec.experiment.main_metric
    if metric not in rows:
        return []
    values = pd.to_numeric(rows[metric]).where(rows["status"].isin(FINISHED)).dropna()
    if values.empty:
        return []
    seconds = pd.to_timedelta(rows["duration_seconds"].fillna(0.0), unit="s")
    ended = (rows["run_started_at"] + seconds).loc[values.index].dropna()
    last = [] if ended.empty else [("last value", int(ended.argmax()), ended.index)]
    best = [] if spec.search else [("best value", int(values.argmin()), values.index)]  # a search says its own
    found = [(label, rows.loc[[index[place]]].iloc[0]) for label, place, index in (*best, *last)]
    return [(label, f"{metric} {row[metric]:.4g}, {_cell(spec, row)}") for label, row in found]


def _cell(spec: SweepSpec, row: pd.Series) -> str:
    names = [name for name in ("quantizer", *_varied(spec), "seed") if name in row and not pd.isna(row[name])]
    settings = " ".join(f"{name}={_short(row[name])}" for name in names)
    return f"of cell {row['cell_id']} ({settings})"


def _short(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _varied(spec: SweepSpec) -> Sequence[str]:
    """Fields that have several values in the sweep's grids, in the order of the file."""
    held: dict[str, set[str]] = {}
    for grid in spec.grids:
        for name, values in grid.axes.items():
            held.setdefault(name, set()).update(map(repr, values))
    return [name for name, values in held.items() if len(values) > 1 and name != "quantizer"]
