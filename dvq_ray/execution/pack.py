"""Running the cells of a pack: each becomes a row in the store, whatever happens to it.

This is all that a worker does, with Ray or without. It knows no Ray.
"""

from __future__ import annotations

import warnings
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from dvq_ray.execution.computed import computed
from dvq_ray.execution.exception_text import clean, describe
from dvq_ray.execution.measured import Measured
from dvq_ray.experiment.experiment import Outcome, Underway
from dvq_ray.experiment.surroundings import Surroundings
from dvq_ray.models.files import KeptModel
from dvq_ray.store import FINISHED, STUDY, SUGGESTION, Status, Store
from dvq_ray.store.columns import DURATION, check_fits
from dvq_ray.store.commits import Commits
from dvq_ray.store.provenance import MACHINE_COLUMNS, Run, machine_columns, versions
from dvq_ray.sweep.cells import Cell, Pack, Point, SuggestedAs

Written = tuple[dict[str, Any], Sequence[Mapping[str, Any]]]
"""A row and its curve."""

RESUMABLE: tuple[str, ...] = ("out_of_memory", "error")
"""Statuses of cells that keep their checkpoint: tried again elsewhere, they may finish."""


@dataclass(frozen=True, kw_only=True)
class Advance:
    """Work done on a cell since the last one of these."""

    cell_id: str
    nominal_seconds: float
    """What the work stood for."""
    status: str | None = None
    """That of the row, now that it is in the store; None while the cell is being computed."""
    logged: Sequence[Mapping[str, Any]] = ()
    """The curve so far of a cell that is being computed, where its experiment reports it."""
    value: float | None = None
    """The experiment's main metric, as far as it is known."""

    @property
    def values(self) -> Sequence[Measured]:
        """The value with its cell, where there is one."""
        return [] if self.value is None else [Measured(self.value, self.cell_id)]

    @property
    def done(self) -> bool:
        """Whether the cell finished."""
        return self.status in FINISHED

    @property
    def failed(self) -> bool:
        """Whether it failed."""
        return self.status is not None and not self.done


class _StoredFiles:
    """What a cell keeps, in the store."""

    def __init__(self, store: Store, cell: Cell) -> None:
        self._store = store
        self._cell = cell
        self._cell_id = cell.cell_id

    def read_checkpoint(self) -> bytes | None:
        return self._store.read_checkpoint(self._cell_id)

    def write_checkpoint(self, content: bytes) -> None:
        self._store.write_checkpoint(self._cell_id, content)

    def reject_checkpoint(self, reason: str) -> None:
        aside = self._store.reject_checkpoint(self._cell_id)
        warnings.warn(f"{aside}: no checkpoint to resume from ({reason}); the cell starts over", stacklevel=2)

    def write_artifact(self, name: str, content: bytes) -> None:
        self._store.write_artifact(self._cell_id, name, content)

    def write_model(self, parts: Mapping[str, Any], arrays: Mapping[str, Any], data_digest: str) -> None:
        cell, point = self._cell, self._cell.point
        kept = KeptModel(
            cell_id=cell.cell_id, experiment=point.experiment.name, revision=point.experiment.revision,
            settings=point.settings.model_dump(mode="json"), seed=cell.seed, data_digest=data_digest, parts=parts,
            arrays=arrays,
            versions={**versions(), **{each.name: each.version for each in point.providers()}},
        )  # fmt: skip
        for name, content in kept.files().items():
            self.write_artifact(name, content)


def run_pack(pack: Pack, store: Store, run: Run, surroundings: Surroundings) -> Generator[Advance]:
    """Computes the cells of a pack one after the other and commits them, those of a second together.

    An interruption at any moment loses the cell in hand, back to its last checkpoint, and nothing else; a kill loses
    the cells of the last second too. Cells that this run has committed before (the worker died and the pack came back)
    are not computed again. Where an experiment computes all repetitions of a point in one batch on a GPU, they are done
    together.
    """
    with Commits(store, pack.cells[0].point.experiment) as commits:
        yield from _advances(pack, store, run, surroundings, commits)


