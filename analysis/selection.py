"""Holding an item's needs against the rows: what is there, what is lacking, and the numbers of each point."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from analysis.beside import Beside, load_beside
from analysis.naming import box_text, boxes, number, seeds_text
from analysis.needs import Grid, Needs
from analysis.rows import Rows
from analysis.summary import summaries

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
    seeds: Mapping[Group, tuple[int, ...]]
    """Seeds that a point must have."""
    left_out: tuple[str, ...]
    """A line for each grid that would be drawn if it were complete."""
    beside: Beside
    """Curves and files of the rows, where the item needs them."""

    def grid(self, name: str) -> Grid | None:
        """The grid of that name, where it is drawn."""
        return next((grid for grid in self.grids if grid.name == name), None)

    @cached_property
    def _lost(self) -> list[dict[tuple[Any, ...], str]]:
        return [_lost(self.rows, grid, self.seeds, self.needs, self.beside) for grid in self.grids]

    def cell_count(self) -> int:
        """Cells that the grids call for."""
        return sum(_cell_count(grid, self.seeds, self.needs) for grid in self.grids)

    def holes(self) -> list[str]:
        """Cells that are missing or of no use, grouped: one line for cells that share their axes and their fate."""
        lines = []
        for grid, lost in zip(self.grids, self._lost, strict=True):
            for state in sorted(set(lost.values())):
                for *box, seeds in boxes(cell for cell, its_state in lost.items() if its_state == state):
                    lines.append(f"{box_text(grid.name, grid.axes, box)}: {seeds_text(seeds)} {state}")
        return lines

    def hole_count(self) -> int:
        """Cells behind `holes`."""
        return sum(len(lost) for lost in self._lost)

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
        mixed = [line for grid in self.grids for line in _mixed(grid, self.rows, self.needs)]
        if unequal := mixed or _unlike(self.grids, self.rows, self.needs):
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
            rows = _kept(grid.rows(self.rows), grid)
            whole = _row_states(rows, self.needs.metrics, self.beside) == _OK
            self._usable[grid.name] = rows if whole.all() else rows[whole]
        return self._usable[grid.name].copy(deep=False)

    @cached_property
    def _usable(self) -> dict[str, pd.DataFrame]:
        return {}

    def points(self, name: str, metric: Metric) -> pd.DataFrame:
        """One row for each point of the grid: its axes, `n`, `wanted`, `mean`, `deviation`, `low`, `high`.

        A point with fewer than the least repetitions is a hole: its `n` is 0 and its numbers are NaN.
        """
        grid = self.grid(name)
        assert grid is not None
        rows, points = self.usable(grid), list(grid.points())
        values = metric(rows) if callable(metric) else rows[metric]
        wanted = [len(self.seeds[_group(self.needs, point)]) for point in points]
        axes = {axis: [point[axis] for point in points] for axis in grid.axes}
        return pd.DataFrame({**axes, "wanted": wanted, **self._numbers(values, grid.places(rows), len(points))})

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
        found = pd.DataFrame({"step": steps, **self._numbers(curves[column], places, len(steps))})
        return found[found["n"] > 0]

    def _numbers(
        self, values: pd.Series[float], places: npt.NDArray[np.int64], count: int
    ) -> dict[str, npt.NDArray[Any]]:
        """The summary of each place, by column; of nothing where it has fewer than the least repetitions."""
        found = summaries(_as_floats(values), places, count)
        few = found["n"] < self.needs.least_repetitions
        return {name: np.where(few, 0 if name == "n" else np.nan, column) for name, column in found.items()}


def select(rows: Rows, needs: Needs) -> Selection | None:
    """The item's rows; None where the stores hold nothing for it.

    Raises `StoreError` where what lies beside the rows cannot be read.
    """
    frame = needs.narrowed(rows.of(needs.trainable))
    chosen = needs.choose(frame) if len(frame) else ()
    firm = [g for g in chosen if g.presence == "required" or (g.presence == "if present" and len(g.rows(frame)))]
    if not any(True for grid in firm for _ in grid.points()):
        return None
    seeds = _seeds(frame, firm, needs)
    if needs.lowest_seed_only:
        cells = frame[[*needs.seeds_by, "seed"]].itertuples(index=False, name=None)
        frame = frame[[seed in seeds.get(tuple(group), ()) for *group, seed in cells]]
    held = [_kept(grid.rows(frame), grid) for grid in chosen]
    beside = load_beside(rows, held, needs)
    drawn, left_out = [], []
    for grid in chosen:
        if grid in firm:
            drawn.append(grid)
        elif grid.presence == "if complete" and len(grid.rows(frame)):
            if not (lost := _lost(frame, grid, seeds, needs, beside)):
                drawn.append(grid)
            else:
                called_for = _cell_count(grid, seeds, needs)
                there = f"{called_for - len(lost)} of {called_for}"
                left_out.append(f"left out: {grid.name}, of which the store holds {there} cells")
    kept = pd.concat([its for grid, its in zip(chosen, held, strict=True) if grid in drawn])
    kept = kept.sort_index(kind="stable").reset_index(drop=True)  # by cell id, as all rows are
    return Selection(needs=needs, grids=tuple(drawn), rows=kept, seeds=seeds, left_out=tuple(left_out), beside=beside)


def _seeds(frame: pd.DataFrame, grids: Sequence[Grid], needs: Needs) -> dict[Group, tuple[int, ...]]:
    """All seeds that any point with the same values of `seeds_by` has; the lowest where one is enough."""
    found: dict[Group, set[int]] = {}
    for grid in grids:
        groups = dict.fromkeys(_group(needs, point) for point in grid.points())
        cells = _kept(grid.rows(frame), grid)[[*needs.seeds_by, "seed"]].drop_duplicates()
        for *values, seed in cells.itertuples(index=False, name=None):
            found.setdefault(tuple(values), set()).add(int(seed))
        for group in groups:
            found.setdefault(group, set())
    most = 1 if needs.lowest_seed_only else None
    return {group: tuple(sorted(found[group]))[:most] for group in sorted(found)}


def _group(needs: Needs, point: Mapping[str, Any]) -> Group:
    return tuple(point[column] for column in needs.seeds_by)


def _group_text(needs: Needs, group: Group) -> str:
    return " ".join(f"{column}={number(value)}" for column, value in zip(needs.seeds_by, group, strict=True))


def _kept(rows: pd.DataFrame, grid: Grid) -> pd.DataFrame:
    kept = grid.places(rows) >= 0
    return rows if kept.all() else rows[kept]


def _cell_count(grid: Grid, seeds: Mapping[Group, Sequence[int]], needs: Needs) -> int:
    return sum(len(seeds[_group(needs, point)]) for point in grid.points())


def _lost(
    frame: pd.DataFrame, grid: Grid, seeds: Mapping[Group, Sequence[int]], needs: Needs, beside: Beside
) -> dict[tuple[Any, ...], str]:
    """What became of every cell of the grid that cannot be used; a cell is a point's values and a seed."""
    rows = grid.rows(frame)
    states, places = _row_states(rows, needs.metrics, beside), grid.places(rows)
    order = np.argsort(places, kind="stable")
    points = list(grid.points())
    ends = np.searchsorted(places[order], np.arange(len(points) + 1))
    held, whole = rows["seed"].to_numpy()[order], (states == _OK)[order]
    lost: dict[tuple[Any, ...], str] = {}
    for point, start, end in zip(points, ends[:-1], ends[1:], strict=True):
        wanted = seeds[_group(needs, point)]
        if whole[start:end].all() and set(wanted) <= set(held[start:end].tolist()):
            continue
        found = dict(zip(held[start:end].tolist(), states[order[start:end]], strict=True))
        fates = {(*point.values(), seed): found.get(seed, _MISSING) for seed in wanted}
        lost.update((cell, state) for cell, state in fates.items() if state != _OK)
    return lost


