"""Wanted cells minus stored cells: what a sweep has, what is missing, and how long that will take."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from dvq_ray.store import FINISHED, Store
from dvq_ray.sweep.cells import Cell, expand, run_order
from dvq_ray.sweep.pace import Estimate, estimate, seconds_per_nominal
from dvq_ray.sweep.spec import SweepSpec


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
    ids_by_grid: Mapping[str, Sequence[str]]
    seconds_per_nominal: Mapping[str, float]
    """Measured seconds over nominal seconds, by quantizer: the median of the wanted cells that are done."""

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
        """The same cells after a run: what it was to run has a row and a curve, or is missing."""
        without_curve = store.missing_curves() & {cell.cell_id for cell in self.to_run}
        statuses = {cell: status for cell, status in store.statuses().items() if cell not in without_curve}
        return replace(self, statuses=statuses)

    def estimate(self) -> Estimate:
        """How long the cells to run will take, one at a time."""
        return estimate(self.to_run, self.seconds_per_nominal, self.spec.resources)


def make_plan(spec: SweepSpec, store: Store, *, retry_failed: bool) -> Plan:
    """Plans what to run: cells that the store does not hold, and the failed ones where they are requested."""
    rows = store.load(columns=list(COLUMNS))
    return plan_of(spec, rows, retry_failed=retry_failed, missing_curves=store.missing_curves())


COLUMNS = ("cell_id", "status", "duration_seconds")
"""What a plan needs of each row."""


def plan_of(
    spec: SweepSpec, rows: pd.DataFrame, *, retry_failed: bool = False, missing_curves: Collection[str] = ()
) -> Plan:
    """Plans from all rows of a store with `COLUMNS`; those of cells whose curve is missing do not count."""
    cells, ids_by_grid = expand(spec)
    statuses = dict(zip(rows["cell_id"], rows["status"].astype(object), strict=True))
    statuses = {cell_id: status for cell_id, status in statuses.items() if cell_id not in missing_curves}
    wanted = {cell.cell_id for cell in cells}
    together = bool(spec.resources.gpu) and spec.experiment.batches_on_gpu
    to_run = [
        cell
        for cell in run_order(cells, together=together)
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
        seconds_per_nominal=seconds_per_nominal(cells, rows) if statuses and to_run else {},
    )