def _advances(pack: Pack, store: Store, run: Run, surroundings: Surroundings, commits: Commits) -> Generator[Advance]:
    written = store.written_by_run(run.run_id, [cell.cell_id for cell in pack.cells])
    for point, cells in pack.by_point():
        for cell in cells:
            if cell.cell_id in written:
                yield Advance(
                    cell_id=cell.cell_id, status=written[cell.cell_id], nominal_seconds=cell.nominal_seconds()
                )
        left = [cell for cell in cells if cell.cell_id not in written]
        files = {cell.seed: _StoredFiles(store, cell) for cell in left}
        reported = dict.fromkeys((cell.cell_id for cell in left), 0.0)
        events = _rows(point, left, run, replace(surroundings, files=files))
        if surroundings.tensorboard:
            from dvq_ray.execution.tensorboard import followed  # takes seconds to import, and few ask for it

            events = followed(events, left, store, surroundings.checkpoint_seconds)
        with closing(events) as rows:
            for cell, event in rows:
                if isinstance(event, Underway):
                    commits.commit()
                    share = max(event.share, reported[cell.cell_id])
                    new, reported[cell.cell_id] = share - reported[cell.cell_id], share
                    seconds = new * cell.nominal_seconds()
                    value = point.experiment.main_value_so_far(event.logged)
                    yield Advance(cell_id=cell.cell_id, nominal_seconds=seconds, logged=event.logged, value=value)
                    continue
                row = _commit(commits, cell, run, pack.suggested, event)
                if reported[cell.cell_id] and row["status"] not in RESUMABLE:
                    commits.commit()
                    store.drop_checkpoint(cell.cell_id)
                rest = (1 - reported[cell.cell_id]) * cell.nominal_seconds()
                value = point.experiment.main_value(row)
                yield Advance(cell_id=cell.cell_id, status=row["status"], nominal_seconds=rest, value=value)


def run_cell(cell: Cell, run: Run, surroundings: Surroundings) -> Written:
    """One cell's row and curve, written nowhere."""
    events = (event for _, event in _rows(cell.point, [cell], run, surroundings))
    return next(event for event in events if not isinstance(event, Underway))


def failed_row(cell: Cell, run: Run, status: Status, error: str) -> dict[str, Any]:
    """The row of a cell whose worker could not write one itself."""
    return {
        **_identity(cell, run),
        "status": status,
        "error": clean(error),
        "run_started_at": datetime.now(UTC),
    }


def _rows(
    point: Point, cells: Sequence[Cell], run: Run, surroundings: Surroundings
) -> Generator[tuple[Cell, Written | Underway]]:
    """A row and a curve for each cell, in order. No exception of a computation leaves here, but for the store's."""
    device = surroundings.device
    together = device != "cpu" and point.experiment.batches_on_gpu
    batches = [list(cells)] if together and cells else [[cell] for cell in cells]
    while batches:
        batch = batches.pop(0)
        left = list(batch)
        started_at = datetime.now(UTC)
        with closing(computed(point, [cell.seed for cell in batch], surroundings)) as events:
            for event in events:
                if isinstance(event, Underway):
                    yield left[0], event
                elif isinstance(event, Outcome):
                    cell = left.pop(0)
                    yield cell, (_row(cell, run, device, started_at, event), event.curve)
                    started_at = datetime.now(UTC)
                elif len(left) > 1:  # one repetition of a batch failed: find out which, on its own
                    batches = [[cell] for cell in left] + batches
                else:
                    row = failed_row(left[0], run, event.status, event.error)
                    yield left[0], ({**row, **_machine(left[0], device), "run_started_at": started_at}, ())


def _row(cell: Cell, run: Run, device: str, started_at: datetime, outcome: Outcome) -> dict[str, Any]:
    row = {**_identity(cell, run), **_machine(cell, device), "run_started_at": started_at, "status": "ok"}
    if outcome.diverged_at_step is not None:
        error = f"the loss is not finite at step {outcome.diverged_at_step}"
        return {**row, "status": "diverged", "error": error}
    seconds = outcome.duration_seconds
    if seconds is None:
        seconds = (datetime.now(UTC) - started_at).total_seconds()
    return {**row, **outcome.metrics, DURATION: seconds}


def _machine(cell: Cell, device: str) -> dict[str, str]:
    return machine_columns(device, {each.name: each.version for each in cell.point.providers()})


def _commit(
    commits: Commits, cell: Cell, run: Run, suggested: SuggestedAs | None, written: Written
) -> Mapping[str, Any]:
    """Hands in a row and its curve, or if values do not fit their columns, a row that says so. Returns the row."""
    row, curve = written
    row = {**row, **_search_columns(suggested, row)}
    try:
        check_fits(cell.point.experiment, row, curve)
    except Exception as error:  # Arrow's, and Python's where a number is too large for it
        failed = failed_row(cell, run, "error", f"a result does not fit its column: {describe(error)}")
        kept = {name: row.get(name) for name in ("run_started_at", *MACHINE_COLUMNS)}
        row, curve = {**failed, **kept, **_search_columns(suggested, failed)}, ()
    commits.add(row, curve)
    return row


def _search_columns(suggested: SuggestedAs | None, row: Mapping[str, Any]) -> dict[str, Any]:
    if suggested is None:
        return {}
    its_own = {SUGGESTION: suggested.number, STUDY: suggested.study}
    return {**its_own, "search_objective": row.get(suggested.objective)}


def _identity(cell: Cell, run: Run) -> dict[str, Any]:
    experiment = cell.point.experiment
    return {
        "cell_id": cell.cell_id,
        "point_id": cell.point.point_id,
        "sweep": run.sweep,
        "trainable": experiment.name,
        "revision": experiment.revision,
        **cell.point.settings.columns(),
        "seed": cell.seed,
        "run_id": run.run_id,
        "run_commit": run.commit,
    }
