"""The packs of a sweep whose repetitions are added until they suffice.

Further repetitions of a point follow as soon as a look at it, or at one of its pairs, is complete and did not decide.
Nothing waits for the looks of other points, so no core is idle while there is something to compute. All state is in the
store: looks are taken of its rows, whoever wrote them, and a run that resumes takes them again.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dvq_ray.execution.executor import Death, PackSource
from dvq_ray.execution.grid_packs import GridPacks
from dvq_ray.execution.job import Job
from dvq_ray.execution.measured import Measured
from dvq_ray.store import FINISHED, STOPPED
from dvq_ray.sweep.cells import Cell, Pack, pack_cells, run_order
from dvq_ray.sweep.looks import Looks
from dvq_ray.sweep.plan import Plan, load_rows
from dvq_ray.sweep.questions import Questions

SHARE_OF_TIME = 0.1
"""Of the driver's time that reading the store may take, while something runs: it takes longer as files grow many."""


def packs_of(plan: Plan, job: Job, slots: int) -> PackSource:
    """The packs of a plan, for so many that run at once."""
    if plan.questions and plan.looks:
        return SequentialPacks(plan, plan.questions, plan.looks, job, slots)
    return GridPacks(pack_cells(plan.to_run, slots), job)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Batch:
    """Cells that were added together."""

    packs: GridPacks
    cells: Sequence[Cell]


class SequentialPacks:
    """Hands out the cells of a plan, then those that its questions turn out to need.

    Each time there are new cells, they are packs of a `GridPacks` of their own, which gives second chances to those
    whose worker died.
    """

    learns = False  # what is handed out is needed, whatever the results of the rest are

    def __init__(self, plan: Plan, questions: Questions, looks: Looks, job: Job, slots: int) -> None:
        self._spec, self._questions, self._looks = plan.spec, questions, looks
        self._note = looks.in_short()
        self._known: Looks | None = None
        """What is not looked at again. The plan's looks are, because this run may replace rows that had failed."""
        self._job = job
        self._slots = slots
        self._batches: list[_Batch] = []
        """Those that have not ended."""
        self._batch_of: dict[str, _Batch] = {}
        """By cell."""
        self._requested: set[str] = set()
        """Cells of this run; none is requested twice."""
        self._left: dict[str, set[str]] = {}
        """Cells that have not ended, by point."""
        self._has_news = False
        """Whether a point may have come to its next look since the store was read."""
        self._quiet_until = 0.0
        self._add(plan.to_run)
        self._show()

    @property
    def finished(self) -> bool:
        """Whether all packs have ended, and no question needs more."""
        return not self._batches

    def next(self) -> Pack | None:
        """The next pack; None while those that are underway may lead to others, and after the last one."""
        pack = self._next_of_batches()
        if pack is None and self._has_news and time.monotonic() >= self._quiet_until:
            self._look()
            pack = self._next_of_batches()
        return pack

    def counted(self, done: int, failed: int, nominal_seconds: float, values: Sequence[Measured]) -> None:
        """Shows it."""
        self._job.progress.advance(done, failed, nominal_seconds)
        for value in values:
            self._job.progress.measured(*value)
        self._show()

    def stops(self, pack: Pack, logged: Sequence[Mapping[str, Any]]) -> bool:
        """Never: each pack runs to its end."""
        return False

    def ended(
        self, pack: Pack, *, death: Death | None = None, stopped: Sequence[Mapping[str, Any]] | None = None
    ) -> None:
        """After the last pack that was underway, further ones are looked for at once."""
        batch = self._batch_of[pack.cells[0].cell_id]
        batch.packs.ended(pack, death=death)
        if death is None:
            self._close(pack.cells)
        if batch.packs.finished:
            self._batches.remove(batch)
            self._close(batch.cells)
            for cell in batch.cells:
                del self._batch_of[cell.cell_id]
        if not self._batches and not self._job.ending:
            self._look()

    def _close(self, cells: Iterable[Cell]) -> None:
        """Takes note that nothing computes these cells any more."""
        for cell in cells:
            left = self._left[cell.point.point_id]
            left.discard(cell.cell_id)
            self._has_news |= not left

    def _next_of_batches(self) -> Pack | None:
        packs = (batch.packs.next() for batch in self._batches)
        return next((pack for pack in packs if pack is not None), None)

    def _look(self) -> None:
        """Takes the looks that the rows in the store allow, and adds what these need."""
        began = time.monotonic()
        self._has_news = False
        rows = load_rows(self._spec, self._job.store)
        rows = rows[rows["status"] != STOPPED]
        # A row that failed may be about to be replaced, where its cell is tried again.
        is_open = rows["cell_id"].isin(self._batch_of.keys()) & ~rows["status"].isin(FINISHED)
        before, self._looks = self._looks, self._questions.look(rows[~is_open], self._known)
        self._known, self._note = self._looks, self._looks.in_short()
        present = {*rows["cell_id"]} | self._requested
        cells = {cell.cell_id: cell for cell in self._looks.cells_since(before)}
        fresh = [cell for cell_id, cell in cells.items() if cell_id not in present]
        self._job.progress.expect_more(len(fresh), sum(cell.nominal_seconds() for cell in fresh))
        self._add(run_order(fresh, together=self._spec.batches()))
        self._job.store.write_looks(self._looks.rows())
        self._show()
        ended = time.monotonic()
        self._quiet_until = ended + (ended - began) * (1 - SHARE_OF_TIME) / SHARE_OF_TIME

    def _add(self, cells: Sequence[Cell]) -> None:
        if cells:
            batch = _Batch(packs=GridPacks(pack_cells(cells, self._slots), self._job), cells=cells)
            self._batches.append(batch)
            for cell in cells:
                self._batch_of[cell.cell_id] = batch
                self._requested.add(cell.cell_id)
                self._left.setdefault(cell.point.point_id, set()).add(cell.cell_id)

    def _show(self) -> None:
        self._job.progress.note = self._note
