"""Running the cells of a pack: each becomes a row in the store, whatever happens to it.

This is all that a worker does, with Ray or without. It knows no Ray.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from dvq_ray.cells import Cell, Pack, Point
from dvq_ray.experiments import Outcome
from dvq_ray.provenance import Run, machine_columns
from dvq_ray.store import Status, Store

LONGEST_ERROR = 10_000
"""Characters of an exception and its traceback that a row keeps."""


@dataclass(frozen=True, kw_only=True)
class CellDone:
    """A cell whose row is in the store."""

    cell_id: str
    status: str
    nominal_seconds: float


def run_pack(pack: Pack, store: Store, run: Run, device: str) -> Iterator[CellDone]:
    """Computes the cells of a pack one after the other and commits each as it is done.

    An interruption at any moment loses the cell in hand and nothing else. Cells that this run has committed before
    (the worker died and the pack came back) are not computed again. On a GPU all repetitions of a point are computed
    in one batch, so there they are done together.
    """
    written = store.written_by_run(run.run_id, [cell.cell_id for cell in pack.cells])
    committed = []
    for point, cells in pack.by_point():
        for cell in cells:
            if cell.cell_id in written:
                yield CellDone(
                    cell_id=cell.cell_id, status=written[cell.cell_id], nominal_seconds=cell.nominal_seconds()
                )
        left = [cell for cell in cells if cell.cell_id not in written]
        for row, curve in _rows(point, left, run, device):
            store.write_cell(point.experiment, row, curve)
            committed.append((row, curve))
            yield CellDone(
                cell_id=row["cell_id"], status=row["status"], nominal_seconds=point.settings.nominal_seconds()
            )
    if committed:
        store.gather(pack.cells[0].point.experiment, committed)


def run_cell(cell: Cell, run: Run, device: str) -> tuple[dict[str, Any], Sequence[Mapping[str, Any]]]:
    """One cell's row and curve, written nowhere."""
    return next(_rows(cell.point, [cell], run, device))


def failed_row(cell: Cell, run: Run, status: Status, error: str) -> dict[str, Any]:
    """The row of a cell whose worker could not write one itself."""
    return {
        **_identity(cell, run),
        "status": status,
        "error": error[:LONGEST_ERROR],
        "run_started_at": datetime.now(UTC),
    }


def _rows(
    point: Point, cells: Sequence[Cell], run: Run, device: str
) -> Iterator[tuple[dict[str, Any], Sequence[Mapping[str, Any]]]]:
    """A row and a curve for each cell, in order. No exception of a computation leaves here."""
    batches = [[cell] for cell in cells] if device == "cpu" else [list(cells)]
    while batches:
        batch = batches.pop(0)
        started_at = datetime.now(UTC)
        done = 0
        try:
            compute = point.experiment.run()
            for cell, outcome in zip(
                batch, compute(point.settings, [c.seed for c in batch], device=device), strict=True
            ):
                yield _row(cell, run, device, started_at, outcome), outcome.curve
                done += 1
                started_at = datetime.now(UTC)
        except Exception as error:
            rest = batch[done:]
            if len(rest) > 1:  # one repetition of a batch failed: find out which, on its own
                batches = [[cell] for cell in rest] + batches
                continue
            text = "".join(traceback.format_exception_only(error)) + traceback.format_exc()
            row = failed_row(rest[0], run, _status(error), text)
            yield {**row, **machine_columns(device), "run_started_at": started_at}, ()


def _row(cell: Cell, run: Run, device: str, started_at: datetime, outcome: Outcome) -> dict[str, Any]:
    row = {**_identity(cell, run), **machine_columns(device), "run_started_at": started_at, "status": "ok"}
    if outcome.diverged_at_step is not None:
        error = f"the loss is not finite at step {outcome.diverged_at_step}"
        return {**row, "status": "diverged", "error": error}
    return {**row, **outcome.metrics}


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


def _status(error: Exception) -> Status:
    # torch has an out-of-memory error of its own for GPUs, and a plain RuntimeError for the CPU's allocator.
    is_memory = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return "out_of_memory" if is_memory or "not enough memory" in str(error) else "error"
