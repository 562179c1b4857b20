"""Holding an item's needs against the rows: what is there, what is lacking, and the numbers of each point."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ..naming import box_text, boxes, number, seeds_text
from .curves_and_artifacts import Beside, load_beside
from .needs import Grid, Needs
from .points import Points, told_apart
from .rows import Rows
from .summary import summaries

Metric = str | Callable[[pd.DataFrame], "pd.Series[float]"]
"""A column, or a number computed for each row."""
Group = tuple[Any, ...]
"""Values of a point in the columns `needs.seeds_by`."""

_OK, _MISSING = "ok", "missing"


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The rows of one item."""

    needs: Needs
    grids: tuple[Grid, ...]
    """Those that are drawn."""
    rows: pd.DataFrame
    """All rows of these grids, failed ones too."""
    points_of_rows: Points
    seeds: Mapping[Group, tuple[int, ...]]
    """Seeds that a point must have."""
    left_out: tuple[str, ...]
    """A line for each grid that would be drawn if it were complete."""
    beside: Beside
    """Curves and files of the rows, where the item needs them."""

    def grid(self, name: str) -> Grid | None:
        """The grid of that name, where it is drawn."""
        return next((grid for grid in self.grids if grid.name == name), None)

    def cell_count(self) -> int:
        """Cells that the grids call for."""
        return sum(int(self.wanted(grid).sum()) for grid in self.grids)

    def wanted(self, grid: Grid) -> npt.NDArray[np.int64]:
        """Of each point of the grid how many repetitions it must have."""
        if grid.name not in self._wanted:
            groups, place_of = groups_of(grid.table, self.needs.seeds_by)
            self._wanted[grid.name] = np.array([len(self.seeds[group]) for group in groups], np.int64)[place_of]
        return self._wanted[grid.name]

    @cached_property
    def _wanted(self) -> dict[str, npt.NDArray[np.int64]]:
        return {}

    def holes(self) -> list[str]:
        """Cells that are missing or of no use, grouped: one line for cells that share their axes and their fate."""
        lines = []
        for grid in self.grids:
            lost = self.lost(grid)
            for state in sorted(set(lost.values())):
                for *box, seeds in boxes(cell for cell, its_state in lost.items() if its_state == state):
                    lines.append(f"{box_text(grid.name, grid.axes, box)}: {seeds_text(seeds)} {state}")
        return lines

    def hole_count(self) -> int:
        """Cells behind `holes`."""
        return sum(len(self.lost(grid)) for grid in self.grids)

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
        mixed = [line for grid in self.grids for line in self._mixed(grid)]
        if unequal := mixed or self._unlike():
            return unequal
        least = self.needs.least_repetitions
        few = [group for group, seeds in self.seeds.items() if len(seeds) < least]
        if few:
            where = "; ".join(_group_text(self.needs, group) for group in few)
            held = min(len(self.seeds[group]) for group in few)
            return [f"{where}: points have only {held} of the {least} repetitions that an interval takes"]
        if not any(self.points(grid.name, self.needs.metrics[0])["n"].any() for grid in self.grids):
            return [f"no point has {least} finished repetitions"]
        return []

    def usable(self, grid: Grid) -> pd.DataFrame:
        """Rows that numbers may be taken from."""
        if grid.name not in self._usable:
            places = self._places(grid)
            rows = np.flatnonzero((places >= 0) & self.is_whole)
            frame = self.rows if len(rows) == len(self.rows) else self.rows.iloc[rows]
            self._usable[grid.name] = frame, places[rows]
        return self._usable[grid.name][0].copy(deep=False)

    @cached_property
    def _usable(self) -> dict[str, tuple[pd.DataFrame, npt.NDArray[np.int64]]]:
        """By grid the rows, and the places of their points."""
        return {}

    def points(self, name: str, metric: Metric) -> pd.DataFrame:
        """One row for each point of the grid: its axes, `n`, `wanted`, `mean`, `deviation`, `low`, `high`.

        A point with fewer than the least repetitions is a hole: its `n` is 0 and its numbers are NaN.
        """
        if (name, metric) not in self._points:
            grid = self.grid(name)
            assert grid is not None
            rows = self.usable(grid)
            values = _as_floats(metric(rows) if callable(metric) else rows[metric])
            least, places = self.needs.least_repetitions, self._usable[grid.name][1]
            numbers = summaries(values, places, len(grid.table), least=least)
            self._points[name, metric] = grid.table.assign(wanted=self.wanted(grid), **numbers)
        return self._points[name, metric].copy(deep=False)

    @cached_property
    def _points(self) -> dict[tuple[str, Metric], pd.DataFrame]:
        return {}

    def curve(self, name: str, column: str, **values: Any) -> pd.DataFrame:
        """One row for each step at which the point with these values has that column: `step` and as in `points`.

        Empty for a point with fewer than the least repetitions.
        """
        grid = self.grid(name)
        assert grid is not None
        rows = self.usable(grid)
        for axis, value in values.items():
            rows = rows[rows[axis] == value]
        curves = self.beside.curves[self.beside.curves["cell_id"].isin(rows["cell_id"])].dropna(subset=[column])
        steps, places = np.unique(curves["step"], return_inverse=True)
        numbers = summaries(_as_floats(curves[column]), places, len(steps), least=self.needs.least_repetitions)
        found = pd.DataFrame({"step": steps, **numbers})
        return found[found["n"] > 0]

    def of(self, grids: Sequence[Grid], left_out: Sequence[str]) -> Selection:
        """With these of its grids and no more."""
        inside = np.logical_or.reduce([self._places(grid) >= 0 for grid in grids])
        only = replace(self, grids=tuple(grids), left_out=tuple(left_out))
        if inside.all():
            return only
        rows = np.flatnonzero(inside)
        return replace(
            only,
            rows=self.rows.iloc[rows].reset_index(drop=True),
            points_of_rows=self.points_of_rows.taken(rows),
        )

    def lost(self, grid: Grid) -> Mapping[tuple[Any, ...], str]:
        """What became of every cell of the grid that cannot be used; a cell is a point's values and a seed."""
        if grid.name not in self._lost:
            self._lost[grid.name] = self._find_lost(grid)
        return self._lost[grid.name]

    @cached_property
    def _lost(self) -> dict[str, Mapping[tuple[Any, ...], str]]:
        return {}

    def _find_lost(self, grid: Grid) -> Mapping[tuple[Any, ...], str]:
        places, count = self._places(grid), len(grid.table)
        sound = np.bincount(places[(places >= 0) & self.is_whole], minlength=count)
        held = np.bincount(places[places >= 0], minlength=count)
        suspect = (sound != self.wanted(grid)) | (sound != held)
        suspect[self._shared(grid)] = True
        if not suspect.any():
            return {}
        rows = np.flatnonzero((places >= 0) & suspect[places])
        found: dict[int, dict[int, str]] = {place: {} for place in np.flatnonzero(suspect).tolist()}
        seeds = self.rows["seed"].to_numpy()[rows].tolist()
        for row, place, seed in zip(rows.tolist(), places[rows].tolist(), seeds, strict=True):
            found[place][seed] = self._faulty.get(row, _OK)
        lost: dict[tuple[Any, ...], str] = {}
        for place, point in enumerate(grid.points()):
            if place in found:
                fates = {(*point.values(), seed): found[place].get(seed, _MISSING)
                         for seed in self.seeds[_group(self.needs, point)]}  # fmt: skip
                lost |= {cell: state for cell, state in fates.items() if state != _OK}
        return lost

    def _places(self, grid: Grid) -> npt.NDArray[np.int64]:
        """Of each row its point's place among those of the grid; -1 for a row of none of them."""
        if grid.name not in self._places_of_rows:
            self._places_of_rows[grid.name] = self.points_of_rows.places(grid)[self.points_of_rows.of_rows]
        return self._places_of_rows[grid.name]

    @cached_property
    def _places_of_rows(self) -> dict[str, npt.NDArray[np.int64]]:
        return {}

    def _shared(self, grid: Grid) -> list[int]:
        """Places of points of the grid that the stores have several points for, of unequal trainings."""
        points = self.points_of_rows
        each = pd.DataFrame(
            {"place": points.places(grid), "point_id": points.heads["point_id"].array}
        ).drop_duplicates()
        again: list[int] = each.loc[each["place"].duplicated() & (each["place"] >= 0), "place"].unique().tolist()
        return again

    @cached_property
    def is_whole(self) -> npt.NDArray[np.bool_]:
        """Of each row whether numbers may be taken from it."""
        whole = np.ones(len(self.rows), bool)
        whole[list(self._faulty)] = False
        return whole

    @cached_property
    def _faulty(self) -> dict[int, str]:
        """What became of each row that is of no use, by its place."""
        rows, lacking = self.rows, self.beside.lacking
        finite = {metric: _finite(rows[metric]) for metric in self.needs.metrics}
        suspect = (rows["status"] != "ok").to_numpy(bool) | ~np.logical_and.reduce(list(finite.values()))
        if lacking:
            suspect |= rows["cell_id"].isin(list(lacking)).to_numpy(bool)
        states = {}
        for place in np.flatnonzero(suspect).tolist():
            status = rows["status"].iloc[place]
            empty = [metric for metric, is_finite in finite.items() if not is_finite[place]]
            if status != "ok":
                states[place] = "stopped early" if status == "stopped" else f"failed ({status})"
            else:
                text = f"without a finite {', '.join(empty)}"
                states[place] = text if empty else lacking[rows["cell_id"].iloc[place]]
        return states

    def _mixed(self, grid: Grid) -> list[str]:
        """Points whose rows were not all trained alike."""
        shared = self._shared(grid)
        if not shared:
            return []
        by_settings: dict[tuple[tuple[str, tuple[str, ...]], ...], list[tuple[Any, ...]]] = {}
        heads = self.points_of_rows.heads
        for key, here in heads[np.isin(self.points_of_rows.places(grid), shared)].groupby(list(grid.axes)):
            differing = tuple((c, values) for c in self.needs.training if len(values := distinct_text(here, c)) > 1)
            by_settings.setdefault(differing, []).append(tuple(key))
        lines = []
        for differing, points in by_settings.items():
            what = " and ".join(f"{column} = {', '.join(values)}" for column, values in differing) or "unknown settings"
            names = "; ".join(box_text(grid.name, grid.axes, box) for box in boxes(points))
            advice = _advice(self.rows, [column for column, _ in differing])
            lines.append(f"{names}: unequal trainings in one point, {what}{advice}")
        return lines

    def _unlike(self) -> list[str]:
        """Columns in which points differ that are only comparable where they do not."""
        if not self.needs.alike:
            return []
        lines = []
        members = {grid.name: set(np.flatnonzero(self._places(grid) >= 0).tolist()) for grid in self.grids}
        for group, here in self.rows.groupby(list(self.needs.seeds_by)):
            for column in self.needs.alike:
                if len(values := distinct_text(here, column)) > 1:
                    holders = {value: set(here.index[[number(v) == value for v in here[column]]]) for value in values}
                    what = "; ".join(
                        f"{value} ({', '.join(name for name, rows_of in members.items() if rows_of & held)})"
                        for value, held in holders.items()
                    )
                    advice = _advice(here, [column])
                    lines.append(f"{_group_text(self.needs, group)}: unequal {column}, {what}{advice}")
        return lines


