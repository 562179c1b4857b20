"""Vectors that cannot be used are reported before anything starts, all at once, each with its own message."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from dvq_ray.cli import compare
from dvq_ray.cli.sweep import main
from dvq_ray.experiments.vectors import data
from dvq_ray.experiments.vectors.sources import VectorsError
from tests.vectors.test_vector_sources import source
from tests.vectors.vector_files import FORMATS, clusters, described, write_text, write_vecs

TRAIN, TEST = clusters(300), clusters(60, seed=1)
Write = Callable[[Path], Any]


def dry_run(tmp_path: Path, sets: Any, *grids: dict[str, Any], **fixed: Any) -> tuple[int, str]:
    """The exit code and all output, with the folder's name taken out."""
    grids = grids or ({"quantizer": "kmeans", "codebook_size": 4},)
    file = {
        "name": "x", "trainable": "vectors", "data": sets if "mine" in sets else {"mine": sets},
        "fixed": {"dataset": "mine", **fixed}, "grids": {f"g{number}": grid for number, grid in enumerate(grids)},
    }  # fmt: skip
    path = tmp_path / "sweep.yaml"
    path.write_text(json.dumps(file))
    done = CliRunner().invoke(main, [str(path), "--results", str(tmp_path / "results"), "--dry-run"])
    assert not (tmp_path / "results").exists()
    return done.exit_code, done.output.replace(f"{tmp_path}/", "")


def npy(rows: Any) -> Write:
    return lambda path: np.save(path, rows)


def table(**columns: Any) -> Write:
    return lambda path: pq.write_table(pa.table(columns), path)


def text(content: str) -> Write:
    return lambda path: path.write_text(content)


def content(value: bytes) -> Write:
    return lambda path: path.write_bytes(value)


def ragged_vecs(path: Path) -> None:
    write_vecs("<f4")(path, TRAIN[:5])
    more = path.with_name("more")
    write_vecs("<f4")(more, TRAIN[:5, :7])
    path.write_bytes(path.read_bytes() + more.read_bytes())


def cut_vecs(path: Path) -> None:
    write_vecs("u1")(path, TRAIN[:5])
    path.write_bytes(path.read_bytes()[:-3])


def cut_npy(path: Path) -> None:
    np.save(path, TRAIN)
    path.write_bytes(path.read_bytes()[:-100])


def with_value(value: float, *rows: int) -> Any:
    broken = TRAIN.astype(np.float64)
    broken[list(rows), 2] = value
    return broken


def hdf5(**datasets: Any) -> Write:
    import h5py

    def write(path: Path) -> None:
        with h5py.File(path, "w") as file:
            for name, rows in datasets.items():
                file[name] = rows

    return write


