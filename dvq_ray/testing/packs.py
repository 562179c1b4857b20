"""What every source of packs must do, whoever runs it."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

from dvq_ray.execution.budget import Budget
from dvq_ray.execution.executor import Death, PackSource
from dvq_ray.execution.job import Job
from dvq_ray.execution.pack import run_pack
from dvq_ray.execution.progress import Progress
from dvq_ray.experiment.surroundings import Surroundings
from dvq_ray.process.interruption import Interruption
from dvq_ray.store import FINISHED, Store
from dvq_ray.store.provenance import Run
from dvq_ray.sweep.cells import Cell, Pack
from dvq_ray.sweep.spec import Resources

SLOTS = 3
MOST_PACKS = 10_000
"""A source that hands out more has no end."""


class PackSourceContract:
    """Tests of a source of packs. Subclass it, and say how to make one."""

    def source(self, job: Job) -> PackSource:
        """The source under test, for `SLOTS` packs at once, of what the job's store does not hold.

        It must lead to ten cells or more, none of which fails.
        """
        raise NotImplementedError

    def job(self, folder: Path, budget: Budget | None = None) -> Job:
        """A run with a store in the folder."""
        return Job(
            store=Store(folder / "store"),
            run=Run.start("contract"),
            resources=Resources(),
            surroundings=Surroundings(),
            progress=Progress(1, 1.0, Console(quiet=True)),
            interruption=Interruption(),
            budget=budget or Budget(),
        )

    def drive(
        self,
        job: Job,
        *,
        dies: Callable[[Pack], Death | None] = lambda pack: None,
        which: Callable[[int], int] = lambda underway: 0,
    ) -> list[Pack]:
        """Runs all packs, up to `SLOTS` side by side, and gives them in the order in which they were handed out.

        `which` of those that are underway ends next. One that `dies` computes nothing.
        """
        source, handed, underway = self.source(job), list[Pack](), list[Pack]()
        while not job.ending and (not source.finished or underway):
            while len(underway) < SLOTS and (pack := source.next()) is not None:
                underway.append(pack)
                handed.append(pack)
                assert len(handed) <= MOST_PACKS
            assert underway, "it is not finished, and has nothing to do"
            pack = underway.pop(which(len(underway)))
            death = dies(pack)
            if death is None:
                for advance in run_pack(pack, job.store, job.run, job.surroundings):
                    source.counted(int(advance.done), int(advance.failed), advance.nominal_seconds, advance.values)
            source.ended(pack, death=death)
        if not job.ending:
            assert source.next() is None
        return handed

    def test_each_cell_is_handed_out_once_and_has_a_row(self, tmp_path: Path) -> None:
        job = self.job(tmp_path)
        cells = ids(self.drive(job))
        assert len(cells) == len({*cells}) >= 10
        assert job.store.statuses() == dict.fromkeys(cells, "ok")

    def test_packs_may_end_in_any_order(self, tmp_path: Path) -> None:
        expected, rng = {*ids(self.drive(self.job(tmp_path / "first")))}, random.Random(0)
        for name, which in (("last", lambda count: count - 1), ("any", rng.randrange)):
            assert {*ids(self.drive(self.job(tmp_path / name), which=which))} == expected

    def test_nothing_is_left_to_do_where_the_store_holds_it(self, tmp_path: Path) -> None:
        self.drive(self.job(tmp_path))
        source = self.source(self.job(tmp_path))
        assert source.finished
        assert source.next() is None

    def test_a_run_that_was_cut_off_is_resumed_to_the_same_cells(self, tmp_path: Path) -> None:
        whole = self.job(tmp_path / "whole")
        self.drive(whole)
        for enough in (1, 5, 9):
            folder = tmp_path / str(enough)
            first = self.job(folder, until_rows(Store(folder / "store"), enough))
            self.drive(first)
            assert 0 < len(first.store.statuses()) < len(whole.store.statuses())
            job = self.job(folder)
            self.drive(job)
            assert job.store.statuses() == whole.store.statuses()

    def test_cells_whose_worker_died_through_no_fault_of_theirs_are_tried_again(self, tmp_path: Path) -> None:
        whole = self.job(tmp_path / "whole")
        self.drive(whole)
        job, rng = self.job(tmp_path), random.Random(1)
        lost = Death(status="error", error="its node was lost", its_own=False)
        tried: dict[str, int] = {}

        def dies(pack: Pack) -> Death | None:
            times = tried[pack.cells[0].cell_id] = tried.get(pack.cells[0].cell_id, 0) + 1
            return lost if times == 1 and rng.random() < 0.5 else None

        self.drive(job, dies=dies)
        assert max(tried.values()) > 1
        assert job.store.statuses() == whole.store.statuses()

    def test_a_cell_that_kills_its_worker_is_a_row_that_says_so(self, tmp_path: Path) -> None:
        job, killers = self.job(tmp_path), set[str]()
        death = Death(status="error", error="its worker died", its_own=True)

        def dies(pack: Pack) -> Death | None:
            if not killers:
                killers.add(pack.cells[-1].cell_id)
            return death if killers & {*ids([pack])} else None

        self.drive(job, dies=dies)
        statuses = job.store.statuses()
        assert {cell_id for cell_id, status in statuses.items() if status not in FINISHED} == killers
        errors = job.store.load(["cell_id", "error"]).set_index("cell_id")["error"]
        assert {errors[cell_id] for cell_id in killers} == {"its worker died"}

    def test_nothing_is_added_once_a_budget_is_spent(self, tmp_path: Path) -> None:
        folder = tmp_path / "short"
        job = self.job(folder, until_rows(Store(folder / "store"), 1))
        handed = ids(self.drive(job))
        assert {*job.store.statuses()} <= {*handed}
        assert job.ending


def ids(packs: Sequence[Pack]) -> list[str]:
    """Cells of packs, in order."""
    cells: list[Cell] = [cell for pack in packs for cell in pack.cells]
    return [cell.cell_id for cell in cells]


def until_rows(store: Store, count: int) -> Budget:
    """A budget that is spent when the store holds so many rows."""
    budget = Budget(seconds=1.0, clock=lambda: 2.0 if len(store.statuses()) >= count else 0.0)
    budget.hold(0.0)
    return budget
