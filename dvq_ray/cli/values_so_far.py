"""The last and the best value of an experiment's main metric in a store, and the cells that have them."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import pandas as pd

from dvq_ray.store import FINISHED, OutOfReachError, Store, StoreError
from dvq_ray.sweep.spec import SweepSpec


def values_so_far(spec: SweepSpec, store: Store, rows: pd.DataFrame) -> list[tuple[str, str]]:
    """A line for the best value and one for the last, each with its label; none where no cell has one.

    `rows` are those of the store, with the main metric and the columns of `dvq_ray.sweep.pace`. Raises
    `OutOfReachError`.
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
    found = {label: rows.loc[index[place]] for label, place, index in (*best, *last)}
    try:
        settings = _settings(spec, store, {str(row["cell_id"]) for row in found.values()})
    except OutOfReachError:
        raise
    except StoreError:  # of a field that the rows of another experiment, or of an earlier version, lack
        return []
    return [
        (label, f"{metric} {row[metric]:.4g}, of cell {row['cell_id']} ({settings.get(str(row['cell_id']), '')})")
        for label, row in found.items()
    ]


def _settings(spec: SweepSpec, store: Store, cell_ids: Collection[str]) -> dict[str, str]:
    """By cell, what tells it from others, in words. They are read for these alone: there may be millions."""
    names = ["quantizer", *_varied(spec), "seed"]
    rows = store.load_cells(cell_ids, ["cell_id", *names])
    return {
        row["cell_id"]: " ".join(f"{name}={_short(row[name])}" for name in names if not pd.isna(row[name]))
        for _, row in rows.iterrows()
    }


def _short(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _varied(spec: SweepSpec) -> Sequence[str]:
    """Fields that have several values in the sweep's grids, in the order of the file."""
    held: dict[str, set[str]] = {}
    for grid in spec.grids:
        for name, values in grid.axes.items():
            held.setdefault(name, set()).update(map(repr, values))
    return [name for name, values in held.items() if len(values) > 1 and name != "quantizer"]
