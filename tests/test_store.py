"""What a store holds and gives back, in a folder and on object storage alike."""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from dvq_ray import load_results
from dvq_ray.experiment.registry import find_experiment
from dvq_ray.store import Store, StoreError, cell_schema, curve_schema
from dvq_ray.store.attempts import file_name
from dvq_ray.store.columns import cell_table
from dvq_ray.store.identities import keys_of_ids, repeated
from dvq_ray.store.merging import Merger
from dvq_ray.store.storage import Storage
from dvq_ray.sweep.coverage import Coverage, coverage
from dvq_ray.sweep.spec import parse_sweep
from tests.object_storage import ObjectStorage, serving
from tests.sweep_files import TINY

EXPERIMENT = find_experiment("static_prior")
START = datetime(2026, 1, 1, tzinfo=UTC)


def row(cell_id: str, *, status: str = "ok", test_mse: float = 1.0, minute: int = 0, **more: Any) -> dict[str, Any]:
    return {
        "cell_id": cell_id, "status": status, "test_mse": test_mse, "run_id": "run",
        "run_started_at": START + timedelta(minutes=minute), **more,
    }  # fmt: skip


def single(cell_id: str, **more: Any) -> str:
    """The name of the file of a cell that was written and not merged since."""
    return file_name(row(cell_id, **more))


def write(store: Store, *rows: dict[str, Any], curve: bool = True) -> None:
    for one in rows:
        logged = [{"step": step, "test_mse": one["test_mse"] + step} for step in (0, 1)] if curve else []
        store.write_cell(EXPERIMENT, one, logged)


def files(store: Store, part: str = "cells") -> list[str]:
    return [info.base_name for info in store.files_below(part)]


def frame_of(store: Store, part: str = "cells") -> pd.DataFrame:
    """Read as one reads it who knows nothing of dvq_ray."""
    storage = Storage(store.location)
    return pd.read_parquet(f"{storage.root}/{part}", filesystem=storage.filesystem)


def put(store: Store, path: str, content: bytes | pa.Table) -> None:
    if isinstance(content, pa.Table):
        sink = io.BytesIO()
        pq.write_table(content, sink)
        content = sink.getvalue()
    storage = Storage(store.location)
    storage.put(f"{storage.root}/{path}", content)


def remove(store: Store, path: str) -> None:
    storage = Storage(store.location)
    storage.delete([f"{storage.root}/{path}"])


@pytest.fixture(scope="module")
def s3() -> Iterator[ObjectStorage]:
    with serving() as storage:
        yield storage


@pytest.fixture
def folder(tmp_path: Path) -> Store:
    """For what does not depend on where a store is."""
    return Store(tmp_path / "sweep")


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "folder":
        return Store(tmp_path / "sweep")
    storage: ObjectStorage = request.getfixturevalue("s3")
    return Store.under(storage.uri(), "sweep")


def test_columns_are_identity_configuration_metrics_and_provenance_in_this_order() -> None:
    # Frozen: notebooks of users name these columns.
    names = cell_schema(EXPERIMENT).names
    assert names[:7] == ["cell_id", "point_id", "sweep", "trainable", "revision", "status", "error"]
    metrics = names.index("test_mse")
    assert names[metrics - 1] == "seed"
    assert {*names[7:metrics]} == {
        "quantizer", "dimension", "codebook_size", "factors", "train_samples", "init_bound", "learning_rate",
        "schedule", "steps", "batch_size", "slices", "start", "restarts", "max_iterations", "stages", "beam",
        "trained_on", "additive_codebooks", "training_rounds", "factory_string", "features", "levels", "sign_bits",
        "entropy_weight", "library_call", "rotation_start", "rotation_rounds", "seed",
    }  # fmt: skip
    assert names[metrics:] == [
        "test_mse", "train_mse", "untrained_test_mse", "data_variance", "loss_over_variance", "rate_curve_mse",
        "bits_per_vector", "codebook_parameters", "codes_used", "perplexity", "last_relative_change",
        "test_codes_used", "test_perplexity", "entropy_bits_per_vector", "unseen_codes", "unseen_codes_low",
        "unseen_codes_high", "vectors_per_code", "codec_bytes", "duration_seconds",
        "search_suggestion", "search_study", "search_objective", "search_stopped_at_step",
        "run_id", "run_commit", "run_versions", "run_host", "run_device", "run_started_at",
    ]  # fmt: skip
    assert curve_schema(EXPERIMENT).names == ["cell_id", "step", "test_mse", "run_started_at"]


