"""The packs of a sweep's grids, and second chances for cells whose worker died."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from dvq_ray.execution.executor import Death
from dvq_ray.execution.job import Job
from dvq_ray.execution.measured import Measured
from dvq_ray.execution.pack import failed_row
from dvq_ray.store import FINISHED
from dvq_ray.sweep.cells import Cell, Pack

ONE_BY_ONE = 3
"""How often cells whose worker died are tried one by one before that is their row, where they did not cause it."""


class GridPacks:
    """Hands out packs, and then, one by one, the cells that have no row because a worker died again and again.

    One by one, so that a cell that kills its worker takes no other with it.
    """

    learns = False

    def __init__(self, packs: Iterable[Pack], job: Job) -> None:
        self._job = job
        self._packs = deque(packs)
        self._cells: Sequence[Cell] = [cell for pack in self._packs for cell in pack.cells]
        """The cells of this round."""
        self._rounds = 0
        """Rounds of single cells, so far."""
        self._underway = 0
        self._deaths: dict[str, Death] = {}
        self._began = datetime.now(UTC)

    @property
    def finished(self) -> bool:
        """Whether all packs have ended."""
        return not self._packs and not self._underway

    def next(self) -> Pack | None:
        """The next pack; None while others are underway, and after the last one."""
        if not self._packs:
            return None
        self._underway += 1
        return self._packs.popleft()

    def counted(self, done: int, failed: int, nominal_seconds: float, values: Sequence[Measured]) -> None:
        """Shows it."""
        self._job.progress.advance(done, failed, nominal_seconds)
        for value in values:
            self._job.progress.measured(*value)

    def stops(self, pack: Pack, logged: Sequence[Mapping[str, Any]]) -> bool:
        """Never: each pack runs to its end."""
        return False

    def ended(
        self, pack: Pack, *, death: Death | None = None, stopped: Sequence[Mapping[str, Any]] | None = None
    ) -> None:
        """After the last pack of a round, the next one begins."""
        self._underway -= 1
        if death is not None:
            self._deaths |= {cell.cell_id: death for cell in pack.cells}
        if self.finished and not self._job.interruption.asked:
            self._end_round()

    def _end_round(self) -> None:
        self._cells = [cell for cell in self._without_row() if not self._blamed(cell)]
        self._deaths.clear()
        if self._rounds < ONE_BY_ONE and not self._job.ending:
            self._rounds += 1
            self._packs.extend(Pack(cells=[cell]) for cell in self._cells)

    def _blamed(self, cell: Cell) -> bool:
        """Whether the death of its worker is now the cell's row. A cell that ran among others is not blamed."""
        death = self._deaths.get(cell.cell_id)
        if death is None or not self._rounds or not (death.its_own or self._rounds == ONE_BY_ONE):
            return False
        self._job.store.write_cell(
            cell.point.experiment, failed_row(cell, self._job.run, death.status, death.error), ()
        )
        self._job.progress.advance(0, 1, cell.nominal_seconds())
        return True

    def _without_row(self) -> list[Cell]:
        """The cells that nobody has computed since this run began: another driver's row may stand before this one's."""
        store, run = self._job.store, self._job.run
        rows = store.load(columns=["cell_id", "status", "run_id", "run_started_at"])
        incomplete = store.missing_curves()
        if self._cells:  # all of one experiment
            wanted = self._cells[0].point.experiment.files_of(self._job.surroundings.keep)
            incomplete |= store.missing_artifacts(wanted)
        is_done = rows["status"].isin(FINISHED) & ~rows["cell_id"].isin(incomplete)
        is_tried = (rows["run_id"] == run.run_id) | (rows["run_started_at"] >= self._began)
        computed = {*rows.loc[is_done | is_tried, "cell_id"]}
        return [cell for cell in self._cells if cell.cell_id not in computed]
