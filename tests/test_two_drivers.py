"""What a driver takes for done, and what it runs again one by one, where another one works on the same store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from dvq_ray.execution.executor import Death, PackSource
from dvq_ray.execution.grid_packs import GridPacks
from dvq_ray.execution.in_process import InProcess
from dvq_ray.execution.job import Job
from dvq_ray.execution.pack import failed_row, run_pack
from dvq_ray.execution.progress import Progress
from dvq_ray.experiment.surroundings import Surroundings
from dvq_ray.process.interruption import Interruption
from dvq_ray.store import Store
from dvq_ray.store.provenance import Run
from dvq_ray.sweep.cells import Cell, expand, pack_cells
from dvq_ray.sweep.spec import parse_sweep
from tests.sweep_files import TINY

SPEC = parse_sweep(TINY, "tiny.yaml")
CELLS = expand(SPEC)[0]
OURS, OTHERS = Run.start("tiny"), Run.start("tiny")
CURVE = [{"step": 0, "test_mse": 1.0}]


class Watched(InProcess):
    """Runs packs, or not, and lets something happen before the driver looks at the store."""

    def __init__(self, meanwhile: Callable[[Sequence[Cell]], None], *, dies: bool = False) -> None:
        self.rounds: list[int] = []
        self._meanwhile = meanwhile
        self._dies = dies

    def run(self, source: PackSource, job: Job) -> None:
        while not source.finished:
            packs = [*iter(source.next, None)]
            cells = [cell for pack in packs for cell in pack.cells]
            self.rounds.append(len(cells))
            death = Death(status="error", error="its worker died", its_own=True) if self._dies else None
            for pack in () if self._dies else packs:
                for _ in run_pack(pack, job.store, job.run, job.surroundings):
                    pass
            self._meanwhile(cells)
            for pack in packs:
                source.ended(pack, death=death)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "tiny")


def drive(store: Store, executor: InProcess) -> None:
    progress = Progress(len(CELLS), 1.0, Console(quiet=True))
    job = Job(
        store=store, run=OURS, resources=SPEC.resources, surroundings=Surroundings(), progress=progress,
        interruption=Interruption(),
    )  # fmt: skip
    executor.run(GridPacks(pack_cells(CELLS, 1), job), job)


def write(store: Store, cells: Sequence[Cell], status: str, later: float, curve: Any = CURVE) -> None:
    """As another driver, whose attempts began so many minutes from now."""
    for cell in cells:
        began = datetime.now(UTC) + timedelta(minutes=later)
        row = {**failed_row(cell, OTHERS, "error", "theirs"), "status": status, "run_started_at": began}
        store.write_cell(cell.point.experiment, row, curve)


@pytest.mark.parametrize("later", [-60, 60])
@pytest.mark.parametrize("status", ["ok", "error"])
def test_cells_that_this_run_has_done_are_done_whatever_another_writes(store: Store, status: str, later: float) -> None:
    def meanwhile(cells: Sequence[Cell]) -> None:
        write(store, cells, status, later)
        Store(store.location).merge()

    executor = Watched(meanwhile)
    drive(store, executor)
    assert executor.rounds == [len(CELLS)]


def test_cells_that_only_another_run_has_done_are_done(store: Store) -> None:
    executor = Watched(lambda cells: write(store, cells, "ok", 0), dies=True)
    drive(store, executor)
    assert executor.rounds == [len(CELLS)]
    assert set(store.statuses().values()) == {"ok"}


def test_a_failed_row_of_this_run_counts_where_a_later_one_of_another_has_replaced_it(store: Store) -> None:
    def meanwhile(cells: Sequence[Cell]) -> None:
        for cell in cells:
            store.write_cell(cell.point.experiment, failed_row(cell, OURS, "error", "ours"), ())
        write(store, cells, "error", 60, ())
        store.merge()

    executor = Watched(meanwhile, dies=True)
    drive(store, executor)
    assert executor.rounds == [len(CELLS)]


def test_cells_that_failed_before_and_whose_worker_died_are_tried_one_by_one(store: Store) -> None:
    write(store, CELLS, "error", -60, ())
    executor = Watched(lambda cells: None, dies=True)
    drive(store, executor)
    assert executor.rounds == [len(CELLS)] * 2
    errors = store.load(["cell_id", "error"])["error"]
    assert set(errors) == {"its worker died"}


def test_cells_that_are_done_but_for_their_curve_are_tried_one_by_one(store: Store) -> None:
    write(store, CELLS[:1], "ok", -60)
    write(store, CELLS[1:], "ok", -60, ())
    executor = Watched(lambda cells: None, dies=True)
    drive(store, executor)
    assert executor.rounds == [len(CELLS), len(CELLS) - 1]


def test_a_rerun_in_the_same_run_is_in_a_file_of_its_own(store: Store) -> None:
    (cell, *_), folder = CELLS, Path(store.location, "cells")
    for error in ("first", "second"):
        store.write_cell(cell.point.experiment, failed_row(cell, OURS, "error", error), ())
    assert len(list(folder.iterdir())) == 2
    assert store.written_by_run(OURS.run_id, [cell.cell_id]) == {cell.cell_id: "error"}
    assert store.written_by_run(OTHERS.run_id, [cell.cell_id]) == {}
    assert list(store.load(["cell_id", "error"])["error"]) == ["second"]
