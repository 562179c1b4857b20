"""Cells that are done and whose curve is missing: they count as missing everywhere, and are run again."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner, Result

from dvq_ray.cli.status import main as status
from dvq_ray.cli.sweep import main as sweep
from dvq_ray.experiment.registry import find_experiment
from dvq_ray.store import Store
from dvq_ray.sweep.coverage import Coverage, coverage
from tests.sweep_files import NOT_A_RESULT, write

SWEEP = """\
name: tiny
trainable: static_prior
seeds: 2
fixed: {factors: 8, train_samples: 256, codebook_size: 4, steps: 20}
grids:
  trained: {quantizer: vq, dimension: [2, 4]}
  clustered: {quantizer: kmeans, dimension: 4}
"""
"""4 cells with a curve, and 2 without one."""
START = datetime(2026, 1, 1, tzinfo=UTC)


def run(folder: Path, *options: str) -> Result:
    return CliRunner().invoke(sweep, [str(write(folder, SWEEP)), "--results", str(folder), "--in-process", *options])


@pytest.fixture
def store(tmp_path: Path) -> Store:
    assert run(tmp_path).exit_code == 0
    return Store(tmp_path / "tiny")


def results(store: Store) -> tuple[pd.DataFrame, pd.DataFrame]:
    rows = store.load().drop(columns=NOT_A_RESULT, errors="ignore")
    return rows, store.load_curves(["cell_id", "step", "test_mse"])


def test_none_is_missing_of_a_store_that_is_whole(store: Store, tmp_path: Path) -> None:
    assert store.missing_curves() == set()
    assert "to run: 0 cells" in run(tmp_path, "--dry-run").output


def test_cells_whose_curve_was_in_a_broken_file_are_missing_and_run_again(store: Store, tmp_path: Path) -> None:
    before = results(store)
    (curves,) = (tmp_path / "tiny" / "curves").iterdir()
    curves.write_bytes(b"")
    (aside,) = store.set_aside_unreadable()
    assert aside.path == str(curves)
    trained = {*before[1]["cell_id"]}
    assert len(trained) == 4
    assert store.missing_curves() == trained
    # Everybody says the same of it.
    dry_run = run(tmp_path, "--dry-run").output
    assert "run again: 4 cells that are done, but for their curve" in dry_run
    assert "to run: 4 cells" in dry_run
    told = CliRunner().invoke(status, [store.location])
    assert told.exit_code == 3
    assert "2 of 6 cells done, 0 failed, 4 missing" in told.output
    assert "4 of the missing cells have a row, but their curve is missing" in " ".join(told.output.split())
    found = coverage(store)
    assert isinstance(found, Coverage)
    assert found.missing == 4
    # And it is mended.
    assert run(tmp_path).exit_code == 0
    assert store.missing_curves() == set()
    for frame, expected in zip(results(store), before, strict=True):
        pd.testing.assert_frame_equal(frame, expected, check_exact=True)
    assert "to run: 0 cells" in run(tmp_path, "--dry-run").output


def test_a_run_that_meets_a_broken_file_of_curves_mends_it_at_once(store: Store, tmp_path: Path) -> None:
    before = results(store)
    (curves,) = (tmp_path / "tiny" / "curves").iterdir()
    curves.write_bytes(curves.read_bytes()[:-50])
    result = run(tmp_path)
    assert result.exit_code == 0
    assert f"warning: {curves}" in result.output
    assert "4 cells to run, 2 at hand" in result.output
    for frame, expected in zip(results(store), before, strict=True):
        pd.testing.assert_frame_equal(frame, expected, check_exact=True)


def test_nothing_is_missing_of_a_store_whose_curves_somebody_removed(store: Store, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "tiny" / "curves")
    assert store.missing_curves() == set()
    assert "to run: 0 cells" in run(tmp_path, "--dry-run").output
    assert run(tmp_path).exit_code == 0


def row(minute: int, **more: Any) -> dict[str, Any]:
    return {
        "cell_id": "a", "status": "ok", "trainable": "static_prior", "quantizer": "vq", "run_id": "run",
        "run_started_at": START + timedelta(minutes=minute), **more,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "missing"),
    [
        ([row(0)], {"a"}),
        ([row(0, status="error")], set()),
        ([row(0, status="stopped")], set()),
        ([row(0, quantizer="kmeans")], set()),
        ([row(0, trainable="of another version")], set()),
        ([row(0, trainable=None, quantizer=None)], set()),
        ([row(0), row(1, status="error")], {"a"}),
    ],
)
def test_only_done_cells_of_kinds_that_log_are_missing_a_curve(
    tmp_path: Path, rows: list[dict[str, Any]], missing: set[str]
) -> None:
    store = Store(tmp_path)
    store.write_cell(find_experiment("static_prior"), row(0, cell_id="with"), [{"step": 0}])
    for each in rows:
        store.write_cell(find_experiment("static_prior"), each, ())
    assert store.missing_curves() == missing


def test_the_curve_of_another_attempt_is_not_the_rows(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write_cell(find_experiment("static_prior"), row(0), [{"step": 0}])
    store.write_cell(find_experiment("static_prior"), row(1), ())
    assert store.missing_curves() == {"a"}
    assert store.load_curves().empty


def test_a_curve_that_a_merge_drops_meanwhile_is_not_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, other = Store(tmp_path), Store(tmp_path)
    store.write_cell(find_experiment("static_prior"), row(0), [{"step": 0}])
    store.write_cell(find_experiment("static_prior"), row(0, cell_id="b"), [{"step": 0}])
    attempts = store._attempts_with_curves

    def meanwhile() -> Any:
        monkeypatch.undo()
        found = attempts()
        other.write_cell(find_experiment("static_prior"), row(1), [{"step": 0}])
        other.merge()
        return found

    monkeypatch.setattr(store, "_attempts_with_curves", meanwhile)
    assert store.missing_curves() == set()
