"""Rows of a data set in an HDF5 file. The package h5py is optional."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pyarrow import fs

from dvq_ray.experiments.vectors.rows import Block, Rows, cannot_be_read, check_shape, check_type
from dvq_ray.experiments.vectors.sources import VectorsError

_BROKEN = (OSError, RuntimeError, KeyError, ValueError, TypeError)
"""What h5py raises for damaged files."""


class Hdf5Rows(Rows):
    """The data set `key` of a file."""

    def __init__(self, filesystem: fs.FileSystem, path: str, shown: str, *, key: str) -> None:
        try:
            import h5py
        except ImportError as error:
            remedy = "pip install 'dvq_ray[hdf5]', or write the vectors as npy"
            raise VectorsError.of(shown, expected="the package h5py", found="none installed", remedy=remedy) from error
        self.shown = f"{shown}, data set {key}"
        try:
            opened = path if filesystem.type_name == "local" else filesystem.open_input_file(path)
            self._file = h5py.File(opened, "r")
            has = [str(name) for name, value in self._file.items() if isinstance(value, h5py.Dataset)]
            found = self._file[key] if key in has else None
        except _BROKEN as error:
            raise cannot_be_read(shown, "an HDF5 file", error) from error
        if found is None:
            raise VectorsError.of(shown, expected=f"a data set {key}", found=", ".join(has) or "none")
        self._rows: Any = found
        check_type(self.shown, self._rows.dtype)
        check_shape(self.shown, self._rows.shape)
        self.dimension = self._rows.shape[1]

    def blocks(self) -> Iterator[Block]:
        """Rows as they are in the data set."""
        for start in range(0, self._rows.shape[0], self.rows_at_once()):
            try:
                yield self._rows[start : start + self.rows_at_once()]
            except _BROKEN as error:
                raise cannot_be_read(self.row_name(start), "HDF5 data", error) from error