@pytest.mark.parametrize("categories", [(), ("start",)])
@pytest.mark.parametrize("has_column", [False, True])
def test_older_rows_have_the_values_of_fields_that_were_added_since(
    folder: Store, has_column: bool, categories: Sequence[str]
) -> None:
    """A store in which no row has the field, and one in which k-means has had one of that name all along."""
    kinds = {"a": ("vq", None), "b": ("dvq", "k-means++"), "c": ("kmeans", "random"), "d": ("not:Found", None)}
    named = [
        row(cell_id, trainable="static_prior", quantizer=quantizer, start=start)
        for cell_id, (quantizer, start) in kinds.items()
    ]
    table = cell_table(EXPERIMENT, named)
    put(folder, "cells/rows.parquet", table if has_column else table.drop_columns(["start"]))
    found = folder.load(categories=categories).set_index("cell_id")["start"]
    expected = {"a": "uniform", "b": "k-means++", "c": "random"} if has_column else {"a": "uniform", "b": "uniform"}
    assert found.dropna().to_dict() == expected
    assert "start" not in folder.load(["cell_id"])


def test_pandas_reads_the_folder_without_help(store: Store) -> None:
    write(store, row("a" * 16, test_mse=0.1 + 0.2), row("b" * 16))
    frame = frame_of(store)
    assert frame.set_index("cell_id")["test_mse"].to_dict() == {"a" * 16: 0.1 + 0.2, "b" * 16: 1.0}


def test_a_missing_or_empty_store_has_no_rows(store: Store) -> None:
    assert store.load().empty
    assert store.load_curves().empty
    assert store.statuses() == {}
    assert store.sweep_text() is None
    store.merge()


def test_writing_a_cell_twice_leaves_one_file_and_one_row(store: Store) -> None:
    write(store, row("a" * 16), row("a" * 16))
    assert files(store) == ["a" * 16 + "-run-20260101T000000.000000.parquet"]
    assert len(store.load()) == 1


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
    folder: Store, first: dict[str, Any], second: dict[str, Any], standing: float
) -> None:
    write(folder, first, row("d"))
    folder.merge()  # puts the first row into a file that the second does not overwrite
    write(folder, second)
    assert len(files(folder)) == 2
    for _ in range(2):
        frame = folder.load().set_index("cell_id")
        assert frame.loc["c", "test_mse"] == standing
        assert len(frame) == 2
        curves = folder.load_curves()
        assert curves.loc[curves["cell_id"] == "c", "test_mse"].to_list() == [standing, standing + 1]
        folder.merge()
    assert len(files(folder)) == len(files(folder, "curves")) == 1
    assert len(frame_of(folder)) == 2
    assert len(frame_of(folder, "curves")) == 4


def test_merging_keeps_every_row_and_is_the_same_twice(store: Store) -> None:
    write(store, *(row(f"{n:016x}", test_mse=n) for n in range(8)))
    before = store.load()
    store.merge()
    merged = files(store)
    assert len(merged) == 1
    assert merged[0].startswith("8-cells-")
    store.merge()
    assert files(store) == merged
    pd.testing.assert_frame_equal(store.load(), before)


def end() -> None:
    raise KeyboardInterrupt