def select(rows: Rows, needs: Needs) -> Selection | None:
    """The item's rows; None where the stores hold nothing for it.

    Raises `StoreError` where what lies beside the rows cannot be read.
    """
    frame, points = needs.narrowed(rows.of(needs.trainable)), rows.points(needs.trainable)
    points = replace(points, heads=needs.narrowed(points.heads))
    chosen = needs.choose(points.heads) if len(frame) else ()
    firm = [g for g in chosen if g.presence == "required" or (g.presence == "if present" and len(g.rows(points.heads)))]
    if not any(len(grid.table) for grid in firm):
        return None
    seeds = _seeds(frame["seed"].to_numpy(np.int64), points, firm, needs)
    inside = np.logical_or.reduce([points.places(grid) >= 0 for grid in chosen])[points.of_rows]
    if needs.lowest_seed_only:
        cells = frame[[*needs.seeds_by, "seed"]].itertuples(index=False, name=None)
        inside &= np.array([seed in seeds.get(tuple(group), ()) for *group, seed in cells], bool)
    if not inside.all():
        places = np.flatnonzero(inside)
        frame, points = frame.iloc[places], points.taken(places)
    frame = frame.reset_index(drop=True)
    every = Selection(
        needs=needs,
        grids=tuple(chosen),
        rows=frame,
        points_of_rows=points,
        seeds=seeds,
        left_out=(),
        beside=load_beside(rows, frame, needs),
    )
    drawn, left_out = [], []
    for grid in chosen:
        if grid in firm:
            drawn.append(grid)
        elif grid.presence == "if complete" and len(grid.rows(points.heads)):
            if not (lost := every.lost(grid)):
                drawn.append(grid)
            else:
                called_for = int(every.wanted(grid).sum())
                there = f"{called_for - len(lost)} of {called_for}"
                left_out.append(f"left out: {grid.name}, of which the store holds {there} cells")
    return every.of(drawn, left_out)


