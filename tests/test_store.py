from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from dvq_ray.experiments import EXPERIMENTS
from dvq_ray.store import Store, StoreError, cell_schema, curve_schema

EXPERIMENT = EXPERIMENTS["static_prior"]
START = datetime(2026, 1, 1, tzinfo=UTC)


def row(cell_id: str, *, status: str = "ok", test_mse: float = 1.0, minute: int = 0, **more: Any) -> dict[str, Any]:
    return {
        "cell_id": cell_id, "status": status, "test_mse": test_mse, "run_id": "run",
        "run_started_at": START + timedelta(minutes=minute), **more,
    }  # fmt: skip


def write(store: Store, *rows: dict[str, Any], curve: bool = True) -> None:
    for one in rows:
        logged = [{"step": step, "test_mse": one["test_mse"] + step} for step in (0, 1)] if curve else []
        store.write_cell(EXPERIMENT, one, logged)


def files(store: Store, part: str = "cells") -> list[str]:
    folder = Path(store.absolute_location, part)
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "sweep")


def test_columns_are_identity_configuration_metrics_and_provenance_in_this_order() -> None:
    # Frozen: notebooks of users name these columns.
    assert cell_schema(EXPERIMENT).names == [
        "cell_id", "point_id", "sweep", "trainable", "revision", "status", "error",
        "quantizer", "dimension", "codebook_size", "factors", "train_samples", "init_bound", "learning_rate",
        "schedule", "steps", "batch_size", "slices", "start", "restarts", "max_iterations", "seed",
        "test_mse", "train_mse", "untrained_test_mse", "data_variance", "loss_over_variance", "rate_curve_mse",
        "bits_per_vector", "codebook_parameters", "codes_used", "perplexity", "last_relative_change",
        "duration_seconds",
        "run_id", "run_commit", "run_versions", "run_host", "run_device", "run_started_at",
    ]  # fmt: skip
    assert curve_schema(EXPERIMENT).names == ["cell_id", "step", "test_mse", "run_started_at"]


def test_pandas_reads_the_folder_without_help(store: Store) -> None:
    write(store, row("a" * 16, test_mse=0.1 + 0.2), row("b" * 16))
    frame = pd.read_parquet(Path(store.absolute_location, "cells"))
    assert frame.set_index("cell_id")["test_mse"].to_dict() == {"a" * 16: 0.1 + 0.2, "b" * 16: 1.0}


def test_a_missing_or_empty_store_has_no_rows(store: Store) -> None:
    assert store.load().empty
    assert store.load_curves().empty
    assert store.statuses() == {}
    assert store.sweep_text() is None
    store.merge()


def test_writing_a_cell_twice_leaves_one_file_and_one_row(store: Store) -> None:
    write(store, row("a" * 16), row("a" * 16))
    assert files(store) == ["a" * 16 + "-run.parquet"]
    assert len(store.load()) == 1


