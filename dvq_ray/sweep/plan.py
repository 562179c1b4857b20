"""Wanted cells minus stored cells: what a sweep has, what is missing, and how long that will take."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from dvq_ray.store import FINISHED, STOPPED, OutOfReachError, Store, StoreError
from dvq_ray.sweep.cells import Cell, Point, cells_of, points_of, run_order
from dvq_ray.sweep.grids import Grid
from dvq_ray.sweep.looks import Looks
from dvq_ray.sweep.pace import Estimate, estimate, seconds_per_nominal
from dvq_ray.sweep.questions import Questions
from dvq_ray.sweep.spec import SweepSpec
from dvq_ray.sweep.until import metrics_of_rules


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Cells by their state in the store."""

    done: int
    failed: int
    missing: int

    @staticmethod
    def of(cell_ids: Iterable[str], statuses: Mapping[str, str]) -> Counts:
        """Counts each cell once."""
        states = [statuses.get(cell_id) for cell_id in dict.fromkeys(cell_ids)]
        done = sum(state in FINISHED for state in states)
        missing = sum(state is None for state in states)
        return Counts(done=done, failed=len(states) - done - missing, missing=missing)


@dataclass(frozen=True, kw_only=True)
class GridCount(Counts):
    """Cells of one grid by their state in the store."""

    name: str


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A sweep held against its store."""

    spec: SweepSpec
    cells: Sequence[Cell]
    """All wanted cells, each once."""
    statuses: Mapping[str, str]
    """Status of every stored cell, wanted or not."""
    to_run: Sequence[Cell]
    """Cells in the order in which they are run."""
    unwanted: int
    """Stored cells that the sweep file names no longer. They are kept."""
    without_curve: int
    """Cells among those to run that are done, but for their curve, which is missing."""
    without_kept: int = 0
    """Cells among those to run that are done, but for files that the sweep file wants them to keep."""
    ids_by_grid: Mapping[str, Sequence[str]]
    seconds_per_nominal: Mapping[str, float]
    """Measured seconds over nominal seconds, by quantizer: the median of the wanted cells that are done."""
    questions: Questions | None = None
    """What rules ask of repetitions that are added until they suffice; None where the file names all repetitions."""
    looks: Looks | None = None
    """Where these questions stand. The wanted cells are those that they need now; more may follow."""
    cells_at_most: int
    """Wanted cells, had every point all repetitions that the file allows."""

    def grids(self) -> list[GridCount]:
        """The state of each grid, in the order of the file."""
        return [GridCount(name=name, **vars(Counts.of(ids, self.statuses))) for name, ids in self.ids_by_grid.items()]

    def counts(self) -> Counts:
        """The state of all cells; one that several grids name counts once."""
        return Counts.of((cell.cell_id for cell in self.cells), self.statuses)

    def failures(self) -> Counter[str]:
        """How many cells have each status other than a finished one."""
        statuses = (self.statuses.get(cell.cell_id) for cell in self.cells)
        return Counter(status for status in statuses if status is not None and status not in FINISHED)

    def held_against(self, store: Store) -> Plan:
        """The plan after a run: what it was to run has a row and a curve, or is missing."""
        if self.looks:
            return make_plan(self.spec, store, retry_failed=False)
        ours = {cell.cell_id for cell in self.to_run}
        incomplete = (store.missing_curves() | missing_kept(self.spec, store)) & ours
        statuses = {
            cell: status for cell, status in store.statuses().items() if status != STOPPED and cell not in incomplete
        }
        return replace(self, statuses=statuses)

    def looks_in_words(self) -> list[str]:
        """What was decided, and what that saves, where repetitions are added until they suffice."""
        if self.looks is None:
            return []
        needed, at_most = len(self.cells), self.cells_at_most
        if any(look.is_open for look in self.looks.looks):
            cells = f"{needed:,} needed so far, at most {at_most:,}"
        else:
            cells = f"{needed:,} of at most {at_most:,} needed, {at_most - needed:,} saved"
        return [*self.looks.in_words(), f"cells: {cells}"]

    def estimate(self) -> Estimate:
        """How long the cells to run will take, one at a time."""
        return estimate(self.to_run, self.seconds_per_nominal, self.spec.resources)


def make_plan(spec: SweepSpec, store: Store, *, retry_failed: bool) -> Plan:
    """Plans what to run: cells that the store does not hold, and the failed ones where they are requested."""
    rows = load_rows(spec, store)
    return plan_of(
        spec, rows, retry_failed=retry_failed, missing_curves=store.missing_curves(),
        without_kept=missing_kept(spec, store),
    )  # fmt: skip


def missing_kept(spec: SweepSpec, store: Store) -> set[str]:
    """Cells of a store that are done, and have not kept all files that the sweep file wants them to keep."""
    return store.missing_artifacts(spec.experiment.files_of(spec.keep))


def columns_of(spec: SweepSpec) -> list[str]:
    """What a plan needs of each row."""
    rules = spec.rules()
    more = ("point_id", "seed", *metrics_of_rules(rules, spec.experiment)) if rules else ()
    return ["cell_id", "status", "duration_seconds", *more]


def load_rows(spec: SweepSpec, store: Store, columns: Collection[str] = (), **options: Any) -> pd.DataFrame:
    """The rows of a store with `columns_of` the sweep, and with `columns`."""
    names = [*dict.fromkeys([*columns, *columns_of(spec)])]
    try:
        return store.load(names, **options)
    except OutOfReachError:
        raise
    except StoreError:  # perhaps of a metric that no file has, in a store of another trainable
        if not spec.rules():
            raise
        return store.load(**options).reindex(columns=names)


def plan_of(
    spec: SweepSpec, rows: pd.DataFrame, *, retry_failed: bool = False, missing_curves: Collection[str] = (),
    without_kept: Collection[str] = (),
) -> Plan:  # fmt: skip
    """Plans from all rows of a store with `columns_of` it.

    Rows of cells whose curve is missing do not count, nor those of cells that did not keep what the sweep file wants,
    nor those of cells that a search stopped early.
    """
    incomplete = {*missing_curves, *without_kept}
    rows = rows[rows["status"] != STOPPED]
    points = points_of(spec)
    questions, looks = None, None
    if spec.rules():
        questions = Questions(points)
        looks = questions.look(rows[~rows["cell_id"].isin(incomplete)] if incomplete else rows)
    cells, ids_by_grid = cells_of(points, looks.seeds if looks else lambda grid, point: grid.seeds)
    statuses = dict(zip(rows["cell_id"], rows["status"].astype(object), strict=True))
    statuses = {cell_id: status for cell_id, status in statuses.items() if cell_id not in incomplete}
    wanted = {cell.cell_id for cell in cells}
    to_run = [
        cell
        for cell in run_order(cells, together=spec.batches())
        if cell.cell_id not in statuses or (retry_failed and statuses[cell.cell_id] not in FINISHED)
    ]
    return Plan(
        spec=spec,
        cells=cells,
        statuses=statuses,
        to_run=to_run,
        ids_by_grid=ids_by_grid,
        unwanted=len(statuses.keys() - wanted),
        without_curve=len(wanted & {*missing_curves}),
        without_kept=len(wanted & {*without_kept}),
        seconds_per_nominal=seconds_per_nominal(cells, rows) if statuses and to_run else {},
        questions=questions,
        looks=looks,
        cells_at_most=_cells_at_most(points) if looks else len(cells),
    )


def _cells_at_most(points: Iterable[tuple[Grid, Point]]) -> int:
    seeds: dict[str, set[Sequence[int]]] = {}
    for grid, point in points:
        seeds.setdefault(point.point_id, set()).add(grid.most_seeds())
    return sum(len({*itertools.chain(*several)}) if len(several) > 1 else len(*several) for several in seeds.values())