def _seeds(
    held: npt.NDArray[np.int64], points: Points, grids: Sequence[Grid], needs: Needs
) -> dict[Group, tuple[int, ...]]:
    """All seeds that any point with the same values of `seeds_by` has; the lowest where one is enough.

    `held` are the seeds of the rows.
    """
    places, values = pd.factorize(held, sort=True)
    found: dict[Group, set[int]] = {}
    for grid in grids:
        groups, group_of = groups_of(grid.table, needs.seeds_by)
        of_points = points.places(grid)
        is_held = np.zeros((len(groups) + 1, len(values)), bool)  # the last group is of rows that are not in the grid
        is_held[np.append(group_of, len(groups))[of_points][points.of_rows], places] = True
        for group, its in zip(groups, is_held, strict=False):
            found.setdefault(group, set()).update(values[its].tolist())
    most = 1 if needs.lowest_seed_only else None
    return {group: tuple(sorted(found[group]))[:most] for group in sorted(found)}


def groups_of(table: pd.DataFrame, columns: Sequence[str]) -> tuple[list[Group], npt.NDArray[np.int64]]:
    """The combinations of values that the table has in these columns, and of each row the place of its own."""
    heads, place_of = told_apart(table, columns)
    return list(table[list(columns)].iloc[heads].itertuples(index=False, name=None)), place_of


