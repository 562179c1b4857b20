"""What a power cut leaves of a store, at many moments of its life. Needs the right to mount a file system."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dvq_ray.experiment.registry import find_experiment
from dvq_ray.store import FINISHED, Store, StoreError, commits
from dvq_ray.store.commits import Commits
from dvq_ray.store.storage import Storage
from tests.disk_image import DiskImage, disk_image

EXPERIMENT = find_experiment("static_prior")
START = datetime(2026, 1, 1, tzinfo=UTC)
Cell = tuple[dict[str, Any], list[dict[str, Any]]]


class Life:
    """A store on a file system, and what it has acknowledged: at any moment a power cut must leave that."""

    def __init__(self, disk: DiskImage) -> None:
        self.store = Store(disk.root / "results" / "sweep")
        self.moments = 0
        self._disk = disk
        self._chance = random.Random(0)
        self._is_checking = False
        self._rows: dict[str, dict[str, Any]] = {}
        self._checkpoints: dict[str, int] = {}
        self._sweep = 0
        self._attempts = 0

    def attempt(self, cell_id: str, status: str = "ok") -> Cell:
        """A further one at a cell."""
        self._attempts += 1
        row = {
            "cell_id": cell_id, "status": status, "test_mse": 1.0, "run_id": "run", "error": "x" * 5000,
            "trainable": "static_prior", "quantizer": "vq", "run_started_at": START + timedelta(seconds=self._attempts),
        }  # fmt: skip
        return row, [{"step": step, "test_mse": 1.0} for step in (0, 1)] if status == "ok" else []

    def write(self, cell_id: str, status: str = "ok") -> None:
        cell = self.attempt(cell_id, status)
        self.store.write_cell(EXPERIMENT, *cell)
        self.acknowledge(cell)

    def acknowledge(self, *cells: Cell) -> None:
        self._rows |= {row["cell_id"]: row for row, _ in cells}

    def write_checkpoint(self, cell_id: str, number: int) -> None:
        self.store.write_checkpoint(cell_id, _state(number))
        self._checkpoints[cell_id] = number

    def drop_checkpoint(self, cell_id: str) -> None:
        del self._checkpoints[cell_id]
        self.store.drop_checkpoint(cell_id)

    def write_sweep(self) -> None:
        self.store.write_sweep(_sweep(self._sweep + 1))
        self._sweep += 1

    def moment(self) -> None:
        """Looks now and then."""
        if not self._is_checking and self._chance.random() < 0.06:
            self.look()

    def look(self) -> None:
        self.moments += 1
        self._is_checking = True
        if self.moments % 3:
            self._disk.let_others_sync()
        with self._disk.after_power_cut() as place:
            self._check(place / "results" / "sweep")
        self._is_checking = False

    def _check(self, store: Path) -> None:
        # As pandas finds it, all files are whole, and each row is there with its curve.
        whole = {
            part: [row for path in store.glob(f"{part}/[!._]*.parquet") for row in pq.read_table(path).to_pylist()]
            for part in ("cells", "curves")
        }
        assert all(_is_in(whole["cells"], row) for row in self._rows.values())
        steps = {(step["cell_id"], step["run_started_at"], step["step"]) for step in whole["curves"]}
        for row in whole["cells"]:
            if row["status"] == "ok":
                assert {(row["cell_id"], row["run_started_at"], step) for step in (0, 1)} <= steps
        contents = {cell_id: (store / "checkpoints" / cell_id).read_bytes() for cell_id in self._checkpoints}
        for cell_id, number in self._checkpoints.items():
            assert contents[cell_id] in (_state(number), _state(number + 1))
        if self._sweep:
            assert (store / "sweep.yaml").read_text() in (_sweep(self._sweep), _sweep(self._sweep + 1))
        # As the next run finds it, nothing has to be repaired.
        found = Store(store)
        found.load()
        assert found.set_aside_unreadable() == []
        found.merge()
        rows = found.load(["cell_id", "status", "run_started_at"]).to_dict("records")
        assert all(_is_in(rows, row) for row in self._rows.values())
        assert not found.missing_curves() & self._rows.keys()


def _is_in(rows: list[Any], row: dict[str, Any]) -> bool:
    """Whether the row is there, or a better one."""
    same = [each for each in rows if each["cell_id"] == row["cell_id"]]
    return any(each["run_started_at"] >= row["run_started_at"] or each["status"] in FINISHED for each in same)


def _state(number: int) -> bytes:
    return number.to_bytes(4, "big") * 5000


def _sweep(number: int) -> str:
    return f"version: {number}\n" + "# \n" * 1000


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[DiskImage]:
    with disk_image(tmp_path) as disk:
        yield disk


@pytest.fixture
def life(disk: DiskImage) -> Iterator[Life]:
    """It is looked at before some of the operations on the disk."""
    life = Life(disk)

    def looked_at(action: Callable[..., Any]) -> Callable[..., Any]:
        def act(*arguments: Any, **more: Any) -> Any:
            life.moment()
            return action(*arguments, **more)

        return act

    with pytest.MonkeyPatch.context() as patch:
        for name in ("fsync", "replace", "mkdir"):
            patch.setattr(os, name, looked_at(getattr(os, name)))
        patch.setattr(Storage, "_delete_one", looked_at(Storage._delete_one))
        yield life


@pytest.mark.long
def test_nothing_that_was_acknowledged_is_lost(life: Life) -> None:
    for turn in range(4):
        life.write_sweep()
        for number in range(2):
            life.write_checkpoint(f"long{turn}", number)
        life.write(f"first{turn}")
        life.write(f"second{turn}", "error")
        life.write(f"second{turn}")
        life.write(f"long{turn}")
        life.drop_checkpoint(f"long{turn}")
        life.store.merge()
        life.look()
    assert life.moments > 15


def test_without_syncing_it_would_be_lost(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    def unsynced() -> None:
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", lambda descriptor: None)
            for number in range(3):
                life.write(f"cell{number}")
            life.store.merge()
        life.look()

    with pytest.raises((AssertionError, OSError, pa.ArrowException)):
        unsynced()


@pytest.mark.long
def test_cells_of_a_pack_are_safe_once_they_are_committed(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    for turn in range(12):
        cells = [life.attempt(f"fast{turn}-{number}") for number in range(4)]
        with Commits(life.store, EXPERIMENT) as pack:
            for place, cell in enumerate(cells):
                monkeypatch.setattr(commits, "TOGETHER_SECONDS", 0 if place == 2 else 1000)
                pack.add(*cell)
                if place == 2:
                    life.acknowledge(*cells[:3])
        life.acknowledge(*cells)
        life.look()
    assert life.moments > 10


def test_a_read_only_disk_is_reported_as_such(disk: DiskImage) -> None:
    store = Store(disk.root / "results")
    store.check_place()
    subprocess.run(["mount", "-o", "remount,ro", str(disk.root)], check=True)
    for check in (store.check_place, store.check_writable):
        with pytest.raises(StoreError, match=f"{disk.root}: the file system is read-only; make it accessible"):
            check()


def test_a_full_disk_is_reported_and_loses_nothing(disk: DiskImage) -> None:
    life = Life(disk)
    life.write("a")

    def fill() -> None:
        for number in range(100):
            life.store.write_checkpoint("b", os.urandom(1 << 20))
            life.store.write_artifact("b", str(number), os.urandom(1 << 20))

    with pytest.raises(StoreError, match="No space left on device; make room there"):
        fill()
    life.look()
    assert [path for path in disk.root.rglob(".*") if path.is_file()] == []
