"""What every executor must do, whoever runs it."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from rich.console import Console

from dvq_ray.declarations.field import Axis
from dvq_ray.declarations.metric import Metric
from dvq_ray.declarations.settings import Settings
from dvq_ray.execution.budget import Budget
from dvq_ray.execution.executor import Death, Executor
from dvq_ray.execution.job import Job
from dvq_ray.execution.measured import Measured
from dvq_ray.execution.progress import Progress
from dvq_ray.experiment.experiment import Experiment, Outcome
from dvq_ray.experiment.registry import find_experiment
from dvq_ray.experiment.surroundings import Surroundings
from dvq_ray.process.interruption import Interruption
from dvq_ray.quantizer.base import Codec, Quantizer, Vectors
from dvq_ray.store import Store
from dvq_ray.store.provenance import Run
from dvq_ray.sweep.cells import Pack, Point
from dvq_ray.sweep.spec import Resources


class Nothing(Quantizer):
    """Needs no codes: it is there because a cell names a quantizer."""

    def codebook_sizes(self) -> tuple[int, ...]:
        """None."""
        return ()

    def parameters(self, features: int) -> int:
        """None."""
        return 0

    def fit(self, vectors: Vectors, rng: np.random.Generator) -> Codec:
        """Is never called."""
        raise NotImplementedError


class SquareSettings(Settings):
    """A number, which is squared; the computation of a negative one raises."""

    number: Annotated[int, Axis(label="number")]

    def nominal_seconds(self) -> float:
        """Next to nothing."""
        return 0.001

    def code_bits(self) -> float:
        """There are no codes."""
        return 0.0


@dataclass(frozen=True, kw_only=True)
class SquareMetrics:
    """The metric column."""

    square: Annotated[float, Metric(label="square", better="lower")]


@dataclass(frozen=True, kw_only=True)
class SquareCurve:
    """Nothing is logged."""

    step: Annotated[int, Metric(label="step")]


def square(settings: SquareSettings, seeds: Sequence[int], surroundings: Surroundings) -> Generator[Outcome]:
    """The square of the number, plus the seed."""
    for seed in seeds:
        if settings.number < 0:
            raise ValueError(f"{settings.number} is negative")
        yield Outcome(metrics={"square": float(settings.number**2 + seed)})


SQUARES = Experiment(
    name="squares",
    revision=1,
    fields_for=lambda quantizer: (SquareSettings,),
    metrics=SquareMetrics,
    main_metric="square",
    curve=SquareCurve,
    run=square,
    logs_curve=False,
)


class Packs:
    """A source that records what is reported to it."""

    def __init__(self, packs: Iterable[Pack], store: Store, *, learns: bool) -> None:
        self.learns = learns
        self.done = self.failed = 0
        self.ends: list[tuple[Pack, Death | None, set[str]]] = []
        """Each pack that ended, and the cells that the store then held."""
        self._left = deque(packs)
        self._underway = 0
        self._store = store

    @property
    def finished(self) -> bool:
        """Whether all packs have ended."""
        return not self._left and not self._underway

    def next(self) -> Pack | None:
        """The next pack; where the source learns, only once the one before has ended."""
        if not self._left or (self.learns and self._underway):
            return None
        self._underway += 1
        return self._left.popleft()

    def counted(self, done: int, failed: int, nominal_seconds: float, values: Sequence[Measured]) -> None:
        """Counts."""
        self.done += done
        self.failed += failed

    def stops(self, pack: Pack, logged: Sequence[Mapping[str, Any]]) -> bool:
        """Never: each pack runs to its end."""
        return False

    def ended(
        self, pack: Pack, *, death: Death | None = None, stopped: Sequence[Mapping[str, Any]] | None = None
    ) -> None:
        """Keeps a record."""
        self._underway -= 1
        self.ends.append((pack, death, {*self._store.statuses()}))


class ExecutorContract:
    """Tests of an executor. Subclass it, and say how to make one."""

    def executor(self) -> Executor:
        """The executor under test."""
        raise NotImplementedError

    def packs(self, numbers: Iterable[int], *, cells: int = 2) -> list[Pack]:
        """A pack for each number, of so many repetitions."""
        experiment = find_experiment(f"{__name__}:SQUARES")
        points = [
            Point(experiment=experiment, settings=experiment.settings(
                {"quantizer": f"{__name__}:Nothing", "number": number}
            ))
            for number in numbers
        ]  # fmt: skip
        return [Pack(cells=[point.cell(seed) for seed in range(cells)]) for point in points]

    def run(
        self, folder: Path, packs: Sequence[Pack], *, learns: bool = False, budget: Budget | None = None
    ) -> tuple[Packs, Store]:
        """Runs packs into a store in the folder."""
        store = Store(folder / "squares")
        source = Packs(packs, store, learns=learns)
        executor, resources = self.executor(), Resources()
        executor.check(resources)
        with (
            Interruption() as interruption,
            executor.started(resources) as slots,
            Progress(1, 1.0, Console(quiet=True)) as progress,
        ):
            assert slots >= 1
            interruption.listen()
            job = Job(
                store=store,
                run=Run.start("squares"),
                resources=resources,
                surroundings=Surroundings(),
                progress=progress,
                interruption=interruption,
                budget=budget or Budget(),
            )
            executor.run(source, job)
        return source, store

    def test_each_cell_of_each_pack_becomes_a_row(self, tmp_path: Path) -> None:
        source, store = self.run(tmp_path, self.packs(range(6)))
        rows = store.load(["number", "seed", "square", "status"])
        assert {*rows["status"]} == {"ok"}
        assert sorted(rows["square"]) == sorted(float(number**2 + seed) for number in range(6) for seed in range(2))
        assert source.finished
        assert (source.done, source.failed) == (12, 0)
        assert sorted(pack.cells[0].cell_id for pack, _, _ in source.ends) == sorted(
            pack.cells[0].cell_id for pack in self.packs(range(6))
        )
        assert {death for _, death, _ in source.ends} == {None}

    def test_a_cell_that_raises_is_a_row_and_the_rest_of_the_packs_goes_on(self, tmp_path: Path) -> None:
        source, store = self.run(tmp_path, self.packs([-1, 2]))
        rows = store.load(["number", "status", "error"])
        assert [*rows.loc[rows["number"] == 2, "status"]] == ["ok", "ok"]
        raised = rows[rows["number"] == -1]
        assert [*raised["status"]] == ["error", "error"]
        assert all(str(error).startswith("ValueError: -1 is negative") for error in raised["error"])
        assert (source.done, source.failed) == (2, 2)
        assert {death for _, death, _ in source.ends} == {None}

    def test_a_source_that_learns_sees_the_rows_of_a_pack_before_it_hands_out_the_next(self, tmp_path: Path) -> None:
        source, _ = self.run(tmp_path, self.packs(range(3)), learns=True)
        assert [pack.cells[0].point.settings.columns()["number"] for pack, _, _ in source.ends] == [0, 1, 2]
        for count, (pack, _, stored) in enumerate(source.ends, start=1):
            assert {cell.cell_id for cell in pack.cells} <= stored
            assert len(stored) == 2 * count

    def test_no_further_cell_begins_once_a_budget_is_spent(self, tmp_path: Path) -> None:
        store = Store(tmp_path / "squares")

        def clock() -> float:
            return 2.0 if store.exists() else 0.0

        packs = self.packs(range(400), cells=1)
        source, _ = self.run(tmp_path, packs, budget=Budget(seconds=1.0, clock=clock))
        assert 1 <= len(store.statuses()) < len(packs)
        assert not source.finished

    def test_a_source_without_packs_is_finished_at_once(self, tmp_path: Path) -> None:
        source, store = self.run(tmp_path, [])
        assert source.ends == []
        assert not store.exists()
