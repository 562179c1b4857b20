"""The rows of files as blocks of vectors, read one after the other: a file may be larger than the memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from pyarrow import fs

from dvq_ray.experiment.locations import LocationError, files_at, shown_file
from dvq_ray.experiments.vectors.sources import VectorsError

Block = npt.NDArray[Any]
"""[rows, dimension] numbers of the type that the file has."""

_NUMBERS_AT_ONCE = 1 << 22
LARGEST_DIMENSION = 1_000_000
_ALLOWED = "float16, float32, float64 or whole numbers of at most 64 bits"


class Rows(ABC):
    """The rows of one file, or of several. Opening reads no more than headers."""

    shown: str
    """The file as the sweep file names it."""
    dimension: int
    """Numbers in a row."""

    @abstractmethod
    def blocks(self) -> Iterator[Block]:
        """All rows in the order of the file. Raises `VectorsError` at a row that is not like the first."""

    def rows_at_once(self) -> int:
        """In a block."""
        return max(1, _NUMBERS_AT_ONCE // self.dimension)

    def row_name(self, row: int) -> str:
        """A row of this file, for a message; the first is 0."""
        return f"{self.shown}, row {row} (from 0)"


Reader = Callable[[fs.FileSystem, str, str], Rows]
"""Opens one file: its file system, its path there and its name for a user. Raises `VectorsError`."""


class ArrayRows(Rows):
    """Rows that are in memory."""

    def __init__(self, shown: str, array: Block) -> None:
        self.shown, self.dimension, self._array = shown, array.shape[1], array

    def blocks(self) -> Iterator[Block]:
        """All of them."""
        step = self.rows_at_once()
        return (self._array[start : start + step] for start in range(0, len(self._array), step))


class SeveralRows(Rows):
    """The rows of files one after the other."""

    def __init__(self, shown: str, files: Sequence[Rows]) -> None:
        self.shown, self.dimension, self._files = shown, files[0].dimension, files
        for file in files:
            if file.dimension != self.dimension:
                expected = f"rows of {self.dimension} numbers, as in {files[0].shown}"
                raise VectorsError.of(file.shown, expected=expected, found=f"{file.dimension}")

    def blocks(self) -> Iterator[Block]:
        """Those of the first file first."""
        for file in self._files:
            yield from file.blocks()


def opened_files(location: str, ending: str, reader: Reader) -> Rows:
    """The rows at a path or URI. Raises `VectorsError`."""
    found = _files(location, ending)
    files = [reader(filesystem, path, shown_file(location, path)) for filesystem, path in found]
    return files[0] if len(files) == 1 else SeveralRows(location, files)


def state_of_files(location: str, ending: str) -> tuple[tuple[str, int, int], ...]:
    """Path, size in bytes and time of the last change of each file at a path or URI; none where there are no files."""
    try:
        infos = [filesystem.get_file_info(path) for filesystem, path in files_at(location, ending)]
    except LocationError:
        return ()  # opening says what is wrong
    return tuple((info.path, info.size, info.mtime_ns) for info in infos)


def _files(location: str, ending: str) -> list[tuple[fs.FileSystem, str]]:
    try:
        return files_at(location, ending)
    except LocationError as error:
        raise VectorsError.of(location, expected="a file", found=error.found, remedy=error.remedy) from error


def check_type(where: str, kind: np.dtype[Any]) -> None:
    """Raises `VectorsError` for a type that vectors do not have."""
    if kind.kind not in "fiu" or kind.itemsize > 8:
        raise VectorsError.of(where, expected=_ALLOWED, found=str(kind))


def check_shape(where: str, shape: Sequence[int]) -> None:
    """Raises `VectorsError` unless it is that of rows of numbers."""
    if len(shape) != 2:
        raise VectorsError.of(where, expected="an array [rows, dimension]", found=f"one of shape {list(shape)}")
    if not shape[0]:
        raise VectorsError.of(where, expected="one row or more", found="none")
    if not 1 <= shape[1] <= LARGEST_DIMENSION:
        raise VectorsError.of(where, expected=f"rows of 1 to {LARGEST_DIMENSION:,} numbers", found=f"{shape[1]:,}")


def cannot_be_read(where: str, what: str, error: Exception) -> VectorsError:
    """A file that is not what it is said to be, or a disk that fails."""
    reason = str(error).partition("\n")[0] or type(error).__name__
    return VectorsError.of(where, expected=what, found=f"that it cannot be read: {reason}")