def _row_states(rows: pd.DataFrame, metrics: Sequence[str], beside: Beside) -> npt.NDArray[np.object_]:
    """What became of each of the rows."""
    finite = {metric: _finite(rows[metric]) for metric in metrics}
    suspect = (rows["status"] != "ok").to_numpy() | ~np.logical_and.reduce(list(finite.values()))
    suspect |= rows["cell_id"].isin(list(beside.lacking)).to_numpy()
    states = np.full(len(rows), _OK, dtype=object)
    for place, status, cell_id in zip(
        np.flatnonzero(suspect), rows["status"][suspect], rows["cell_id"][suspect], strict=True
    ):
        empty = [metric for metric in metrics if not finite[metric][place]]
        if status != "ok":
            states[place] = "stopped early" if status == "stopped" else f"failed ({status})"
        else:
            states[place] = f"without a finite {', '.join(empty)}" if empty else beside.lacking[cell_id]
    return states


def _as_floats(values: pd.Series[Any]) -> npt.NDArray[np.float64]:
    return pd.to_numeric(values).to_numpy(np.float64, na_value=np.nan)


def _finite(values: pd.Series[Any]) -> npt.NDArray[np.bool_]:
    """Of lists, where every entry is so."""
    if any(isinstance(value, list | np.ndarray) for value in values[values.notna()].head(1)):
        whole = values.notna().to_numpy(copy=True)
        whole[whole] = [bool(np.isfinite(value).all()) for value in values[whole]]
        return whole
    return np.isfinite(_as_floats(values))


