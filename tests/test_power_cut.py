"""What a power cut leaves of a store, at many moments of its life. Needs the right to mount a file system."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from dvq_ray.experiments import EXPERIMENTS
from dvq_ray.storage import Storage
from dvq_ray.store import Store
from tests.disk_image import DiskImage, disk_image

EXPERIMENT = EXPERIMENTS["static_prior"]
START = datetime(2026, 1, 1, tzinfo=UTC)


class Life:
    """A store on a file system, and what it has acknowledged. `moment` checks what a power cut would leave."""

    def __init__(self, disk: DiskImage, share: float) -> None:
        self.store = Store(disk.root / "results" / "sweep")
        self.moments = 0
        self._disk = disk
        self._share = share
        self._chance = random.Random(0)
        self._statuses: dict[str, str] = {}
        self._checkpoints: dict[str, int] = {}
        self._sweep = 0
        self._attempts = 0

    def write(self, cell_id: str, status: str, write: Callable[..., None] | None = None) -> dict[str, Any]:
        """A further attempt at a cell."""
        self._attempts += 1
        row = {
            "cell_id": cell_id, "status": status, "test_mse": 1.0, "run_id": "run", "error": "x" * 5000,
            "run_started_at": START + timedelta(seconds=self._attempts),
        }  # fmt: skip
        curve = [{"step": step, "test_mse": 1.0} for step in (0, 1)] if status == "ok" else []
        if write:
            write(row, curve)
        else:
            self.store.write_cell(EXPERIMENT, row, curve)
            self.acknowledge(row)
        return row

    def acknowledge(self, *rows: dict[str, Any]) -> None:
        for row in rows:
            self._statuses[row["cell_id"]] = row["status"]

    def write_checkpoint(self, cell_id: str, number: int) -> None:
        self.store.write_checkpoint(cell_id, number.to_bytes(4, "big") * 5000)
        self._checkpoints[cell_id] = number

    def drop_checkpoint(self, cell_id: str) -> None:
        del self._checkpoints[cell_id]
        self.store.drop_checkpoint(cell_id)

    def write_sweep(self) -> None:
        self.store.write_sweep(f"version: {self._sweep + 1}\n" + "# \n" * 1000)
        self._sweep += 1

    def moment(self) -> None:
        if self._chance.random() < self._share:
            self.check()

    def check(self) -> None:
        self.moments += 1
        if self.moments % 2:
            self._disk.let_others_sync()
        with self._disk.after_power_cut() as place:
            self._check(place / "results" / "sweep")

    def _check(self, store: Path) -> None:
        whole = {
            part: [pq.read_table(path).to_pylist() for path in store.glob(f"{part}/[!._]*.parquet")]
            for part in ("cells", "curves")
        }
        rows = [row for rows in whole["cells"] for row in rows]
        statuses: dict[str, set[str]] = {}
        for row in rows:
            statuses.setdefault(row["cell_id"], set()).add(row["status"])
        lost = {cell_id for cell_id, status in self._statuses.items() if status not in statuses.get(cell_id, ())}
        assert not lost
        steps = {(step["cell_id"], step["run_started_at"], step["step"]) for steps in whole["curves"] for step in steps}
        for row in rows:
            if row["status"] == "ok":
                assert {(row["cell_id"], row["run_started_at"], step) for step in (0, 1)} <= steps
        for cell_id, number in self._checkpoints.items():
            content = (store / "checkpoints" / cell_id).read_bytes()
            assert content in [each.to_bytes(4, "big") * 5000 for each in (number, number + 1)]
        if self._sweep:
            assert (store / "sweep.yaml").read_text().endswith("# \n" * 1000)


@pytest.fixture
def life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    with ExitStack() as stack:
        disk = stack.enter_context(disk_image(tmp_path))
        life = Life(disk, share=0.06)

        def checked(action: Callable[..., Any]) -> Callable[..., Any]:
            def act(*arguments: Any, **more: Any) -> Any:
                life.moment()
                return action(*arguments, **more)

            return act

        for name in ("fsync", "replace", "mkdir"):
            monkeypatch.setattr(os, name, checked(getattr(os, name)))
        monkeypatch.setattr(Storage, "_delete_one", checked(Storage._delete_one))
        yield life
        monkeypatch.undo()


def test_nothing_that_was_acknowledged_is_lost_at_any_moment(life: Life) -> None:
    for turn in range(6):
        life.write_sweep()
        long = f"long{turn}"
        for number in range(3):
            life.write_checkpoint(long, number)
        for cell in range(3):
            life.write(f"cell{turn}-{cell}", "error" if cell else "ok")
        life.write(f"cell{turn}-1", "ok")
        life.write(long, "ok")
        life.drop_checkpoint(long)
        life.store.merge()
        life.check()
    assert life.moments > 20
