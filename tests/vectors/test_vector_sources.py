"""Vectors of every format: the same rows, the same train and test, the same subsample, whatever the file."""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from pyarrow import fs

from dvq_ray.experiment.data_sets import DataSource
from dvq_ray.experiment.registry import find_experiment
from dvq_ray.experiments.vectors import data
from dvq_ray.experiments.vectors.data import DataSet, load
from dvq_ray.experiments.vectors.sources import VectorSource
from dvq_ray.testing import SourceContract
from tests.object_storage import ObjectStorage, serving
from tests.vectors.vector_files import FORMATS, Rows, clusters, described

TRAIN, TEST = clusters(300), clusters(60, seed=1)


def source(description: Mapping[str, Any]) -> VectorSource:
    found = find_experiment("vectors").data_sets
    assert found is not None
    return cast(VectorSource, found.formats[description["format"]].model_validate(description))


def read(description: Mapping[str, Any], rows: int = 0) -> DataSet:
    return load(source(description), rows)


def as_set(rows: Rows) -> set[bytes]:
    return {row.tobytes() for row in np.asarray(rows, np.float32)}


class Vectors(SourceContract):
    experiment = "vectors"
    fields = {"quantizer": "kmeans", "codebook_size": 4}
    name: str

    def describe(self, folder: Path) -> Mapping[str, Any]:
        return described(folder, self.name, TRAIN, TEST)

    def read(self, source: DataSource) -> tuple[Any, Any, str]:
        found = load(cast(VectorSource, source), 0)
        return found.train, found.test.probe, found.sha256


class TestNpy(Vectors):
    name = "npy"


class TestFvecs(Vectors):
    name = "fvecs"


class TestBvecs(Vectors):
    name = "bvecs"


class TestIvecs(Vectors):
    name = "ivecs"


class TestParquet(Vectors):
    name = "parquet of lists"


class TestCsv(Vectors):
    name = "csv"


class TestTsv(Vectors):
    name = "tsv"


class TestHdf5(Vectors):
    name = "hdf5"


class TestPatches(Vectors):
    def describe(self, folder: Path) -> Mapping[str, Any]:
        return {"format": "photo_patches"}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_has_the_same_rows_digest_and_order(name: str, tmp_path: Path) -> None:
    found = read(described(tmp_path, name, TRAIN, TEST))
    expected = read(described(tmp_path / "npy", "npy", TRAIN, TEST))
    assert found.sha256 == expected.sha256
    assert (found.train == expected.train).all()
    assert found.test.kept is not None
    assert (found.test.kept == expected.test.kept).all()
    assert as_set(found.train) == as_set(TRAIN)
    assert len(found.train) == len(TRAIN)


@pytest.mark.parametrize("name", FORMATS)
def test_the_order_of_a_file_changes_nothing(name: str, tmp_path: Path) -> None:
    shuffled = np.random.default_rng(0).permutation(len(TRAIN))
    here = read(described(tmp_path / "here", name, TRAIN, holdout=0.2), 100)
    there = read(described(tmp_path / "there", name, TRAIN[shuffled], holdout=0.2), 100)
    assert here.sha256 == there.sha256
    assert (here.train == there.train).all()
    assert (here.test.probe == there.test.probe).all()


def test_fewer_rows_are_among_more(tmp_path: Path) -> None:
    description = described(tmp_path, "npy", TRAIN, TEST)
    few, many, everything = (read(description, rows) for rows in (50, 100, 0))
    assert (few.train == many.train[:50]).all()
    assert (many.train == everything.train[:100]).all()
    assert few.sha256 == everything.sha256, "the data set is the same"
    assert (few.test.database == everything.test.database).all(), "so that recall can be compared"


def test_fewer_rows_of_a_file_that_is_not_kept_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = read(described(tmp_path, "npy", TRAIN, TEST), 50)
    monkeypatch.setattr(data, "_MOST_NUMBERS_KEPT", 100)
    few = read(described(tmp_path / "again", "npy", TRAIN, TEST), 50)
    assert (few.train == kept.train).all()
    assert (few.test.database == kept.test.database).all()
    assert few.sha256 == kept.sha256


def test_holdout_divides_by_content_and_keeps_equal_rows_together(tmp_path: Path) -> None:
    twice = np.concatenate([TRAIN, TRAIN])
    found = read(described(tmp_path, "npy", twice, holdout=0.25))
    assert found.test.kept is not None
    assert as_set(found.train).isdisjoint(as_set(found.test.kept))
    assert len(found.train) + found.test.count == 600
    assert 0.15 < found.test.count / 600 < 0.35
    larger = read(described(tmp_path, "npy", twice, holdout=0.5))
    assert larger.test.kept is not None
    assert as_set(found.test.kept) <= as_set(larger.test.kept), "a larger holdout takes in a smaller one"