def _group(needs: Needs, point: Mapping[str, Any]) -> Group:
    return tuple(point[column] for column in needs.seeds_by)


def _group_text(needs: Needs, group: Group) -> str:
    return " ".join(f"{column}={number(value)}" for column, value in zip(needs.seeds_by, group, strict=True))


def _as_floats(values: pd.Series[Any]) -> npt.NDArray[np.float64]:
    return pd.to_numeric(values).to_numpy(np.float64, na_value=np.nan)


def _finite(values: pd.Series[Any]) -> npt.NDArray[np.bool_]:
    """Of lists, where every entry is so."""
    if pd.api.types.is_numeric_dtype(values):
        return np.isfinite(_as_floats(values))
    if any(isinstance(value, list | np.ndarray) for value in values[values.notna()].head(1)):
        whole = values.notna().to_numpy(copy=True)
        whole[whole] = [bool(np.isfinite(value).all()) for value in values[whole]]
        return whole
    return np.isfinite(_as_floats(values))


def _advice(rows: pd.DataFrame, columns: Sequence[str]) -> str:
    """How to keep, of columns with several values, those that most rows have."""
    most = {column: rows[column].value_counts().sort_index().sort_values(ascending=False, kind="stable").index[0]
            for column in columns}  # fmt: skip
    return f"; keep one with {' '.join(f'--only {c}={number(v)}' for c, v in most.items())}" if most else ""


def distinct_text(frame: pd.DataFrame, column: str) -> tuple[str, ...]:
    """The values that a column holds, as people write them; none for a column that is not there."""
    return tuple(number(value) for value in sorted(frame[column].dropna().unique())) if column in frame else ()
