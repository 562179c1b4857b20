"""Cells that end within a second are committed together: when, what a reader finds meanwhile, and what goes wrong."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from dvq_ray.experiment.registry import find_experiment
from dvq_ray.store import Store, StoreError, commits
from dvq_ray.store.commits import Commits

EXPERIMENT = find_experiment("static_prior")
START = datetime(2026, 1, 1, tzinfo=UTC)
CURVE = [{"step": step, "test_mse": 1.0} for step in (0, 1)]


def row(number: int) -> dict[str, Any]:
    began = START + timedelta(milliseconds=number)
    return {"cell_id": f"cell{number}", "status": "ok", "run_id": "run", "run_started_at": began}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def files(store: Store) -> list[int]:
    """The rows of each file."""
    return sorted(pq.read_metadata(path).num_rows for path in Path(store.location).glob("*/*.parquet"))


def test_cells_that_end_within_a_second_share_one_file_of_rows_and_one_of_curves(store: Store) -> None:
    with Commits(store, EXPERIMENT) as cells:
        for number in range(100):
            cells.add(row(number), CURVE)
    assert files(store) == [100, 200]
    assert len(store.statuses()) == 100
    assert len(store.load_curves()) == 200


def test_a_worker_that_comes_back_finds_all_cells_of_a_shared_file(store: Store) -> None:
    with Commits(store, EXPERIMENT) as cells:
        for number in range(5):
            cells.add(row(number), CURVE)
    pack = [f"cell{number}" for number in range(7)]
    assert store.written_by_run("run", pack) == dict.fromkeys(pack[:5], "ok")
    assert store.written_by_run("other run", pack) == {}


def test_a_cell_that_takes_long_is_committed_as_soon_as_it_is_done(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Commits(store, EXPERIMENT) as cells:
        cells.add(row(0), CURVE)
        assert files(store) == []
        monkeypatch.setattr(commits, "TOGETHER_SECONDS", 0.05)
        time.sleep(0.1)
        cells.commit()
        cells.commit()  # which finds nothing, so that the last commit stays the one before
        time.sleep(0.06)
        cells.commit()
        cells.add(row(1), CURVE)
        assert [*store.statuses()] == ["cell0", "cell1"]


def test_a_row_does_not_wait_for_a_long_cell_after_it(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commits, "TOGETHER_SECONDS", 0.05)
    with Commits(store, EXPERIMENT) as cells:
        cells.add(row(0), CURVE)
        until = time.monotonic() + 30
        while not store.statuses():
            assert time.monotonic() < until
            time.sleep(0.01)
        monkeypatch.setattr(commits, "TOGETHER_SECONDS", 1000.0)
        cells.add(row(1), CURVE)
        assert [*store.statuses()] == ["cell0"]
    assert [*store.statuses()] == ["cell0", "cell1"]
    assert not [each for each in threading.enumerate() if isinstance(each, threading.Timer) and each.interval == 1000]


def test_an_error_or_a_signal_commits_what_waits(store: Store) -> None:
    with suppress(KeyboardInterrupt), Commits(store, EXPERIMENT) as cells:
        cells.add(row(0), CURVE)
        raise KeyboardInterrupt
    assert [*store.statuses()] == ["cell0"]


def test_a_store_that_fails_while_a_cell_is_computed_is_reported_by_the_next_and_nothing_more_is_written(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise StoreError("the disk is full")

    cells = Commits(store, EXPERIMENT)
    with monkeypatch.context() as patch:
        patch.setattr(store, "write_cells", full)
        cells.add(row(0), CURVE)
        cells._commit_in_time()  # as the timer does, in its thread
    cells.add(row(1), CURVE)
    for _ in range(2):
        with pytest.raises(StoreError, match="the disk is full"):
            cells.commit()
    assert files(store) == []