def _mixed(grid: Grid, rows: pd.DataFrame, needs: Needs) -> list[str]:
    """Points whose rows were not all trained alike."""
    by_settings: dict[tuple[tuple[str, tuple[str, ...]], ...], list[tuple[Any, ...]]] = {}
    kept = _kept(grid.rows(rows), grid)
    places = pd.Series(grid.places(kept), index=kept.index)
    heads = places[~pd.DataFrame({"place": places, "point_id": kept["point_id"]}).duplicated()]
    for key, here in kept[places.isin(heads[heads.duplicated()])].groupby(list(grid.axes)):
        if here["point_id"].nunique() > 1:
            differing = tuple((c, values) for c in needs.training if len(values := distinct_text(here, c)) > 1)
            by_settings.setdefault(differing, []).append(tuple(key))
    lines = []
    for differing, points in by_settings.items():
        what = " and ".join(f"{column} = {', '.join(values)}" for column, values in differing) or "unknown settings"
        names = "; ".join(box_text(grid.name, grid.axes, box) for box in boxes(points))
        lines.append(f"{names}: unequal trainings in one point, {what}{_advice(rows, [c for c, _ in differing])}")
    return lines


def _unlike(grids: Sequence[Grid], rows: pd.DataFrame, needs: Needs) -> list[str]:
    """Columns in which points differ that are only comparable where they do not."""
    if not needs.alike:
        return []
    lines = []
    members = {grid.name: set(_kept(grid.rows(rows), grid).index) for grid in grids}
    for group, here in rows.groupby(list(needs.seeds_by)):
        for column in needs.alike:
            if len(values := distinct_text(here, column)) > 1:
                holders = {value: set(here.index[[number(v) == value for v in here[column]]]) for value in values}
                what = "; ".join(
                    f"{value} ({', '.join(name for name, rows_of in members.items() if rows_of & held)})"
                    for value, held in holders.items()
                )
                lines.append(f"{_group_text(needs, group)}: unequal {column}, {what}{_advice(here, [column])}")
    return lines


def _advice(rows: pd.DataFrame, columns: Sequence[str]) -> str:
    """How to keep, of columns with several values, those that most rows have."""
    most = {column: rows[column].value_counts().sort_index().sort_values(ascending=False, kind="stable").index[0]
            for column in columns}  # fmt: skip
    return f"; keep one with {' '.join(f'--only {c}={number(v)}' for c, v in most.items())}" if most else ""


def distinct_text(frame: pd.DataFrame, column: str) -> tuple[str, ...]:
    """The values that a column holds, as people write them; none for a column that is not there."""
    return tuple(number(value) for value in sorted(frame[column].dropna().unique())) if column in frame else ()