def test_a_crash_in_the_middle_of_a_write_leaves_nothing_to_read(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    write(store, row("a" * 16))

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("dvq_ray.store.os.replace", crash)
    with pytest.raises(KeyboardInterrupt):
        write(store, row("b" * 16))
    monkeypatch.undo()
    assert list(store.statuses()) == ["a" * 16]
    assert list(pd.read_parquet(Path(store.absolute_location, "cells"))["cell_id"]) == ["a" * 16]


@pytest.mark.parametrize(
    ("first", "second", "standing"),
    [
        (row("c", status="error", test_mse=1), row("c", status="ok", test_mse=2, minute=1), 2),
        (row("c", status="ok", test_mse=1), row("c", status="error", test_mse=2, minute=1), 1),
        (row("c", status="error", test_mse=1, minute=1), row("c", status="diverged", test_mse=2), 1),
        (row("c", status="stopped", test_mse=1, minute=1), row("c", status="ok", test_mse=2), 2),
        (row("c", status="stopped", test_mse=1), row("c", status="error", test_mse=2, minute=1), 1),
        (row("c", status="ok", test_mse=1), row("c", status="ok", test_mse=2, minute=1), 2),
    ],
)
def test_a_finished_row_stands_before_a_failed_one_and_a_later_before_an_earlier(
    store: Store, first: dict[str, Any], second: dict[str, Any], standing: float
) -> None:
    write(store, first, row("d"))
    store.merge()  # puts the first row into a file that the second does not overwrite
    write(store, second)
    assert len(files(store)) == 2
    for _ in range(2):
        frame = store.load().set_index("cell_id")
        assert frame.loc["c", "test_mse"] == standing
        assert len(frame) == 2
        curves = store.load_curves()
        assert curves.loc[curves["cell_id"] == "c", "test_mse"].to_list() == [standing, standing + 1]
        store.merge()
    assert len(files(store)) == len(files(store, "curves")) == 1
    assert len(pd.read_parquet(Path(store.absolute_location, "cells"))) == 2
    assert len(pd.read_parquet(Path(store.absolute_location, "curves"))) == 4


def test_merging_keeps_every_row_and_is_the_same_twice(store: Store) -> None:
    write(store, *(row(f"{n:016x}", test_mse=n) for n in range(20)))
    before = store.load()
    store.merge()
    merged = files(store)
    assert len(merged) == 1
    assert merged[0].startswith("20-cells-")
    store.merge()
    assert files(store) == merged
    pd.testing.assert_frame_equal(store.load(), before)


def test_a_merge_that_died_before_it_removed_the_old_files_doubles_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(store, *(row(f"{n:016x}") for n in range(5)))
    with monkeypatch.context() as patch:
        patch.setattr("dvq_ray.store.contextlib.suppress", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            store.merge()
    assert len(files(store)) == 6
    assert len(store.load()) == 5
    store.merge()
    assert len(files(store)) == len(files(store, "curves")) == 1
    assert len(store.load()) == 5
    assert len(pd.read_parquet(Path(store.absolute_location, "curves"))) == 10


def test_large_files_are_left_alone(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dvq_ray.store.ROWS_IN_A_FILE", 4)
    write(store, *(row(f"{n:016x}") for n in range(4)))
    store.merge()
    large = files(store)
    write(store, row("e" * 16), row("f" * 16))
    store.merge()
    assert set(large) < set(files(store))
    assert len(files(store)) == 2
    assert len(store.load()) == 6


def test_two_stores_merging_at_once_lose_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    write(store, *(row(f"{n:016x}") for n in range(6)))
    other = Store(store.location)
    original = Store._replace

    def meanwhile(self: Store, *arguments: Any) -> None:
        monkeypatch.setattr(Store, "_replace", original)
        other.merge()
        original(self, *arguments)

    monkeypatch.setattr(Store, "_replace", meanwhile)
    store.merge()
    assert len(store.load()) == 6


def test_a_filter_may_read_columns_that_are_not_asked_for(store: Store) -> None:
    write(store, row("a", test_mse=1.0), row("b", test_mse=2.0))
    frame = store.load(columns=["cell_id"], where=pc.field("test_mse") > 1.5)
    assert frame.to_dict("records") == [{"cell_id": "b"}]


def test_a_filter_sees_only_the_row_that_stands(store: Store) -> None:
    write(store, row("a", status="error", test_mse=9.0), row("b"))
    store.merge()
    write(store, row("a", test_mse=1.0, minute=1))
    assert store.load(where=pc.field("test_mse") > 5).empty


def test_files_of_an_older_version_are_read_with_their_missing_columns_empty(store: Store) -> None:
    write(store, row("a"))
    old = pq.read_table(Path(store.absolute_location, "cells", "a-run.parquet")).drop_columns(["perplexity"])
    write(store, row("b", perplexity=[2.0]))
    pq.write_table(old, Path(store.absolute_location, "cells", "a-run.parquet"))
    frame = store.load().set_index("cell_id")
    assert frame["perplexity"].isna().to_dict() == {"a": True, "b": False}
    assert frame["perplexity"]["b"] == [2.0]


def test_a_broken_file_is_named(store: Store) -> None:
    write(store, row("a"), row("b"))
    Path(store.absolute_location, "cells", "b-run.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(StoreError, match=r"b-run\.parquet cannot be read"):
        store.load()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be written"):
        write(Store(tmp_path / "file" / "sweep"), row("a"))


def test_a_uri_is_the_same_place_as_its_path(tmp_path: Path) -> None:
    write(Store(f"file://{tmp_path}/sweep"), row("a"))
    assert list(Store(tmp_path / "sweep").statuses()) == ["a"]


def test_a_restarted_worker_sees_what_its_run_wrote_and_no_other(store: Store) -> None:
    write(store, row("a", run_id="now"), row("b", run_id="before"), row("c", run_id="now", status="error"))
    assert store.written_by_run("now", ["a", "b", "c", "d"]) == {"a": "ok", "c": "error"}


def test_merging_keeps_the_curve_of_a_cell_whose_row_is_about_to_come(store: Store) -> None:
    write(store, row("a"), row("b", run_id="other"))
    Path(store.absolute_location, "cells", "b-other.parquet").unlink()
    store.merge()
    write(store, row("b", run_id="other"), curve=False)
    assert store.load_curves()["cell_id"].to_list() == ["a", "a", "b", "b"]


def test_merging_drops_the_curve_of_a_worker_that_died_before_its_row(store: Store) -> None:
    write(store, row("a", run_id="died", test_mse=5.0))
    Path(store.absolute_location, "cells", "a-died.parquet").unlink()
    write(store, row("a", minute=1), row("b"))
    store.merge()
    curves = pd.read_parquet(Path(store.absolute_location, "curves"))
    assert curves["cell_id"].to_list() == ["a", "a", "b", "b"]
    assert 5.0 not in set(curves["test_mse"])


def test_artifacts_and_checkpoints_are_kept_by_cell_and_replaced_as_a_whole(store: Store) -> None:
    assert store.read_artifact("aa", "x.png") is None
    assert store.read_checkpoint("aa") is None
    for content in (b"one", b"two"):
        store.write_artifact("aa", "x.png", content)
        store.write_checkpoint("aa", content)
    assert store.read_artifact("aa", "x.png") == b"two"
    assert store.read_checkpoint("aa") == b"two"
    assert files(store, "checkpoints") == ["aa"]
    store.drop_checkpoint("aa")
    store.drop_checkpoint("aa")
    assert store.read_checkpoint("aa") is None


def test_a_merge_removes_checkpoints_of_finished_cells_and_keeps_those_of_others(store: Store) -> None:
    write(store, row("aa"), row("bb", status="error"))
    for cell_id in ("aa", "bb", "cc"):
        store.write_checkpoint(cell_id, b"state")
    store.merge()
    assert files(store, "checkpoints") == ["bb", "cc"]