@pytest.mark.long
def test_a_merge_that_died_before_it_removed_the_old_files_doubles_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(store, *(row(f"{n:016x}") for n in range(5)))
    with monkeypatch.context() as patch:
        patch.setattr(Storage, "delete", lambda *_: end())
        with pytest.raises(KeyboardInterrupt):
            store.merge()
    assert (len(files(store, "curves")), len(files(store))) == (6, 5)
    assert len(store.load_curves()) == 10
    with monkeypatch.context() as patch:
        patch.setattr(Storage, "delete", lambda _, paths: None if "/curves/" in str(paths) else end())
        with pytest.raises(KeyboardInterrupt):
            store.merge()
    assert len(files(store)) == 6
    assert len(store.load()) == 5
    store.merge()
    assert len(files(store)) == len(files(store, "curves")) == 1
    assert len(store.load()) == 5
    assert len(frame_of(store, "curves")) == 10


def test_a_merge_holds_ids_as_they_are_and_other_texts_and_lists_as_dictionaries(store: Store) -> None:
    write(store, row("a", codes_used=[4, 4]), row("b", codes_used=[4, 4]))
    store.merge()

    def encodings(part: str, column: str) -> set[str]:
        storage = Storage(store.location)
        (name,) = files(store, part)
        with storage.filesystem.open_input_file(f"{storage.root}/{part}/{name}") as file:
            group = pq.read_metadata(file).row_group(0)
        (found,) = [group.column(i) for i in range(group.num_columns) if group.column(i).path_in_schema == column]
        return {*found.encodings}

    assert "RLE_DICTIONARY" not in encodings("cells", "cell_id")
    for part, column in (("cells", "status"), ("cells", "codes_used.list.element"), ("curves", "cell_id")):
        assert "RLE_DICTIONARY" in encodings(part, column)


