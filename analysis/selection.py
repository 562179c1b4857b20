"""Holding an item's needs against the rows: what is there, what is lacking, and the numbers of each point."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from analysis.naming import box_text, boxes, listed, number, seeds_text
from analysis.needs import Grid, Needs
from analysis.summary import summarise

Metric = str | Callable[[pd.DataFrame], "pd.Series[float]"]
"""A column, or a number computed for each row."""

_OK, _MISSING = "ok", "missing"
_NO_VALUE = {"n": 0, "mean": np.nan, "deviation": np.nan, "low": np.nan, "high": np.nan}


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The rows of one item."""

    needs: Needs
    grids: tuple[Grid, ...]
    """Those that are drawn."""
    rows: pd.DataFrame
    """All rows of these grids, failed ones too."""
    seeds: Mapping[Any, tuple[int, ...]]
    """Seeds that a point must have, by its value in the column `needs.seeds_by`."""
    left_out: tuple[str, ...]
    """A line for each grid that would be drawn if it were complete."""

    def grid(self, quantizer: str) -> Grid | None:
        """The grid of that quantizer, where it is drawn. An item has at most one for each."""
        return next((grid for grid in self.grids if grid.quantizer == quantizer), None)

    @cached_property
    def _states(self) -> list[dict[tuple[Any, ...], str]]:
        return [_states(self.rows, grid, self.seeds, self.needs) for grid in self.grids]

    def cell_count(self) -> int:
        """Cells that the grids call for."""
        return sum(len(states) for states in self._states)

    def holes(self) -> list[str]:
        """Cells that are missing or of no use, grouped: one line for cells that share their axes and their fate."""
        lines = []
        for grid, states in zip(self.grids, self._states, strict=True):
            for state in sorted({*states.values()} - {_OK}):
                for *box, seeds in boxes(cell for cell, its_state in states.items() if its_state == state):
                    lines.append(f"{box_text(grid.quantizer, grid.axes, box)}: {seeds_text(seeds)} {state}")
        return lines

    def hole_count(self) -> int:
        """Cells behind `holes`."""
        return sum(state != _OK for states in self._states for state in states.values())

    def common(self) -> str:
        """Values that all cells share, such as `factors=4096`."""
        shared = dict[str, set[tuple[Any, ...]]]()
        for grid in self.grids:
            for axis, values in grid.axes.items():
                shared.setdefault(axis, set()).add(values)
        single = {axis: next(iter(sets)) for axis, sets in shared.items() if len(sets) == 1}
        return " ".join(f"{axis}={number(values[0])}" for axis, values in single.items() if len(values) == 1)

    def faults(self) -> list[str]:
        """Why the item cannot be drawn at all, whatever cells are allowed to be missing."""
        mixed = [line for grid in self.grids for line in _mixed(grid, _kept(grid.rows(self.rows), grid), self.needs)]
        if mixed:
            return mixed
        least = self.needs.least_repetitions
        few = [value for value, seeds in self.seeds.items() if len(seeds) < least]
        if few:
            where = f"{self.needs.seeds_by}={listed(few)}"
            held = min(len(self.seeds[value]) for value in few)
            return [f"{where}: points have only {held} of the {least} repetitions that an interval takes"]
        if not any(self.points(grid.quantizer, self.needs.metrics[0])["n"].any() for grid in self.grids):
            return [f"no point has {least} finished repetitions"]
        return []

    def usable(self, grid: Grid) -> pd.DataFrame:
        """Rows that numbers may be taken from."""
        rows = _kept(grid.rows(self.rows), grid)
        return rows[[_row_state(row, self.needs.metrics) == _OK for row in rows.to_dict("records")]]

    def points(self, quantizer: str, metric: Metric) -> pd.DataFrame:
        """One row for each point of the grid: its axes, `n`, `wanted`, `mean`, `deviation`, `low`, `high`.

        A point with fewer than the least repetitions is a hole: its `n` is 0 and its numbers are NaN.
        """
        grid = self.grid(quantizer)
        assert grid is not None
        rows = self.usable(grid)
        values = metric(rows) if callable(metric) else rows[metric]
        by_point: dict[tuple[Any, ...], list[float]] = {}
        for key, value in zip(_keys(rows, grid), values, strict=True):
            by_point.setdefault(key, []).append(float(value))
        table = []
        for point in grid.points():
            found = by_point.get(tuple(point.values()), [])
            numbers = vars(summarise(found)) if len(found) >= self.needs.least_repetitions else _NO_VALUE
            table.append({**point, "wanted": len(self.seeds[point[self.needs.seeds_by]]), **numbers})
        return pd.DataFrame(table)


