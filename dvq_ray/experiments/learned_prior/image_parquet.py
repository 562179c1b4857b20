"""A column of encoded images in Parquet files, on this machine or at a URI."""

from __future__ import annotations

import io
import os
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from dvq_ray.experiment.locations import LocationError, files_at, shown_file
from dvq_ray.experiments.learned_prior.image_decoding import Header, read_header
from dvq_ray.experiments.learned_prior.image_folders import MOST_BYTES
from dvq_ray.experiments.learned_prior.sources import ImagesError

MOST_CHECKED_BYTES = 4 * 2**30
"""Of a split's files, decompressed: more than that is read when it is used, and not before the start."""
_BOMB_BYTES, _BOMB_RATIO = 64 * 2**20, 200
"""What this much larger than its file is holds no images, which hardly compress any further."""
_ROWS_AT_ONCE = 64
"""A few bytes of a file may stand for the same large image over and over."""
_PATHS_REMEDY = (
    "The column holds paths in place of images. Write the files' bytes into it (of a datasets.Dataset: "
    ".with_format('arrow').map(datasets.table.embed_table_storage, batched=True)), or describe them as format: folder"
)


@dataclass(frozen=True, kw_only=True)
class _File:
    shown: str
    """Its name for a user."""
    identity: str
    """The same for all names of a file."""
    parquet: pq.ParquetFile
    column: str
    leaves: tuple[str, ...]
    """Of the column, as Parquet names them: the bytes, and the paths where it has any."""

    def rows(self, row_groups: Iterable[int] | None = None) -> Iterator[tuple[bytes | None, str | None]]:
        """Encoded image and path of each row."""
        groups = range(self.parquet.num_row_groups) if row_groups is None else row_groups
        for batch in self.parquet.iter_batches(_ROWS_AT_ONCE, row_groups=list(groups), columns=list(self.leaves)):
            values = batch.column(self.column)
            if not pa.types.is_struct(values.type):
                yield from ((value, None) for value in values.to_pylist())
            elif len(self.leaves) == 1:
                yield from ((value, None) for value in values.field("bytes").to_pylist())
            else:
                yield from zip(values.field("bytes").to_pylist(), values.field("path").to_pylist(), strict=True)

    @property
    def row_groups(self) -> list[pq.RowGroupMetaData]:
        """What the footer says of each."""
        metadata = self.parquet.metadata
        return [metadata.row_group(group) for group in range(metadata.num_row_groups)]

    def groups_with_nulls(self) -> Iterator[int]:
        """Row groups in which images are null, by the footer. A damaged footer makes pyarrow end the process here."""
        schema = self.parquet.schema
        column = next(i for i in range(len(schema)) if schema.column(i).path == self.leaves[0])
        for number, group in enumerate(self.row_groups):
            statistics = group.column(column).statistics
            if statistics is not None and statistics.null_count:
                yield number


