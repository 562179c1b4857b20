"""The cells of an item: which are there, which are missing, and the numbers of each point."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ..naming import box_text, boxes, listed, number, seeds_text
from .curves_and_artifacts import CurvesAndArtifacts, load_curves_and_artifacts
from .declared import Declared, declared
from .differences import differences
from .needs import Grid, Needs
from .points import Places, Points, floats, groups_of, plain, unusable_rows
from .rows import Rows
from .summary import LEVEL, summaries

Metric = str | Callable[[pd.DataFrame], "pd.Series[float]"]
"""A column, or a number computed for each row."""
Seeds = Mapping[tuple[Any, ...], tuple[int, ...]]
"""The seeds that points must have, by their values in the columns `needs.seeds_by`."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SelectedGrid(Grid):
    """A grid with the rows of its points."""

    selection: Selection
    places: Places
    """For each row of the selection, the place of its point in `table`; -1 for a row of none of them."""
    _means: dict[Metric, pd.DataFrame] = field(default_factory=dict)

    @cached_property
    def groups(self) -> tuple[list[tuple[Any, ...]], Places]:
        """The groups of points that must have equal seeds, and that of each point."""
        return groups_of(self.table, self.selection.needs.seeds_by)

    @cached_property
    def wanted(self) -> npt.NDArray[np.int64]:
        """For each point, how many repetitions it must have."""
        groups, group_of = self.groups
        alike = np.array([len(self.selection.seeds[group]) for group in groups], np.int64)[group_of]
        return np.where(self.was_stopped, np.bincount(self.places[self.places >= 0], minlength=len(alike)), alike)

    @cached_property
    def levels(self) -> npt.NDArray[np.float64]:
        """For each point, the coverage of its interval that makes it hold at `LEVEL` however its seeds were added."""
        found = np.full(len(self.table), LEVEL)
        if self.selection.levels:
            inside = np.flatnonzero(self.places >= 0)
            stated = self.selection.rows["point_id"].iloc[inside].astype(object).map(self.selection.levels)
            np.fmax.at(found, self.places[inside], stated.to_numpy(float))
        return found

    @cached_property
    def was_stopped(self) -> npt.NDArray[np.bool_]:
        """For each point, whether its repetitions were added until they sufficed: it then needs no other seeds."""
        return self.levels > LEVEL

    @cached_property
    def _used(self) -> npt.NDArray[np.bool_]:
        return (self.places >= 0) & self.selection.is_usable

    @cached_property
    def usable(self) -> pd.DataFrame:
        """The rows that numbers are taken from."""
        return self.selection.rows if self._used.all() else self.selection.rows[self._used]

    def means(self, metric: Metric) -> pd.DataFrame:
        """One row for each point: its axes, `n`, `wanted`, `mean`, `deviation`, `low`, `high`.

        A point with too few repetitions is a hole: its `n` is 0 and its numbers are NaN.
        """
        if metric not in self._means:
            values = metric(self.usable) if callable(metric) else self.usable[metric]
            least, places = self.selection.needs.least_repetitions, self.places[self._used]
            numbers = summaries(floats(values), places, len(self.table), self.levels, least=least)
            self._means[metric] = self.table.assign(wanted=self.wanted, **numbers)
        return self._means[metric].copy(deep=False)

    def curve(self, column: str, **values: Any) -> pd.DataFrame:
        """One row for each step at which the point with these values has that column: `step` and as in `means`.

        Empty for a point with too few repetitions.
        """
        rows, curves = self.usable, self.selection.curves_and_artifacts.curves
        for axis, value in values.items():
            rows = rows[rows[axis] == value]
        curves = curves[curves["cell_id"].isin(rows["cell_id"])].dropna(subset=[column])
        steps, places = np.unique(curves["step"], return_inverse=True)
        least = self.selection.needs.least_repetitions
        found = pd.DataFrame({"step": steps, **summaries(floats(curves[column]), places, len(steps), least=least)})
        return found[found["n"] > 0]

    @cached_property
    def unequal(self) -> list[int]:
        """Places of points for which the stores have several points, of unequal trainings."""
        held = pd.DataFrame({"place": self.places, "point_id": self.selection.rows["point_id"]}).drop_duplicates()
        return sorted(held.loc[(held["place"] >= 0) & held["place"].duplicated(), "place"].unique().tolist())

    @cached_property
    def lost(self) -> Mapping[tuple[Any, ...], str]:
        """What is wrong with every cell that cannot be used; a cell is the values of its point and its seed."""
        count = len(self.table)
        usable = np.bincount(self.places[self._used], minlength=count)
        held = np.bincount(self.places[self.places >= 0], minlength=count)
        suspect = (usable != self.wanted) | (usable != held)
        suspect[self.unequal] = True
        if not suspect.any():
            return {}
        states: dict[int, dict[int, str]] = {place: {} for place in np.flatnonzero(suspect).tolist()}
        rows = np.flatnonzero((self.places >= 0) & suspect[self.places])
        seeds = self.selection.rows["seed"].to_numpy()[rows].tolist()
        for row, place, seed in zip(rows.tolist(), self.places[rows].tolist(), seeds, strict=True):
            states[place][seed] = self.selection.unusable.get(row, "")
        lost = {}
        for place, point in zip(states, self.table[suspect].to_dict("records"), strict=True):
            alike = self.selection.seeds[tuple(point[column] for column in self.selection.needs.seeds_by)]
            for seed in sorted(states[place]) if self.was_stopped[place] else alike:
                if state := states[place].get(seed, "missing"):
                    lost[*point.values(), seed] = state
        return lost


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The rows of one item."""

    needs: Needs
    declared: Declared
    placed: Sequence[tuple[Grid, Places]]
    """The grids that are drawn, each with the place of every row in it."""
    rows: pd.DataFrame
    """All rows of these grids, failed ones too."""
    seeds: Seeds
    left_out: tuple[str, ...]
    """A line for each grid that would be drawn if it were complete."""
    curves_and_artifacts: CurvesAndArtifacts
    levels: Mapping[str, float] = field(default_factory=dict)
    """By point id, as `Rows.levels` has it."""

    @cached_property
    def grids(self) -> tuple[SelectedGrid, ...]:
        """The grids that are drawn."""
        return tuple(
            SelectedGrid(
                quantizer=grid.quantizer, label=grid.label, axes=grid.axes, presence=grid.presence, keep=grid.keep,
                selection=self, places=places,
            )
            for grid, places in self.placed
        )  # fmt: skip

    def grid(self, name: str) -> SelectedGrid | None:
        """The grid of that name, where it is drawn."""
        return next((grid for grid in self.grids if grid.name == name), None)

    def __getitem__(self, name: str) -> SelectedGrid:
        found = self.grid(name)
        assert found is not None
        return found

    @cached_property
    def unusable(self) -> Mapping[int, str]:
        """What is wrong with each row that no number can be taken from, by its place."""
        return unusable_rows(self.rows, self.needs.metrics, self.curves_and_artifacts.missing, self.declared)

    @cached_property
    def is_usable(self) -> npt.NDArray[np.bool_]:
        """For each row, whether numbers can be taken from it."""
        usable = np.ones(len(self.rows), bool)
        usable[list(self.unusable)] = False
        return usable

    @cached_property
    def drawn(self) -> pd.DataFrame:
        """The rows that some mean is of."""
        inside = np.zeros(len(self.rows), bool)
        for grid in self.grids:
            held = np.append(grid.means(self.needs.metrics[0])["n"].to_numpy() > 0, False)
            inside |= held[grid.places]
        return self.rows[inside & self.is_usable]

    def repetitions(self) -> dict[tuple[int, ...], list[tuple[Any, ...]]]:
        """By how many repetitions the means of a group of points are of, the groups; the most repetitions first."""
        found: dict[tuple[Any, ...], set[int]] = {}
        for grid in self.grids:
            groups, group_of = grid.groups
            for group, n in zip(group_of, grid.means(self.needs.metrics[0])["n"].tolist(), strict=True):
                found.setdefault(groups[group], set()).update({n} - {0})
        by_counts: dict[tuple[int, ...], list[tuple[Any, ...]]] = {}
        for group in sorted(found):
            by_counts.setdefault(tuple(sorted(found[group])), []).append(group)
        return {counts: by_counts[counts] for counts in sorted(by_counts, reverse=True) if counts}

    def cell_count(self) -> int:
        """Cells that the grids call for."""
        return sum(int(grid.wanted.sum()) for grid in self.grids)

    def hole_count(self) -> int:
        """Cells that are missing or cannot be used."""
        return sum(len(grid.lost) for grid in self.grids)

    def holes(self) -> list[str]:
        """These cells, grouped: one line for cells that share their axes and what is wrong with them."""
        return [
            f"{box_text(grid.name, grid.axes, box)}: {seeds_text(seeds)} {state}"
            for grid in self.grids
            for state in sorted(set(grid.lost.values()))
            for *box, seeds in boxes(cell for cell, its_state in grid.lost.items() if its_state == state)
        ]

    def common(self) -> str:
        """Values that all cells share, such as `factors=4096`."""
        shared = dict[str, set[tuple[Any, ...]]]()
        for grid in self.grids:
            for axis, values in grid.axes.items():
                shared.setdefault(axis, set()).add(values)
        single = {axis: next(iter(sets)) for axis, sets in shared.items() if len(sets) == 1}
        return " ".join(f"{axis}={number(values[0])}" for axis, values in single.items() if len(values) == 1)

    def listing(self) -> list[str]:
        """A line for each grid, with the values along its axes."""
        return [
            f"{grid.name}: {len(grid.table)} points of  "
            + "  ".join(f"{axis}={listed(values)}" for axis, values in grid.axes.items())
            for grid in self.grids
        ]

    def shown(self) -> str:
        """The grids, and what varies in them."""
        parts = []
        for grid in self.grids:
            varied = [f"{axis} {listed(values)}" for axis, values in grid.axes.items() if len(values) > 1]
            parts.append(f"{grid.name} at {', '.join(varied)}" if varied else grid.name)
        return "; ".join(parts)

    def faults(self) -> list[str]:
        """Why the item cannot be drawn at all, whatever cells are allowed to be missing."""
        if unequal := [*differences(self)]:
            return unequal
        least = self.needs.least_repetitions
        few = [group for group, seeds in self.seeds.items() if len(seeds) < least]
        if few:
            where = "; ".join(self._group_text(group) for group in few)
            held = min(len(self.seeds[group]) for group in few)
            return [f"{where}: points have only {held} of the {least} repetitions that an interval takes"]
        if not any(grid.means(self.needs.metrics[0])["n"].any() for grid in self.grids):
            return [f"no point has {least} finished repetitions"]
        return []

    def _group_text(self, group: tuple[Any, ...]) -> str:
        columns = zip(self.needs.seeds_by, group, strict=True)
        return " ".join(f"{column}={number(value)}" for column, value in columns)


def select(rows: Rows, needs: Needs) -> Selection | None:
    """The item's rows; None where the stores hold nothing for it.

    Raises `StoreError` where curves or artifacts cannot be read.
    """
    points = rows.points(needs.trainable)
    chosen = needs.choose(points.heads) if len(points.rows) else ()
    placed = [(grid, grid.find(points.heads)) for grid in chosen]
    placed = [(grid, places) for grid, places in placed if grid.presence == "required" or (places >= 0).any()]
    firm = [(grid, places) for grid, places in placed if grid.presence != "if complete"]
    if not any(len(grid.table) for grid, _ in firm):
        return None
    seeds, is_wanted = _wanted_seeds(points, firm, needs)
    found = _select_grids(rows, points, needs, placed, seeds, is_wanted)
    incomplete = {grid.name: grid for grid in found.grids if grid.presence == "if complete" and grid.lost}
    if not incomplete:
        return found
    counts = {name: int(grid.wanted.sum()) for name, grid in incomplete.items()}
    left_out = tuple(
        f"left out: {name}, of which the store holds {count - len(incomplete[name].lost)} of {count} cells"
        for name, count in counts.items()
    )
    complete = [(grid, places) for grid, places in placed if grid.name not in incomplete]
    return _select_grids(rows, points, needs, complete, seeds, is_wanted, left_out)


def _select_grids(
    rows: Rows,
    points: Points,
    needs: Needs,
    placed: Sequence[tuple[Grid, Places]],
    seeds: Seeds,
    is_wanted: npt.NDArray[np.bool_],
    left_out: tuple[str, ...] = (),
) -> Selection:
    """The rows of these grids. The places are those of the points."""
    inside = np.logical_or.reduce([places >= 0 for _, places in placed])[points.of_rows] & is_wanted
    known = declared(needs.trainable, sorted({grid.quantizer for grid, _ in placed}))
    frame = needs.narrow(points.rows, [*known.axes, *(axis for grid, _ in placed for axis in grid.axes)])
    frame = plain(frame if inside.all() else frame[inside]).reset_index(drop=True)
    of_rows = points.of_rows[inside]
    return Selection(
        needs=needs, declared=known, placed=[(grid, places[of_rows]) for grid, places in placed], rows=frame,
        seeds=seeds, left_out=left_out, curves_and_artifacts=load_curves_and_artifacts(rows, frame, needs),
        levels=rows.levels,
    )  # fmt: skip


def _wanted_seeds(
    points: Points, placed: Sequence[tuple[Grid, Places]], needs: Needs
) -> tuple[Seeds, npt.NDArray[np.bool_]]:
    """All seeds that any point with the same values of `seeds_by` has; the lowest where one is enough.

    And which rows have one of them: no mean is of a repetition that other points need not have.
    """
    seed_of_rows, seeds = pd.factorize(points.rows["seed"].to_numpy(np.int64), sort=True)
    groups, group_of_heads = groups_of(points.heads, needs.seeds_by)
    group_of_rows = group_of_heads[points.of_rows]
    is_held = np.zeros((len(groups), len(seeds)), bool)
    for _, places in placed:
        inside = (places >= 0)[points.of_rows]
        is_held[group_of_rows[inside], seed_of_rows[inside]] = True
    if needs.lowest_seed_only:
        is_held &= np.cumsum(is_held, axis=1) == 1
    found = {group: tuple(seeds[its].tolist()) for group, its in zip(groups, is_held, strict=True)}
    wanted = {group for grid, _ in placed for group in groups_of(grid.table, needs.seeds_by)[0]}
    return {group: found.get(group, ()) for group in sorted(wanted)}, is_held[group_of_rows, seed_of_rows]


def distinct_text(frame: pd.DataFrame, column: str) -> tuple[str, ...]:
    """The values that a column holds, as people write them; none for a column that is not there."""
    return tuple(number(value) for value in sorted(frame[column].dropna().unique())) if column in frame else ()
