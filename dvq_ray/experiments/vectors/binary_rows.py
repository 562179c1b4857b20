"""Rows of fixed size: NumPy's files, and those of the TEXMEX data sets. Local ones are mapped, not read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import fs

from dvq_ray.experiments.vectors.rows import (
    LARGEST_DIMENSION,
    Block,
    Rows,
    cannot_be_read,
    check_shape,
    check_type,
)
from dvq_ray.experiments.vectors.sources import VectorsError

_NPY = "a .npy file"


class NpyRows(Rows):
    """An array [rows, dimension] in a .npy file."""

    def __init__(self, filesystem: fs.FileSystem, path: str, shown: str) -> None:
        self.shown = shown
        self._opened = _opened(filesystem, path)
        try:
            version = np.lib.format.read_magic(self._opened)
            read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
            self._shape, self._is_fortran, self._type = read[version](self._opened)
        except KeyError as error:
            raise cannot_be_read(shown, _NPY, ValueError("its version is unknown")) from error
        except Exception as error:  # whatever a broken header makes of NumPy and of Python's tokenizer
            raise cannot_be_read(shown, _NPY, error) from error
        check_type(shown, self._type)
        check_shape(shown, self._shape)
        self.dimension = self._shape[1]
        self._start = self._opened.tell()
        expected = self._start + self._shape[0] * self._shape[1] * self._type.itemsize
        if (size := self._opened.size()) < expected:
            found = f"{size:,}, for an array of shape {list(self._shape)}"
            raise VectorsError.of(shown, expected=f"{expected:,} bytes", found=found)

    def blocks(self) -> Iterator[Block]:
        """Rows as they are in the file."""
        row_bytes = self.dimension * self._type.itemsize
        if self._is_fortran:  # no block of rows lies together: a local file is mapped, one at a URI is read whole
            content = _read(self._opened, self._shape[0] * row_bytes, self._start, self.shown)
            rows = np.frombuffer(content, self._type).reshape(self._shape, order="F")
            yield from (rows[at : at + self.rows_at_once()] for at in range(0, len(rows), self.rows_at_once()))
            return
        for start in range(0, self._shape[0], self.rows_at_once()):
            count = min(self.rows_at_once(), self._shape[0] - start)
            content = _read(self._opened, count * row_bytes, self._start + start * row_bytes, self.shown)
            yield np.frombuffer(content, self._type).reshape(count, self.dimension)


class VecsRows(Rows):
    """Rows that each begin with their dimension as int32."""

    def __init__(self, filesystem: fs.FileSystem, path: str, shown: str, *, number: str) -> None:
        self.shown = shown
        self._opened = _opened(filesystem, path)
        self._size = self._opened.size()
        if self._size < 4:
            raise VectorsError.of(shown, expected="one row or more", found=f"{self._size} bytes")
        self.dimension = int(np.frombuffer(_read(self._opened, 4, 0, shown), "<i4")[0])
        if not 1 <= self.dimension <= LARGEST_DIMENSION:
            expected = f"rows of 1 to {LARGEST_DIMENSION:,} numbers, each after their number as int32"
            raise VectorsError.of(shown, expected=expected, found=f"{self.dimension:,} in the first")
        self._record = np.dtype([("dimension", "<i4"), ("numbers", number, (self.dimension,))])

    def blocks(self) -> Iterator[Block]:
        """Rows without their dimension."""
        whole, rest = divmod(self._size, self._record.itemsize)
        for start in range(0, whole, self.rows_at_once()):
            count = min(self.rows_at_once(), whole - start)
            content = _read(self._opened, count * self._record.itemsize, start * self._record.itemsize, self.shown)
            records = np.frombuffer(content, self._record)
            if (other := records["dimension"] != self.dimension).any():
                row = int(np.argmax(other))
                expected = f"{self.dimension} numbers, as in the first row"
                found = f"{int(records['dimension'][row])}"
                raise VectorsError.of(self.row_name(start + row), expected=expected, found=found)
            yield records["numbers"]
        if rest:
            expected = f"{self._record.itemsize} bytes, as the first row has"
            raise VectorsError.of(self.row_name(whole), expected=expected, found=f"the end of the file after {rest}")


def _opened(filesystem: fs.FileSystem, path: str) -> Any:
    """A file that is read anywhere; mapped where it is on this machine."""
    is_local = filesystem.type_name == "local" and filesystem.get_file_info(path).size
    return pa.memory_map(path) if is_local else filesystem.open_input_file(path)


def _read(opened: Any, count: int, start: int, shown: str) -> Any:
    try:
        opened.seek(start)
        content = opened.read_buffer(count)
    except (OSError, pa.ArrowException) as error:
        raise cannot_be_read(shown, f"{count} bytes from {start} on", error) from error
    if len(content) < count:
        raise VectorsError.of(shown, expected=f"{count} bytes from {start} on", found=f"{len(content)}")
    return content