class ParquetImages:
    """The images of one split: the rows of one file, or of several in the order of their names.

    Opening it reads the footers. Raises `ImagesError` where there is no file, one cannot be read, or the column is not
    there or holds no bytes.
    """

    def __init__(self, location: str, column: str) -> None:
        self._is_remote = "://" in location
        self._files: list[_File] = []
        for filesystem, path in _matching(location):
            shown = shown_file(location, path)
            identity = os.path.realpath(path) if filesystem.type_name == "local" else f"{filesystem.type_name}:{path}"
            try:
                opened = filesystem.open_input_file(path)
                file, size = pq.ParquetFile(opened), opened.size()
                schema = file.schema_arrow
            except Exception as error:  # whatever a broken footer makes of pyarrow
                found = f"that it cannot be read: {error}"
                raise ImagesError.of(shown, expected="a Parquet file", found=found) from error
            leaves = _leaves(schema, column, shown)
            self._files.append(_File(shown=shown, identity=identity, parquet=file, column=column, leaves=leaves))
            _check_sizes(self._files[-1], size)
        self._starts = list(accumulate((file.parquet.metadata.num_rows for file in self._files), initial=0))
        if not len(self):
            raise ImagesError.of(location, expected="one row or more", found="none")

    def __len__(self) -> int:
        return int(self._starts[-1])

    def where(self, index: int) -> str:
        """File, column and row of an image."""
        number = bisect_right(self._starts, index) - 1
        return _where(self._files[number], index - self._starts[number])

    def files(self) -> Mapping[str, str]:
        """The names of the files, by what is the same for all names of a file."""
        return {file.identity: file.shown for file in self._files}

    def notes(self) -> list[str]:
        """What a user would like to know: nothing."""
        return []

    @property
    def is_at_hand(self) -> bool:
        """Whether all rows can be looked at before the start: on this machine, and not too many."""
        sizes = (group.total_byte_size for file in self._files for group in file.row_groups)
        return not self._is_remote and sum(sizes) <= MOST_CHECKED_BYTES

    def encoded(self) -> Iterator[bytes]:
        """The image of each row. Raises `ImagesError`, with the number of the row."""
        for file, row, value, path in self._rows():
            if value is None:
                raise _null(file, row, path)
            yield value

    def headers(self) -> Iterator[Header | ImagesError]:
        """What the images' headers say; of images that are not at hand, the first null of each file alone."""
        if self.is_at_hand:
            return (_header(*row) for row in self._rows())
        return (error for file in self._files for error in self._first_null(file))

    def _rows(self) -> Iterator[tuple[_File, int, bytes | None, str | None]]:
        for file in self._files:
            row = 0
            try:
                for value, path in file.rows():
                    yield file, row, value, path
                    row += 1
            except (OSError, pa.ArrowException) as error:
                found = f"that it cannot be read: {error}"
                raise ImagesError.of(f"{file.shown}, after row {row}", expected="Parquet data", found=found) from error
            if row != file.parquet.metadata.num_rows:
                found, expected = f"{row:,} rows", f"{file.parquet.metadata.num_rows:,} rows, as its footer says"
                raise ImagesError.of(file.shown, expected=expected, found=found)

    def _first_null(self, file: _File) -> Iterator[ImagesError]:
        """Found by the counts in the footer, so that no other images are read."""
        for group in file.groups_with_nulls():
            start = sum(earlier.num_rows for earlier in file.row_groups[:group])
            for row, (value, path) in enumerate(file.rows([group]), start):
                if value is None:
                    yield _null(file, row, path)
                    return


def _check_sizes(file: _File, file_size: int) -> None:
    for number, group in enumerate(file.row_groups):
        size, rows = group.total_byte_size, group.num_rows
        if size > max(_BOMB_BYTES, _BOMB_RATIO * file_size) or size > MOST_BYTES * max(rows, 1):
            found = f"{file_size:,} bytes that become {size:,} in {rows:,} rows"
            raise ImagesError.of(f"{file.shown}, row group {number}", expected="encoded images", found=found)


def state_of_files(location: str) -> list[list[str]]:
    """Path, size in bytes and time of the last change of each file that a path or URI names."""
    files = (filesystem.get_file_info(path) for filesystem, path in _matching(location))
    return [[info.path, str(info.size), str(info.mtime_ns)] for info in files]


def _matching(location: str) -> list[tuple[fs.FileSystem, str]]:
    try:
        return files_at(location, "*.parquet")
    except LocationError as error:
        expected = "a Parquet file"
        raise ImagesError.of(location, expected=expected, found=error.found, remedy=error.remedy) from error


def _leaves(schema: pa.Schema, column: str, shown: str) -> tuple[str, ...]:
    """Raises `ImagesError` where the column holds no bytes."""
    where = f"{shown}, column {column}"
    if column not in schema.names:
        raise ImagesError.of(where, expected="that column", found=f"the columns {', '.join(schema.names)}")
    kind = schema.field(column).type
    bytes_kind = kind
    leaves: tuple[str, ...] = (column,)
    if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        bytes_kind, leaves = kind.field("bytes").type, (f"{column}.bytes",)
        if kind.get_field_index("path") >= 0 and pa.types.is_string(kind.field("path").type):
            leaves += (f"{column}.path",)
    if not (pa.types.is_binary(bytes_kind) or pa.types.is_large_binary(bytes_kind)):
        expected = "encoded images: binary, or struct<bytes: binary, ...>"
        raise ImagesError.of(where, expected=expected, found=str(kind))
    return leaves


def _where(file: _File, row: int) -> str:
    return f"{file.shown}, column {file.column}, row {row} (from 0)"


def _header(file: _File, row: int, value: bytes | None, path: str | None) -> Header | ImagesError:
    if value is None:
        return _null(file, row, path)
    try:
        return read_header(io.BytesIO(value), _where(file, row))
    except ImagesError as error:
        return error


def _null(file: _File, row: int, path: str | None) -> ImagesError:
    if path is None:
        return ImagesError.of(_where(file, row), expected="an encoded image", found="null")
    found = f"null bytes, and in {file.column}.path {path}"
    return ImagesError.of(_where(file, row), expected="an encoded image", found=found, remedy=_PATHS_REMEDY)