def test_large_files_are_left_alone(folder: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dvq_ray.store.merging.ROWS_IN_A_FILE", 4)
    write(folder, *(row(f"{n:016x}") for n in range(4)))
    folder.merge()
    large = files(folder)
    write(folder, row("e" * 16), row("f" * 16))
    folder.merge()
    assert set(large) < set(files(folder))
    assert len(files(folder)) == 2
    assert len(folder.load()) == 6


def test_two_stores_merging_at_once_lose_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    write(store, *(row(f"{n:016x}") for n in range(6)))
    other = Store(store.location)
    original = Merger.replace

    def meanwhile(self: Merger, *arguments: Any) -> None:
        monkeypatch.setattr(Merger, "replace", original)
        other.merge()
        original(self, *arguments)

    monkeypatch.setattr(Merger, "replace", meanwhile)
    store.merge()
    assert len(store.load()) == 6


def test_a_filter_may_read_columns_that_are_not_requested(store: Store) -> None:
    write(store, row("a", test_mse=1.0), row("b", test_mse=2.0))
    frame = store.load(columns=["cell_id"], where=pc.field("test_mse") > 1.5)
    assert frame.to_dict("records") == [{"cell_id": "b"}]


def test_a_filter_sees_only_the_row_that_stands(folder: Store) -> None:
    write(folder, row("a", status="error", test_mse=9.0), row("b"))
    folder.merge()
    write(folder, row("a", test_mse=1.0, minute=1))
    assert folder.load(where=pc.field("test_mse") > 5).empty


def test_columns_of_every_kind_follow_their_ids_whatever_files_they_are_in(folder: Store) -> None:
    kept: dict[str, tuple[list[int] | None, str | None, float]] = {
        "d": ([4, 4, 4], "vq", 4.0), "a": ([], "dvq", 1.0), "c": (None, None, 3.0), "b": ([2, 1], "vq", 2.0),
    }  # fmt: skip
    named = [
        row(cell_id, test_mse=mse, codes_used=codes, quantizer=quantizer)
        for cell_id, (codes, quantizer, mse) in kept.items()
    ]
    for place, some in enumerate((named[:3], named[3:])):
        put(folder, f"cells/{place}.parquet", cell_table(EXPERIMENT, some))
    for frame in (folder.load(), folder.load(categories=["quantizer"]), load_results(folder.location)):
        texts = frame["quantizer"].astype(object)
        lists = [None if each is None or each is pd.NA else list(each) for each in frame["codes_used"]]
        assert frame["cell_id"].tolist() == ["a", "b", "c", "d"]
        assert lists == [[], [2, 1], None, [4, 4, 4]]
        assert texts.where(texts.notna(), None).tolist() == ["dvq", "vq", None, "vq"]
        assert frame["test_mse"].tolist() == [1.0, 2.0, 3.0, 4.0]


@pytest.mark.parametrize("sort", [True, False])
@pytest.mark.parametrize("values", [(40, 40), (100, 100), (300, 300), (40, 300), (300, 100)])
def test_categories_are_the_values_of_the_columns_however_many_there_are_in_each_file(
    folder: Store, values: tuple[int, int], sort: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A byte numbers 40 and 40 together, 100 and 100 only apart, and 300 not at all."""
    monkeypatch.setattr("dvq_ray.store.parquet_files._MANY_ROWS", 1)
    for part, count in enumerate(values):
        named = [
            row(
                f"{1 - part}-{i:03}",
                sweep=f"sweep {part} {i}",
                dimension=1000 * part + i,
                learning_rate=None if i % 3 else i / 7,
            )
            for i in range(count)
        ]
        put(folder, f"cells/{part}.parquet", cell_table(EXPERIMENT, named))
    names = ["sweep", "dimension", "learning_rate"]
    found, expected = folder.load(categories=names, sort=sort), folder.load()
    assert found["cell_id"].is_monotonic_increasing == sort
    found = found.sort_values("cell_id", ignore_index=True)
    for name in names:
        assert isinstance(found[name].dtype, pd.CategoricalDtype)
        assert (
            found[name].astype(object).fillna("none").tolist() == expected[name].astype(object).fillna("none").tolist()
        )
    plain = [name for name in expected if name not in names]
    pd.testing.assert_frame_equal(found[plain], expected[plain], check_exact=True)


def test_some_cells_are_read_alone_and_each_by_the_row_that_stands(store: Store) -> None:
    write(store, row("b", status="error", minute=1), row("a"), row("c"))
    write(store, row("b", test_mse=7.0))
    found = store.load_cells(["c", "b", "z"], ["cell_id", "test_mse"])
    assert found.to_dict("list") == {"cell_id": ["b", "c"], "test_mse": [7.0, 1.0]}
    put(store, "cells/older.parquet", cell_table(EXPERIMENT, [row("old")]).drop_columns(["test_mse"]))
    assert store.load_cells(["old"], ["test_mse"])["test_mse"].isna().all()
    assert store.load_cells(["z"], ["test_mse"]).empty
    with pytest.raises(StoreError, match="no file has the column nothing"):
        store.load_cells(["c"], ["nothing"])


def test_files_of_an_older_version_are_read_with_their_missing_columns_empty(store: Store) -> None:
    write(store, row("a"))
    storage = Storage(store.location)
    whole = pq.read_table(f"{storage.root}/cells/{single('a')}", filesystem=storage.filesystem)
    old = whole.drop_columns(["perplexity"])
    write(store, row("b", perplexity=[2.0]))
    put(store, f"cells/{single('a')}", old)
    frame = store.load().set_index("cell_id")
    assert frame["perplexity"].isna().to_dict() == {"a": True, "b": False}
    assert frame["perplexity"]["b"] == [2.0]


def test_a_file_that_an_earlier_version_was_killed_before_it_synced_is_read_and_merged(folder: Store) -> None:
    write(folder, row("a"))
    cells = Path(folder.location, "cells")
    (path,) = cells.iterdir()
    path.rename(cells / f"_{path.name}")
    write(folder, row("b"))
    folder.merge()
    assert [*folder.statuses()] == ["a", "b"]
    assert [path.name[0] for path in cells.iterdir()] == ["2"]


def test_a_broken_file_is_named(store: Store) -> None:
    write(store, row("a"), row("b"))
    put(store, f"cells/{single('b')}", b"PAR1 no more")
    with pytest.raises(StoreError, match=r"b-run-\d+T\d+\.\d+\.parquet cannot be read"):
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
    remove(store, f"cells/{single('b', run_id='other')}")
    store.merge()
    write(store, row("b", run_id="other"), curve=False)
    assert store.load_curves()["cell_id"].to_list() == ["a", "a", "b", "b"]


def test_merging_drops_the_curve_of_a_worker_that_died_before_its_row(folder: Store) -> None:
    write(folder, row("a", run_id="died", test_mse=5.0))
    remove(folder, f"cells/{single('a', run_id='died')}")
    write(folder, row("a", minute=1), row("b"))
    folder.merge()
    curves = frame_of(folder, "curves")
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


def test_a_checkpoint_that_cannot_be_read_is_set_aside_as_it_is(store: Store) -> None:
    store.write_checkpoint("aa", b"no state")
    aside = store.reject_checkpoint("aa")
    assert store.read_checkpoint("aa") is None
    assert [info.path for info in store.files_below("checkpoints")] == [aside]
    assert Storage(store.location).get(aside) == b"no state"


def test_results_are_loaded_from_there_with_a_filter(store: Store) -> None:
    write(store, row("a", test_mse=1.0, quantizer="vq"), row("b", test_mse=2.0, quantizer="dvq"))
    store.merge()
    frame = load_results(store.location, columns=["cell_id", "store"], where=[("quantizer", "==", "dvq")])
    assert frame.to_dict("records") == [{"cell_id": "b", "store": store.location}]


def test_a_store_is_held_against_its_own_sweep_file(store: Store) -> None:
    spec = parse_sweep(TINY, "tiny.yaml")
    store.write_sweep(spec.as_yaml())
    write(store, row("a", quantizer="vq"))
    found = coverage(store)
    assert isinstance(found, Coverage)
    assert (found.wanted, found.missing, found.unwanted) == (8, 8, 1)
    assert found.sweep_text == spec.as_yaml()


def test_trying_whether_it_can_be_written_leaves_nothing_to_read(store: Store) -> None:
    store.check_writable()
    assert not store.exists()
    write(store, row("a"))
    before = files(store)
    store.check_writable()
    assert files(store) == before
    assert [info.base_name for info in store.files_below("cells")] == before


NO_KEYS = {"city": ["Bern"], "degrees": [3.5]}


def broken(kind: str) -> bytes | pa.Table:
    """What is not a file of a store, for one reason."""
    good = pa.Table.from_pylist([row("b", seed=1)], cell_schema(EXPERIMENT))
    if kind == "cut off":
        sink = io.BytesIO()
        pq.write_table(good, sink)
        return sink.getvalue()[:-100]
    if kind == "of something else":
        return pa.table(NO_KEYS)
    if kind == "of other types":
        return good.set_column(good.schema.get_field_index("seed"), "seed", pa.array(["one"]))
    if kind == "of types that do not go with ours":
        return good.set_column(good.schema.get_field_index("seed"), "seed", pa.array([1.5]))
    if kind == "without ids":
        return good.set_column(0, "cell_id", pa.array([None], pa.string()))
    return b"no Parquet at all"


@pytest.mark.long
@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("cut off", "cannot be read"),
        ("no Parquet", "cannot be read"),
        ("of something else", "is not a file of a store: it has no column cell_id, status, run_started_at"),
        ("of other types", "the column seed holds string, and should hold int64"),
        ("of types that do not go with ours", "the column seed holds double, and should hold int64"),
        ("without ids", "there are rows without cell_id"),
    ],
)
def test_a_file_that_cannot_be_read_is_set_aside_and_the_rest_is_read(store: Store, kind: str, reason: str) -> None:
    write(store, row("a", seed=0), row("c", seed=2))
    put(store, "cells/bad.parquet", broken(kind))
    storage = Storage(store.location)
    bad = f"{storage.root}/cells/bad.parquet"
    content = storage.get(bad)
    with pytest.raises(StoreError):
        assert store.load()["cell_id"].notna().all()
    (aside,) = store.set_aside_unreadable()
    assert aside.path == bad
    assert reason in aside.reason
    assert aside.moved_to.startswith(f"{storage.root}/set_aside/cells/bad.parquet-")
    assert storage.get(aside.moved_to) == content
    assert list(store.statuses()) == ["a", "c"]
    assert store.set_aside_unreadable() == []
    assert [info.path for info in store.files_below("set_aside")] == [aside.moved_to]


def test_a_row_outlives_a_curve_that_is_set_aside(store: Store) -> None:
    write(store, row("a"), row("b"))
    put(store, f"curves/{single('a')}", b"PAR1 no more")
    (aside,) = store.set_aside_unreadable()
    assert aside.path.endswith(f"curves/{single('a')}")
    assert list(store.statuses()) == ["a", "b"]
    assert set(store.load_curves()["cell_id"]) == {"b"}


def test_a_merge_of_a_store_with_a_broken_file_names_it_and_loses_nothing(store: Store) -> None:
    write(store, row("a"), row("b"))
    for part in ("curves", "cells"):
        put(store, f"{part}/{single('a')}", b"PAR1 no more")
        with pytest.raises(StoreError, match=rf"{part}/{single('a')} cannot be read"):
            store.merge()
    assert len(store.set_aside_unreadable()) == 2
    assert list(store.statuses()) == ["b"]


# What somebody else put there


class Trap:
    """Leaves a mark where it is unpickled."""

    def __init__(self, mark: str) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return Path(self.mark).touch, ()


def test_nothing_in_a_parquet_file_is_unpickled(store: Store, tmp_path: Path) -> None:
    mark = tmp_path / "unpickled"
    trap = pickle.dumps(Trap(str(mark)))
    hostile = pa.field("perplexity_of_ours", pa.int64(), metadata={
        b"ARROW:extension:name": b"arrow.py_extension_type", b"ARROW:extension:metadata": trap,
    })  # fmt: skip
    table = pa.Table.from_pylist([row("b")], cell_schema(EXPERIMENT))
    table = table.append_column(hostile, pa.array([1]))
    put(store, "cells/b.parquet", table.replace_schema_metadata({b"pandas": trap, b"PANDAS_ATTRS": trap}))
    write(store, row("a"))
    assert store.set_aside_unreadable() == []
    assert list(store.load()["cell_id"]) == ["a", "b"]
    store.merge()
    assert list(store.load()["cell_id"]) == ["a", "b"]
    assert not mark.exists()
    pickle.loads(trap)
    assert mark.exists()


def test_columns_stay_columns_whatever_a_file_says_to_pandas(folder: Store) -> None:
    told = json.dumps({"index_columns": ["cell_id", "status"], "columns": [], "column_indexes": []})
    for cell_id in ("a", "b"):
        table = pa.Table.from_pylist([row(cell_id)], cell_schema(EXPERIMENT))
        put(folder, f"cells/{cell_id}.parquet", table.replace_schema_metadata({"pandas": told}))
    assert list(folder.load()["cell_id"]) == ["a", "b"]
    assert list(load_results(folder.location)["cell_id"]) == ["a", "b"]
    folder.merge()
    assert folder.statuses() == {"a": "ok", "b": "ok"}


def test_a_long_text_is_kept(folder: Store) -> None:
    error = "x" * 5_000_000
    write(folder, row("a", status="error", error=error), row("b"))
    folder.merge()
    assert folder.load(["error"])["error"].dropna().to_list() == [error]


def test_what_is_not_a_file_is_skipped(tmp_path: Path) -> None:
    store = Store(tmp_path / "sweep")
    write(store, row("a"), row("b"))
    folder = tmp_path / "sweep" / "cells"
    (folder / "x.parquet").mkdir()
    (folder / "loop.parquet").symlink_to(folder / "loop.parquet")
    (folder / "nowhere.parquet").symlink_to(tmp_path / "nowhere")
    assert list(store.statuses()) == ["a", "b"]
    assert store.set_aside_unreadable() == []
    store.merge()
    assert list(store.statuses()) == ["a", "b"]


@pytest.mark.parametrize("name", ["../x", "..", "", "a/b", "/a", "a\\b", "a\nb", ".hidden", "a\0"])
def test_names_cannot_lead_out_of_the_store(store: Store, name: str) -> None:
    for act in (
        lambda: Store.under(store.location, name),
        lambda: store.write_artifact("aa", name, b""),
        lambda: store.write_artifact(name, "x", b""),
        lambda: store.read_artifact("aa", name),
        lambda: store.write_checkpoint(name, b""),
        lambda: store.drop_checkpoint(name),
        lambda: store.reject_checkpoint(name),
        lambda: write(store, row(f"{name}/a")),
        lambda: write(store, row("a", run_id=f"{name}/b")),
    ):
        with pytest.raises(StoreError, match="cannot be the name of a file"):
            act()
    assert not store.exists()


def test_a_listing_that_misses_a_file_and_what_it_was_merged_into_is_not_believed(
    folder: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(folder, row("a"), row("b"), row("c"))
    listings = [folder._reader.files("cells")]
    folder.merge()
    listings.append(folder._reader.files("cells"))
    torn = listings[0][2:]  # listed while the others went, and before the merged file was seen
    answers = iter([torn])
    files = folder._reader.files
    monkeypatch.setattr(folder._reader, "files", lambda part: next(answers, None) or files(part))
    assert list(folder.statuses()) == ["a", "b", "c"]


def test_summaries_of_groups_are_those_of_the_rows_that_stand(folder: Store) -> None:
    for minute, values in enumerate([(1.0, 2.0, 4.0), (1.5, float("nan"), 8.0)]):
        for place, value in enumerate(values):
            cell = f"{place + 2 * minute:016x}"  # the third one of the first round is tried again
            write(folder, row(cell, test_mse=value, quantizer="vq", dimension=place % 2, minute=minute))
        write(folder, row(f"{9 + minute:016x}", status="error", test_mse=100.0, quantizer="vq", dimension=0))
    write(folder, row("f" * 16, test_mse=3.0, quantizer="dvq", dimension=0))
    frame = load_results(folder.location)
    used = frame[(frame["status"] == "ok") & frame["test_mse"].notna()]
    wanted = used.groupby(["quantizer", "dimension"])["test_mse"].agg(["count", "mean", "std"]).reset_index()
    for _ in ("file by file", "merged"):
        found = folder.summaries(["quantizer", "dimension"], "test_mse")
        assert found["n"].tolist() == wanted["count"].tolist()
        assert found["quantizer"].tolist() == wanted["quantizer"].tolist()
        assert found["mean"].to_numpy() == pytest.approx(wanted["mean"].to_numpy(float))
        assert found["deviation"].to_numpy() == pytest.approx(wanted["std"].to_numpy(float), nan_ok=True)
        folder.merge()


def test_summaries_go_by_made_up_ids_too_and_need_the_column(folder: Store) -> None:
    write(folder, row("a", status="error"), row("b", test_mse=2.0))
    write(folder, row("a", minute=1, test_mse=4.0))
    (line,) = folder.summaries(["status"], "test_mse").to_dict("records")
    assert (line["n"], line["mean"]) == (2, 3.0)
    with pytest.raises(StoreError, match="no file has the column mse"):
        folder.summaries(["status"], "mse")
    assert Store(f"{folder.location}_2").summaries(["status"], "test_mse").empty


def test_ids_are_in_the_order_of_their_text_whatever_they_are() -> None:
    hexadecimal = [f"{number:016x}" for number in (2**64 - 1, 3, 2**63, 10, 0xABCDEF)]
    for ids in (hexadecimal, [*hexadecimal, "A" * 16], [*hexadecimal, "a"], ["b", "ä", "a"]):
        for arrays in (
            [pa.array(ids)],
            [pa.array(["x", *ids])[1:]],
            [pa.array(ids[:1], pa.large_string()), pa.array(ids[1:])],
        ):
            keys = keys_of_ids(arrays)
            assert [ids[place] for place in np.argsort(keys)] == sorted(ids, key=str.encode)
            assert not len(repeated(keys))
        keys = keys_of_ids([pa.array([*ids, ids[0]]), pa.array(ids[:1])])
        assert repeated(keys).tolist() == [keys[0]]
