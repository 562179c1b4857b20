"""Processes that write and merge at once: what each of them has written is found at every moment, in every order."""

from __future__ import annotations

import copy
import itertools
import random
import shutil
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from dvq_ray.experiment.registry import find_experiment
from dvq_ray.store import FINISHED, Store
from tests.interleaving import Actor, actors

EXPERIMENT = find_experiment("static_prior")
START = datetime(2026, 1, 1, tzinfo=UTC)
Act = Callable[["World"], None]


class World:
    """A store, and what has been written to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._written: list[dict[str, Any]] = []

    def store(self) -> Store:
        """The store, opened as another process would open it."""
        return Store(self.folder)

    def row(self, cell_id: str, run_id: str, minute: int, status: str = "ok") -> dict[str, Any]:
        began = START + timedelta(minutes=minute)
        return {"cell_id": cell_id, "status": status, "test_mse": 1.0, "run_id": run_id, "run_started_at": began}

    def curve(self, row: dict[str, Any]) -> list[dict[str, Any]]:
        return [{"step": step, "test_mse": 2.0} for step in (0, 1)] if row["status"] == "ok" else []

    def write(self, cell_id: str, run_id: str, minute: int, status: str = "ok") -> None:
        row = self.row(cell_id, run_id, minute, status)
        self.store().write_cell(EXPERIMENT, row, self.curve(row))
        self._written.append(row)

    def write_together(self, run_id: str, *cells: tuple[str, int]) -> None:
        rows = [self.row(cell_id, run_id, minute) for cell_id, minute in cells]
        self.store().write_cells(EXPERIMENT, [(row, self.curve(row)) for row in rows])
        self._written += rows

    def merge(self) -> None:
        self.store().merge()

    def check(self) -> None:
        """Each cell has the best row that was written, and one that is done has its whole curve."""
        store = self.store()
        rows = store.load(["cell_id", "status", "run_started_at"]).set_index("cell_id")
        for row in self._written:
            found = rows.loc[row["cell_id"]]
            assert _rank(found) >= _rank(row), f"{row['cell_id']} is lost"
        curves = store.load_curves(["cell_id", "step"]).groupby("cell_id")["step"].apply(list).to_dict()
        assert curves == {cell_id: [0, 1] for cell_id, status in rows["status"].items() if status == "ok"}


def _rank(row: Any) -> tuple[bool, Any]:
    return row["status"] in FINISHED, row["run_started_at"]


def merging(world: World) -> None:
    world.merge()


def retrying(world: World) -> None:
    world.write("failed", "mine", 10)
    world.merge()


def running_twice(world: World) -> None:
    world.write("both", "mine", 11)
    world.write("both", "mine", 13)


def running_as_well(world: World) -> None:
    world.write("both", "yours", 12)
    world.merge()


def with_an_earlier_clock(world: World) -> None:
    world.write("failed", "mine", -5)


def running_fast_cells(world: World) -> None:
    world.write_together("mine", ("both", 11), ("fast", 11))
    world.write_together("mine", ("failed", 13), ("both", 13))


@pytest.fixture(autouse=True, scope="module")
def _no_power_cuts() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda descriptor: None)  # it would take most of the time
        yield


PAIRS: list[tuple[Act, Act]] = [
    (merging, merging),
    (retrying, merging),
    (running_twice, running_as_well),
    (with_an_earlier_clock, merging),
    (running_fast_cells, running_as_well),
]


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Some files: of a merge, and of cells that were written since."""
    world = World(tmp_path_factory.mktemp("overlaps") / "begun")
    world.write("old1", "before", 0)
    world.write("old2", "before", 0)
    world.merge()
    world.write("failed", "before", 1, "error")
    world.write("old1", "before", 2)
    return world


def again(begun: World, folder: Path) -> World:
    """The same in another folder."""
    world = copy.deepcopy(begun)
    world.folder = Path(shutil.copytree(begun.folder, folder))
    return world


def steps(actor: Actor, most: int | None = None) -> int:
    """Lets an actor do so many operations, or all. Returns how many it did."""
    done = 0
    while not actor.ended and (most is None or done < most):
        actor.step()
        done += 1
    return done


def end(world: World, both: Sequence[Actor]) -> None:
    for actor in both:
        steps(actor)
    world.check()
    world.merge()
    world.check()
    assert [len(list((world.folder / part).iterdir())) for part in ("cells", "curves")] == [1, 1]


def names(pair: tuple[Act, Act]) -> str:
    return "-".join(act.__name__ for act in pair)


@pytest.mark.long
@pytest.mark.parametrize("pair", [*PAIRS, *((second, first) for first, second in PAIRS[1:])], ids=names)
def test_nothing_is_lost_wherever_one_interrupts_the_other(tmp_path: Path, begun: World, pair: tuple[Act, Act]) -> None:
    for first in itertools.count(1):
        world = again(begun, tmp_path / str(first))
        with actors(*(partial(act, world) for act in pair)) as both:
            if steps(both[0], first) < first:
                return
            steps(both[1])
            world.check()
            end(world, both)


@pytest.mark.slow
@pytest.mark.parametrize("pair", PAIRS, ids=names)
def test_nothing_is_lost_wherever_two_interrupt_each_other(tmp_path: Path, begun: World, pair: tuple[Act, Act]) -> None:
    for first in itertools.count(1):
        for second in itertools.count(1):
            world = again(begun, tmp_path / f"{first}-{second}")
            with actors(*(partial(act, world) for act in pair)) as both:
                if steps(both[0], first) < first:
                    return
                world.check()
                is_all = steps(both[1], second) < second
                world.check()
                end(world, both)
            if is_all:
                break


@pytest.mark.parametrize("seeds", [range(1), pytest.param(range(1, 100), marks=pytest.mark.slow)], ids=["few", "many"])
@pytest.mark.parametrize("pair", PAIRS, ids=names)
def test_nothing_is_lost_where_operations_come_in_any_order(
    tmp_path: Path, begun: World, pair: tuple[Act, Act], seeds: range
) -> None:
    for seed in seeds:
        chance = random.Random(seed)
        world = again(begun, tmp_path / str(seed))
        with actors(*(partial(act, world) for act in pair)) as both:
            while left := [actor for actor in both if not actor.ended]:
                chance.choice(left).step()
                world.check()
            end(world, both)
