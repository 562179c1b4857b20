"""Small files of vectors in every format."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

Rows = npt.NDArray[Any]


def clusters(rows: int, dimension: int = 8, seed: int = 0) -> Rows:
    """Whole numbers from 0 to 255, in float32, so that every format can hold them: [rows, dimension]."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).uniform(40, 215, (8, dimension))
    points = centres[rng.integers(8, size=rows)] + rng.normal(scale=6, size=(rows, dimension))
    return points.round().clip(0, 255).astype(np.float32)


def write_npy(path: Path, rows: Rows) -> None:
    np.save(path, rows)


def write_vecs(kind: str) -> Callable[[Path, Rows], None]:
    """With the numbers as this type."""

    def write(path: Path, rows: Rows) -> None:
        record = np.dtype([("dimension", "<i4"), ("numbers", kind, (rows.shape[1],))])
        records = np.empty(len(rows), record)
        records["dimension"], records["numbers"] = rows.shape[1], rows
        path.write_bytes(records.tobytes())

    return write


def write_lists(path: Path, rows: Rows) -> None:
    pq.write_table(pa.table({"embedding": pa.array([list(map(float, row)) for row in rows])}), path, row_group_size=100)


def write_fixed_lists(path: Path, rows: Rows) -> None:
    flat = pa.array(rows.astype(np.float32).ravel())
    pq.write_table(pa.table({"embedding": pa.FixedSizeListArray.from_arrays(flat, rows.shape[1])}), path)


def write_columns(path: Path, rows: Rows) -> None:
    pq.write_table(pa.table({f"x{number}": column for number, column in enumerate(rows.T)}), path)


def write_hdf5(path: Path, rows: Rows) -> None:
    import h5py

    with h5py.File(path, "w") as file:
        file["train"] = file["test"] = rows


def write_text(delimiter: str, *, names: bool) -> Callable[[Path, Rows], None]:
    """With or without a line of names."""

    def write(path: Path, rows: Rows) -> None:
        lines = [delimiter.join(f"{number:g}" for number in row) for row in rows]
        head = [delimiter.join(f"x{number}" for number in range(rows.shape[1]))] if names else []
        path.write_text("\n".join([*head, *lines, ""]))

    return write


FORMATS: Mapping[str, tuple[str, Callable[[Path, Rows], None]]] = {
    "npy": ("npy", write_npy),
    "npy of float16": ("npy", lambda path, rows: write_npy(path, rows.astype(np.float16))),
    "npy of float64": ("npy", lambda path, rows: write_npy(path, rows.astype(np.float64))),
    "npy of big-endian int64": ("npy", lambda path, rows: write_npy(path, rows.astype(">i8"))),
    "npy in Fortran order": ("npy", lambda path, rows: write_npy(path, np.asfortranarray(rows))),
    "npy of uint8": ("npy", lambda path, rows: write_npy(path, rows.astype(np.uint8))),
    "fvecs": ("fvecs", write_vecs("<f4")),
    "bvecs": ("bvecs", write_vecs("u1")),
    "ivecs": ("ivecs", write_vecs("<i4")),
    "parquet of lists": ("parquet", write_lists),
    "parquet of fixed lists": ("parquet", write_fixed_lists),
    "parquet of columns": ("parquet", write_columns),
    "hdf5": ("hdf5", write_hdf5),
    "csv": ("csv", write_text(",", names=False)),
    "csv with names": ("csv", write_text(",", names=True)),
    "tsv": ("tsv", write_text("\t", names=True)),
}
"""By a name: the format, and what writes a file of it."""


def described(folder: Path, name: str, train: Rows, test: Rows | None = None, **more: Any) -> Mapping[str, Any]:
    """Writes a data set into a folder. Gives its description, as in a sweep file's `data`."""
    kind, write = FORMATS[name]
    folder.mkdir(parents=True, exist_ok=True)
    write(folder / f"train.{kind}", train)
    found = {"format": kind, "train": str(folder / f"train.{kind}"), **more}
    if test is not None:
        write(folder / f"test.{kind}", test)
        found["test"] = str(folder / f"test.{kind}")
    return found