BAD: dict[str, tuple[str, Write, str]] = {
    "missing": ("npy", lambda path: None, "t.npy: expected a file; found no such file"),
    "a folder": ("npy", lambda path: path.mkdir(), "t.npy: expected a file; found a folder. Write"),
    "not npy": ("npy", content(b"hello"), "t.npy: expected a .npy file; found that it cannot be read: "),
    "empty file": ("npy", content(b""), "t.npy: expected a .npy file; found that it cannot be read: "),
    "strings": ("npy", npy(np.array([["a", "b"]])), "expected float16, float32, float64 or whole numbers of at"),
    "complex": ("npy", npy(np.ones((9, 2), complex)), "found complex128"),
    "booleans": ("npy", npy(np.ones((9, 2), bool)), "found bool"),
    "objects": ("npy", lambda path: np.save(path, np.array([[None]]), allow_pickle=True), "found object"),
    "one axis": ("npy", npy(np.ones(9)), "expected an array [rows, dimension]; found one of shape [9]"),
    "three axes": ("npy", npy(np.ones((9, 2, 2))), "found one of shape [9, 2, 2]"),
    "no rows": ("npy", npy(np.ones((0, 4))), "expected one row or more; found none"),
    "no columns": ("npy", npy(np.ones((4, 0))), "expected rows of 1 to 1,000,000 numbers; found 0"),
    "cut npy": (
        "npy",
        cut_npy,
        "expected 9,728 bytes; found 9,628, for an array of shape [300, 8]",
    ),
    "not a number": (
        "npy",
        npy(with_value(np.nan, 7, 9)),
        "t.npy: expected numbers that are finite in float32; found 2 of 300 rows with another, the first of them row 7 "
        "(from 0)",
    ),
    "infinite": ("npy", npy(with_value(-np.inf, 299)), "found 1 of 300 rows with another, the first of them row 299"),
    "beyond float32": ("npy", npy(with_value(1e39, 0)), "found 1 of 300 rows with another, the first of them row 0"),
    "ragged fvecs": ("fvecs", ragged_vecs, "t.fvecs, row 5 (from 0): expected 8 numbers, as in the first row; found 7"),
    "cut bvecs": (
        "bvecs",
        cut_vecs,
        "t.bvecs, row 4 (from 0): expected 12 bytes, as the first row has; found the end of the file after 9",
    ),
    "empty fvecs": ("fvecs", content(b""), "t.fvecs: expected one row or more; found 0 bytes"),
    "dimension of a text": ("fvecs", content(b"hello world"), "each after their number as int32; found 1,819,043,176"),
    "negative dimension": ("ivecs", content(b"\xff" * 8), "found -1 in the first"),
    "not parquet": ("parquet", content(b"hello" * 9), "t.parquet: expected a Parquet file; found that it cannot"),
    "ragged lists": (
        "parquet",
        table(e=[[1.0, 2.0], [3.0, 4.0], [5.0]]),
        "t.parquet, row 2 (from 0): expected 2 numbers, as in the first row; found 1",
    ),
    "null list": ("parquet", table(e=[[1.0, 2.0], None]), "t.parquet, row 1 (from 0): expected a list of 2 numbers"),
    "null first list": ("parquet", table(e=pa.array([None, [1.0]])), "row 0 (from 0): expected a list of numbers"),
    "null in a list": ("parquet", table(e=[[1.0, None], [2.0, 3.0]]), "found 1 of 2 rows with another, the first"),
    "empty lists": ("parquet", table(e=pa.array([[], []], pa.list_(pa.float32()))), "numbers; found 0"),
    "lists of text": ("parquet", table(e=[["a"], ["b"]]), "column e: expected a column of lists of numbers, or"),
    "text among columns": (
        "parquet",
        table(x=[1.0], name=["a"]),
        "column name: expected a column of lists of numbers, or a column of numbers for each feature; found string. "
        "Name those that hold the vectors: columns: [...]",
    ),
    "two columns of lists": (
        "parquet",
        table(id=["a"], query=[[1.0]], answer=[[2.0]]),
        "column id: expected a column of lists of numbers, or a column of numbers for each feature; found string. "
        "2 columns are lists: query, answer. Name those that hold the vectors: columns: [...]",
    ),
    "null in a column": ("parquet", table(x=[1.0, None], y=[1.0, 2.0]), "the first of them row 1 (from 0)"),
    "parquet without rows": ("parquet", table(x=pa.array([], pa.float32())), "expected one row or more; found none"),
    "empty csv": ("csv", text(""), "t.csv: expected one row or more; found none"),
    "names alone": ("csv", text("a,b\n"), "t.csv: expected one row or more; found none after the names of columns"),
    "ragged csv": (
        "csv",
        text("1,2\n3,4\n5\n"),
        "expected 2 numbers in each row; found line 3: Expected 2 columns, got 1: 5",
    ),
    "words in csv": ("csv", text("1,2\n3,four\n"), "found in column 2: line 2: invalid value 'four'"),
    "column twice": ("csv", text("a,a\n1,2\n"), "expected columns of different names; found 'a' twice"),
    "gap in csv": ("csv", text("a,b\n1,2\n3,\n"), "found 1 of 2 rows with another, the first of them row 1 (from 0)"),
    "tsv with commas": ("tsv", text("1,2\n3,4\n"), "expected 1 numbers in each row; found "),
    "not hdf5": ("hdf5", content(b"hello"), "t.hdf5: expected an HDF5 file; found that it cannot be read: "),
    "no such data set": ("hdf5", hdf5(base=TRAIN), "t.hdf5: expected a data set train; found base"),
    "type of a data set": ("hdf5", hdf5(train=np.ones((3, 2), bool)), "t.hdf5, data set train: expected float16"),
    "shape of a data set": ("hdf5", hdf5(train=np.ones(3)), "data set train: expected an array [rows, dimension]"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_reported_before_the_start(name: str, tmp_path: Path) -> None:
    kind, write, message = BAD[name]
    write(tmp_path / f"t.{kind}")
    code, output = dry_run(tmp_path, {"format": kind, "train": str(tmp_path / f"t.{kind}"), "holdout": 0.5})
    assert code == 2, output
    assert f"mine: t.{kind}" in output
    assert message in output
    assert "Traceback" not in output


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_reported_by_a_comparison_too(name: str, tmp_path: Path) -> None:
    kind, write, message = BAD[name]
    write(tmp_path / f"t.{kind}")
    words = [str(tmp_path / f"t.{kind}"), "--bits", "2", "--results", str(tmp_path / "results"), "--in-process"]
    done = CliRunner().invoke(compare.main, words)
    assert done.exit_code == 2, done.output
    assert message in done.output
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("name", FORMATS)
def test_a_damaged_file_is_reported_or_read_and_nothing_else_happens(name: str, tmp_path: Path) -> None:
    description = described(tmp_path, name, TRAIN[:60], holdout=0.5)
    path, rng = Path(description["train"]), np.random.default_rng(0)
    whole, reported = path.read_bytes(), 0
    for number in range(60):
        damaged = bytearray(whole)
        if number % 3 == 0:
            del damaged[rng.integers(len(whole)) :]
        for place in rng.integers(len(whole) if number % 3 == 1 else min(len(whole), 200), size=3):
            damaged[place : place + 1] = rng.bytes(1)
        path.write_bytes(damaged)
        try:
            data.scan(source(description), "train")
        except VectorsError:
            reported += 1
    assert reported > 10


def test_a_column_that_is_not_there_is_reported_with_those_that_are(tmp_path: Path) -> None:
    for kind, write in (("parquet", table(x=[1.0], y=[2.0])), ("csv", text("x,y\n1,2\n"))):
        write(tmp_path / f"t.{kind}")
        given = {"format": kind, "train": str(tmp_path / f"t.{kind}"), "holdout": 0.5, "columns": ["x", "z"]}
        code, output = dry_run(tmp_path, given)
        assert code == 2
        assert f"mine: t.{kind}: expected a column z; found x, y" in output


@pytest.mark.parametrize(
    ("description", "message"),
    [
        ({"format": "npz", "train": "a"}, 'data.mine.format: found "npz"; did you mean npy?'),
        ({"format": "npy", "train": "a"}, "test is missing; allowed: test, or holdout in its place"),
        ({"format": "npy", "train": "a", "test": "b", "holdout": 0.1}, "test and holdout are both given"),
        ({"format": "npy", "train": "a", "holdout": 1.0}, "holdout"),
        (
            {"format": "npy", "train": "*/a.npy", "holdout": 0.1},
            "allowed: * in the name of the file, not in its folder",
        ),
        ({"format": "csv", "train": "a", "holdout": 0.1, "columns": []}, "columns"),
        ({"format": "photo_patches", "holdout": 0.1}, "holdout"),
    ],
)
def test_a_bad_description_is_reported_with_its_line(description: Any, message: str, tmp_path: Path) -> None:
    code, output = dry_run(tmp_path, description)
    assert code == 2
    assert "sweep.yaml:1" in output
    assert message in output


def test_the_only_column_of_lists_holds_the_vectors(tmp_path: Path) -> None:
    """A file as hubs have it: names and texts beside the embeddings."""
    lists = pa.array([[*map(float, row)] for row in TRAIN], pa.list_(pa.float32()))
    rows = len(TRAIN)
    table(id=range(rows), text=["a"] * rows, tags=[["b"]] * rows, embedding=lists)(tmp_path / "t.parquet")
    description = {"format": "parquet", "train": str(tmp_path / "t.parquet"), "holdout": 0.5}
    assert data.scan(source(description), "train").dimension == TRAIN.shape[1]
    assert data.digest(source(description)) == data.digest(source({**description, "columns": ["embedding"]}))


def test_unequal_dimensions_are_reported(tmp_path: Path) -> None:
    code, output = dry_run(tmp_path, described(tmp_path, "npy", TRAIN, TEST[:, :6]))
    assert code == 2
    assert "mine: test.npy: expected rows of 8 numbers, as in train.npy; found 6" in output


def test_shards_of_unequal_dimensions_are_reported(tmp_path: Path) -> None:
    np.save(tmp_path / "a1.npy", TRAIN)
    np.save(tmp_path / "a2.npy", TRAIN[:, :5])
    code, output = dry_run(tmp_path, {"format": "npy", "train": str(tmp_path / "a*.npy"), "holdout": 0.1})
    assert code == 2
    assert "mine: a2.npy: expected rows of 8 numbers, as in a1.npy; found 5" in output


def test_a_holdout_that_leaves_a_side_empty_is_reported(tmp_path: Path) -> None:
    code, output = dry_run(tmp_path, described(tmp_path, "npy", np.ones((9, 8)), holdout=0.5))
    assert code == 2
    assert "expected rows for training and for testing; found all of its 9 rows on one side at holdout = 0.5" in output


def test_both_files_and_all_data_sets_are_reported_at_once(tmp_path: Path) -> None:
    given = dict(described(tmp_path, "npy", with_value(np.nan, 3), with_value(np.inf, 4)))
    gone = {"format": "npy", "train": str(tmp_path / "gone.npy"), "test": str(tmp_path / "lost.npy")}
    code, output = dry_run(tmp_path, {"mine": given, "other": gone}, dataset=["mine", "other"])
    assert code == 2
    for line in ("mine: train.npy: ", "mine: test.npy: ", "other: gone.npy: ", "other: lost.npy: "):
        assert f"\n{line}" in f"\n{output}"


def test_what_cells_want_of_the_rows_is_reported_for_each(tmp_path: Path) -> None:
    grids = (
        {"quantizer": "kmeans", "codebook_size": [4, 301]},
        {"quantizer": "kmeans", "codebook_size": 4, "slices": 3},
        {"quantizer": "vq", "codebook_size": 512},
        {"quantizer": "dvq", "codebook_size": 400, "slices": 2, "start": "k-means++"},
        {"quantizer": "dvq", "codebook_size": 4, "slices": 5},
        {"quantizer": "kmeans", "codebook_size": 4, "rows": 301},
        {"quantizer": "kmeans", "codebook_size": 64, "rows": 50},
    )
    code, output = dry_run(tmp_path, described(tmp_path, "npy", TRAIN, TEST), *grids)
    assert code == 2
    for line in (
        "mine: kmeans: codebook_size = 301 is larger than train_samples = 300; allowed: at most 300",
        "mine: kmeans: slices = 3 does not divide dimension = 8; allowed: 1, 2, 4, 8",
        "mine: vq has a codebook of 512 codes for 300 training rows; allowed: at most 300",
        "mine: dvq: start = k-means++ picks codebook_size = 400 of train_samples = 300 vectors; allowed: uniform",
        "mine: dvq: slices = 5 does not divide dimension = 8; allowed: 1, 2, 4, 8",
        "mine: found rows = 301, of which there are 300 for training; allowed: at most 300, or 0: all",
        "mine: kmeans: codebook_size = 64 is larger than train_samples = 50; allowed: at most 50",
    ):
        assert line in output.splitlines(), line


def test_more_rows_than_the_memory_holds_are_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dvq_ray.experiments.vectors.data._SHARE_OF_MEMORY", 1e-12)
    code, output = dry_run(tmp_path, described(tmp_path, "npy", TRAIN, TEST))
    assert code == 2
    assert "mine: a fit holds 300 rows of 8 numbers in memory; allowed on this machine: rows = 0" in output


def test_constant_columns_and_shared_rows_are_noted(tmp_path: Path) -> None:
    train = TRAIN.copy()
    train[:, [1, 5]] = 7
    test = np.concatenate([TEST, train[:3]])
    code, output = dry_run(tmp_path, described(tmp_path, "npy", train, test))
    assert code == 0
    assert "note: mine: train.npy: 2 of 8 columns are constant" in output
    assert "note: mine: 3 of 63 test rows are among the training rows" in output


def test_test_rows_that_are_all_training_rows_are_refused(tmp_path: Path) -> None:
    code, output = dry_run(tmp_path, described(tmp_path, "npy", TRAIN, TRAIN[20:50]))
    assert code == 2
    expected = "mine: test.npy: expected test rows that are not among the training rows of train.npy; found all 30"
    assert expected in output


def test_few_rows_for_each_code_and_rows_without_direction_are_noted(tmp_path: Path) -> None:
    train = np.concatenate([TRAIN, np.zeros((1, 8), np.float32)])
    grids = ({"quantizer": "kmeans", "codebook_size": [4, 16]},)
    code, output = dry_run(tmp_path, described(tmp_path, "npy", train, TEST), *grids, normalise=True)
    assert code == 0
    assert "note: mine: 301 training rows are 18.8 for each of 16 codes; below 39 codes fit single rows" in output
    assert "for each of 4 codes" not in output
    assert "note: mine: train.npy: 1 rows are all zeros and have no direction; they stay as they are" in output


def test_hdf5_without_its_package_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = described(tmp_path, "hdf5", TRAIN, TEST)
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    code, output = dry_run(tmp_path, given)
    assert code == 2
    assert "mine: train.hdf5: expected the package h5py; found none installed. pip install 'dvq_ray[hdf5]'" in output


def test_good_files_pass(tmp_path: Path) -> None:
    write_text(",", names=True)(tmp_path / "t.csv", TRAIN)
    code, output = dry_run(tmp_path, {"format": "csv", "train": str(tmp_path / "t.csv"), "holdout": 0.1})
    assert code == 0, output
