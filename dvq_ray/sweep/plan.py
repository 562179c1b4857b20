"""Wanted cells minus stored cells: what a sweep has, what is missing, and how long that will take."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from dvq_ray.store import FINISHED, STOPPED, OutOfReachError, Store, StoreError
from dvq_ray.sweep.cells import Cell, Point, points_of, run_order
from dvq_ray.sweep.grids import Grid
from dvq_ray.sweep.looks import Looks
from dvq_ray.sweep.pace import Estimate, estimate, seconds_per_nominal
from dvq_ray.sweep.questions import Questions
from dvq_ray.sweep.spec import SweepSpec
from dvq_ray.sweep.until import metrics_of_rules
from dvq_ray.sweep.wanted import Places, WantedCells

SAMPLED = 20_000
"""Durations that are looked at; of more, evenly spaced ones."""


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Cells by their state in the store."""

    done: int
    failed: int
    missing: int


@dataclass(frozen=True, kw_only=True)
class GridCount(Counts):
    """Cells of one grid by their state in the store."""

    name: str


@dataclass(frozen=True, kw_only=True)
class States:
    """What became of the wanted cells."""

    statuses: Sequence[str]
    """Those that there are."""
    of_cells: npt.NDArray[np.int64]
    """For each wanted cell, the place of its status; -1 where the store does not hold it."""

    @staticmethod
    def of_rows(rows: pd.DataFrame, places: Places, count: int) -> States:
        """From the rows of a store and the places of their cells among so many."""
        codes, statuses = pd.factorize(rows["status"])
        of_cells = np.full(count, -1, np.int64)
        of_cells[places[places >= 0]] = codes[places >= 0]
        return States(statuses=[str(status) for status in statuses], of_cells=of_cells)

    def counts(self, places: Places | None = None) -> Counts:
        """Of all cells, or of some."""
        by_status = Counter({status: count for status, count in self._counted(places) if status not in FINISHED})
        total = len(self.of_cells if places is None else places)
        failed, missing = by_status.total() - by_status[""], by_status[""]
        return Counts(done=total - failed - missing, failed=failed, missing=missing)

    def failures(self) -> Counter[str]:
        """How many cells have each status other than a finished one."""
        return Counter({status: count for status, count in self._counted() if status and status not in FINISHED})

    def to_run(self, *, retry_failed: bool) -> Places:
        """Places of cells that are missing, and of those that failed where they are to be tried again."""
        runs = [status not in FINISHED and retry_failed for status in self.statuses]
        return np.flatnonzero(np.array([*runs, True])[self.of_cells])

    def _counted(self, places: Places | None = None) -> Iterator[tuple[str, int]]:
        """Cells by status, which is empty where there is none."""
        some = self.of_cells if places is None else self.of_cells[places]
        counts = np.bincount(some + 1, minlength=len(self.statuses) + 1).tolist()
        yield from ((status, count) for status, count in zip(["", *self.statuses], counts, strict=True) if count)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A sweep held against its store."""

    spec: SweepSpec
    cells: WantedCells
    """All wanted cells, each once."""
    states: States
    """Of these."""
    to_run: Sequence[Cell]
    """Cells in the order in which they are run."""
    unwanted: int
    """Stored cells that the sweep file names no longer. They are kept."""
    without_curve: int
    """Cells among those to run that are done, but for their curve, which is missing."""
    without_kept: int = 0
    """Cells among those to run that are done, but for files that the sweep file wants them to keep."""
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
        by_grid = self.cells.by_grid()
        return [GridCount(name=name, **vars(self.states.counts(places))) for name, places in by_grid.items()]

    def counts(self) -> Counts:
        """The state of all cells; one that several grids name counts once."""
        return self.states.counts()

    def held_against(self, store: Store) -> Plan:
        """The plan after a run: what it was to run has a row and a curve, or is missing."""
        if self.looks:
            return make_plan(self.spec, store, retry_failed=False)
        ours = {cell.cell_id for cell in self.to_run}
        incomplete = (store.missing_curves() | missing_kept(self.spec, store)) & ours
        rows = _complete(load_rows(self.spec, store), incomplete)
        return replace(self, states=States.of_rows(rows, self.cells.find(rows), len(self.cells)))

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
    more = metrics_of_rules(rules, spec.experiment) if rules else ()
    return ["cell_id", "point_id", "seed", "status", "duration_seconds", *more]


def load_rows(spec: SweepSpec, store: Store, columns: Collection[str] = (), **options: Any) -> pd.DataFrame:
    """The rows of a store with `columns_of` the sweep, and with `columns`; in any order, unless rules read numbers."""
    names = [*dict.fromkeys([*columns, *columns_of(spec)])]
    has_rules = bool(spec.rules())  # a sum of numbers depends on their order
    try:
        return store.load(names, sort=has_rules, **options)
    except OutOfReachError:
        raise
    except StoreError:  # perhaps of a metric that no file has, in a store of another trainable
        if not has_rules:
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
    points = points_of(spec)
    every, rows = rows, _complete(rows, {*missing_curves, *without_kept})
    questions, looks = None, None
    if spec.rules():
        questions = Questions(points)
        looks = questions.look(rows)
    cells = WantedCells(points, looks.seeds if looks else lambda grid, point: grid.seeds)
    places = cells.find(rows)
    states = States.of_rows(rows, places, len(cells))
    runs = states.to_run(retry_failed=retry_failed)

    def count(cell_ids: Collection[str]) -> int:
        return int((cells.find(every[every["cell_id"].isin(cell_ids)]) >= 0).sum()) if cell_ids else 0

    return Plan(
        spec=spec,
        cells=cells,
        states=states,
        to_run=run_order(cells.at(runs), together=spec.batches(), repetitions=cells.repetitions(runs)),
        unwanted=int((places < 0).sum()),
        without_curve=count(missing_curves),
        without_kept=count(without_kept),
        seconds_per_nominal=seconds_per_nominal(_timed(cells, rows, places)) if runs.size else {},
        questions=questions,
        looks=looks,
        cells_at_most=_cells_at_most(points) if looks else len(cells),
    )  # fmt: skip


def _complete(rows: pd.DataFrame, incomplete: Collection[str]) -> pd.DataFrame:
    """The rows that count: none of a cell that a search stopped early, or that something is missing of."""
    counts = rows["status"] != STOPPED
    if incomplete:
        counts &= ~rows["cell_id"].isin(incomplete)
    return rows if counts.all() else rows[counts]


def _timed(cells: WantedCells, rows: pd.DataFrame, places: Places) -> Iterator[tuple[Point, float]]:
    """Points, each with the seconds that one of its cells took."""
    seconds = rows["duration_seconds"].to_numpy(np.float64, na_value=np.nan)
    some = np.flatnonzero((places >= 0) & ~np.isnan(seconds))
    some = some[:: max(len(some) // SAMPLED, 1)]
    yield from zip(cells.points(places[some]), seconds[some].tolist(), strict=True)


def _cells_at_most(points: Iterable[tuple[Grid, Point]]) -> int:
    seeds: dict[str, set[Sequence[int]]] = {}
    for grid, point in points:
        seeds.setdefault(point.point_id, set()).add(grid.most_seeds())
    return sum(len({*itertools.chain(*several)}) if len(several) > 1 else len(*several) for several in seeds.values())