def test_another_holdout_or_row_is_another_data_set(tmp_path: Path) -> None:
    changed = TRAIN.copy()
    changed[7, 3] += 1
    digests = {
        read(described(tmp_path / "a", "npy", TRAIN, holdout=0.2)).sha256,
        read(described(tmp_path / "b", "npy", TRAIN, holdout=0.3)).sha256,
        read(described(tmp_path / "c", "npy", changed, holdout=0.2)).sha256,
        read(described(tmp_path / "d", "npy", TRAIN, TEST)).sha256,
    }
    assert len(digests) == 4


def test_a_file_that_was_replaced_is_read_again(tmp_path: Path) -> None:
    first = read(described(tmp_path, "npy", TRAIN, TEST))
    second = read(described(tmp_path, "npy", TRAIN[:200], TEST))
    assert (len(first.train), len(second.train)) == (300, 200)


def test_several_files_are_read_as_one(tmp_path: Path) -> None:
    for number in range(3):
        np.save(tmp_path / f"part-{number}.npy", TRAIN[100 * number : 100 * (number + 1)])
    np.save(tmp_path / "test.npy", TEST)
    several = {"format": "npy", "train": str(tmp_path / "part-*.npy"), "test": str(tmp_path / "test.npy")}
    assert read(several).sha256 == read(described(tmp_path / "one", "npy", TRAIN, TEST)).sha256


@pytest.mark.parametrize("name", ["npy", "fvecs", "parquet of lists", "csv", "hdf5"])
def test_files_at_a_uri_are_the_same_data(name: str, tmp_path: Path) -> None:
    description = dict(described(tmp_path, name, TRAIN, TEST))
    local = read(description)
    remote = read({**description, "train": f"file://{description['train']}", "test": f"file://{description['test']}"})
    assert remote.sha256 == local.sha256


@pytest.fixture(scope="module")
def bucket() -> Iterator[ObjectStorage]:
    with serving() as storage:
        yield storage


@pytest.mark.long
@pytest.mark.parametrize("name", ["npy", "npy in Fortran order", "bvecs", "parquet of lists", "csv", "hdf5"])
def test_files_in_object_storage_are_the_same_data(name: str, tmp_path: Path, bucket: ObjectStorage) -> None:
    description = dict(described(tmp_path, name, TRAIN, TEST))
    local = read(description)
    filesystem, folder = fs.FileSystem.from_uri(bucket.uri(f"vectors-{name.replace(' ', '-')}"))
    for split in ("train", "test"):
        path = Path(description[split])
        with filesystem.open_output_stream(f"{folder}/{path.name}") as stream:
            stream.write(path.read_bytes())
        place, _, query = bucket.uri(folder.partition("/")[2]).partition("?")
        description[split] = f"{place}/{path.name}?{query}"
    assert read(description).sha256 == local.sha256


def test_a_compressed_csv_file_is_read(tmp_path: Path) -> None:
    description = dict(described(tmp_path, "csv", TRAIN, TEST))
    path = Path(description["train"])
    packed = tmp_path / "train.csv.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert read({**description, "train": str(packed)}).sha256 == read(description).sha256


def test_columns_pick_the_vectors_out_of_a_table(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    lines = [f"name {number},{row[0]:g},{row[1]:g},x" for number, row in enumerate(TRAIN)]
    path.write_text("\n".join(["id,first,second,note", *lines]))
    table = {"format": "csv", "train": str(path), "columns": ["second", "first"], "holdout": 0.2}
    expected = read(described(tmp_path / "npy", "npy", TRAIN[:, [1, 0]], holdout=0.2))
    assert read(table).sha256 == expected.sha256


def test_an_hdf5_file_has_train_and_test_in_one(tmp_path: Path) -> None:
    import h5py

    with h5py.File(tmp_path / "both.hdf5", "w") as file:
        file["train"], file["test"], file["neighbors"] = TRAIN, TEST, np.zeros((60, 10), np.int32)
    found = read({"format": "hdf5", "train": str(tmp_path / "both.hdf5")})
    assert found.sha256 == read(described(tmp_path, "npy", TRAIN, TEST)).sha256


def test_test_rows_that_do_not_fit_are_read_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = read(described(tmp_path / "kept", "npy", TRAIN, TEST))
    monkeypatch.setattr(data, "_MOST_NUMBERS_KEPT", 100)
    monkeypatch.setattr(data, "MOST_PROBED", 20)
    monkeypatch.setattr("dvq_ray.experiments.vectors.rows._NUMBERS_AT_ONCE", 80)
    found = read(described(tmp_path / "streamed", "npy", TRAIN, TEST))
    assert found.test.kept is None
    blocks = list(found.test.blocks())
    assert max(map(len, blocks)) == 10
    assert as_set(np.concatenate(blocks)) == as_set(TEST)
    assert (found.test.probe == kept.test.probe[:20]).all()
    assert found.sha256 == kept.sha256
    held = read(described(tmp_path / "held", "npy", TRAIN, holdout=0.2))
    assert sum(map(len, held.test.blocks())) == held.test.count == 300 - len(held.train)