def select(frame: pd.DataFrame, needs: Needs) -> Selection | None:
    """The item's rows; None where the store holds nothing for it."""
    frame = frame[frame["trainable"] == needs.trainable]
    chosen = needs.choose(frame) if len(frame) else ()
    firm = [g for g in chosen if g.presence == "required" or (g.presence == "if present" and len(g.rows(frame)))]
    if not any(True for grid in firm for _ in grid.points()):
        return None
    seeds = _seeds(frame, firm, needs.seeds_by)
    drawn, left_out = [], []
    for grid in chosen:
        if grid in firm:
            drawn.append(grid)
        elif grid.presence == "if complete" and len(grid.rows(frame)):
            states = list(_states(frame, grid, seeds, needs).values())
            if all(state == _OK for state in states):
                drawn.append(grid)
            else:
                held = states.count(_OK)
                left_out.append(f"left out: {grid.quantizer}, of which the store holds {held} of {len(states)} cells")
    rows = pd.concat([_kept(grid.rows(frame), grid) for grid in drawn]).sort_values("cell_id", ignore_index=True)
    return Selection(needs=needs, grids=tuple(drawn), rows=rows, seeds=seeds, left_out=tuple(left_out))


def _seeds(frame: pd.DataFrame, grids: Sequence[Grid], seeds_by: str) -> dict[Any, tuple[int, ...]]:
    """All seeds that any point with the same value of `seeds_by` has."""
    found: dict[Any, set[int]] = {}
    for grid in grids:
        rows = grid.rows(frame)
        for value in dict.fromkeys(point[seeds_by] for point in grid.points()):
            found.setdefault(value, set()).update(rows.loc[rows[seeds_by] == value, "seed"].astype(int))
    return {value: tuple(sorted(found[value])) for value in sorted(found)}


def _keys(rows: pd.DataFrame, grid: Grid) -> list[tuple[Any, ...]]:
    """The point of each row, as a tuple of its axes."""
    return list(rows[list(grid.axes)].itertuples(index=False, name=None))


def _kept(rows: pd.DataFrame, grid: Grid) -> pd.DataFrame:
    return rows[[grid.keep(dict(zip(grid.axes, key, strict=True))) for key in _keys(rows, grid)]]


def _states(
    frame: pd.DataFrame, grid: Grid, seeds: Mapping[Any, Sequence[int]], needs: Needs
) -> dict[tuple[Any, ...], str]:
    """What became of every cell of the grid; a cell is a point's values and a seed."""
    rows = grid.rows(frame)
    states = [_row_state(row, needs.metrics) for row in rows.to_dict("records")]
    found = {(*key, int(seed)): state for key, seed, state in zip(_keys(rows, grid), rows["seed"], states, strict=True)}
    wanted = ((*point.values(), seed) for point in grid.points() for seed in seeds[point[needs.seeds_by]])
    return {cell: found.get(cell, _MISSING) for cell in wanted}


def _row_state(row: Mapping[Any, Any], metrics: Sequence[str]) -> str:
    if row["status"] != "ok":
        return "stopped early" if row["status"] == "stopped" else f"failed ({row['status']})"
    empty = [metric for metric in metrics if row[metric] is None or not np.isfinite(row[metric])]
    return f"without a finite {', '.join(empty)}" if empty else _OK


def _mixed(grid: Grid, rows: pd.DataFrame, needs: Needs) -> list[str]:
    """Points whose rows were not all trained alike."""
    by_settings: dict[tuple[tuple[str, tuple[Any, ...]], ...], list[tuple[Any, ...]]] = {}
    for key, here in rows.groupby(list(grid.axes)):
        if here["point_id"].nunique() > 1:
            differing = tuple((c, values) for c in needs.training if len(values := distinct_text(here, c)) > 1)
            by_settings.setdefault(differing, []).append(tuple(key))
    lines = []
    for differing, points in by_settings.items():
        what = " and ".join(f"{column} = {', '.join(values)}" for column, values in differing) or "unknown settings"
        names = "; ".join(box_text(grid.quantizer, grid.axes, box) for box in boxes(points))
        advice = f"; keep one with --only {differing[0][0]}={differing[0][1][0]}" if differing else ""
        lines.append(f"{names}: unequal trainings in one point, {what}{advice}")
    return lines


def distinct_text(frame: pd.DataFrame, column: str) -> tuple[str, ...]:
    """The values that a column holds, as people write them; none for a column that is not there."""
    return tuple(number(value) for value in sorted(frame[column].dropna().unique())) if column in frame else ()
