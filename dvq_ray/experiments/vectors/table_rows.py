"""Rows of tables: Parquet, and text with separators."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pcsv
import pyarrow.parquet as pq
from pyarrow import fs

from dvq_ray.experiments.vectors.rows import Block, Rows, cannot_be_read, check_shape
from dvq_ray.experiments.vectors.sources import VectorsError

_NUMBERS = "numbers"
_LISTS = "a column of lists of numbers, or a column of numbers for each feature"


class ParquetRows(Rows):
    """One column of lists, or a column for each feature.

    Without `columns`, a single column of lists is the vectors; other columns, such as names and texts, are ignored.
    """

    def __init__(self, filesystem: fs.FileSystem, path: str, shown: str, *, columns: Sequence[str] | None) -> None:
        self.shown = shown
        try:
            self._file = pq.ParquetFile(filesystem.open_input_file(path))
            schema = self._file.schema_arrow
        except Exception as error:  # whatever a broken footer makes of pyarrow
            raise cannot_be_read(shown, "a Parquet file", error) from error
        lists = [field.name for field in schema if _is_list(field.type) and _is_number(field.type.value_type)]
        self._columns = _chosen(columns or (lists if len(lists) == 1 else None), schema.names, shown)
        kinds = [schema.field(name).type for name in self._columns]
        self._is_lists = len(kinds) == 1 and _is_list(kinds[0])
        for name, kind in zip(self._columns, kinds, strict=True):
            if not _is_number(kind.value_type if self._is_lists else kind):
                several = f"{len(lists)} columns are lists: {', '.join(lists[:20])}. " if len(lists) > 1 else ""
                remedy = "" if columns else f"{several}Name those that hold the vectors: columns: [...]"
                raise VectorsError.of(f"{shown}, column {name}", expected=_LISTS, found=str(kind), remedy=remedy)
        self.dimension = len(kinds)
        check_shape(shown, (self._file.metadata.num_rows, self.dimension))
        if self._is_lists:
            self.dimension = self._length_of_first()
            check_shape(shown, (self._file.metadata.num_rows, self.dimension))

    def blocks(self) -> Iterator[Block]:
        """Rows of a few thousand at a time."""
        row = 0
        for batch in self._batches(self.rows_at_once()):
            if self._is_lists:
                yield self._from_lists(batch.column(0), row)
            else:
                yield _table(batch)
            row += batch.num_rows

    def _batches(self, rows: int) -> Iterator[pa.RecordBatch]:
        try:
            for batch in self._file.iter_batches(rows, columns=self._columns):
                if batch.num_rows:
                    yield batch.select(self._columns)
        except (OSError, pa.ArrowException) as error:
            raise cannot_be_read(self.shown, "Parquet data", error) from error

    def _length_of_first(self) -> int:
        first = next(self._batches(1)).column(0)
        if first.null_count:
            raise VectorsError.of(self.row_name(0), expected=f"a list of {_NUMBERS}", found="null")
        return len(first.flatten())

    def _from_lists(self, lists: Any, start: int) -> Block:
        if lists.null_count:
            row = start + int(np.argmax(lists.is_null().to_numpy(zero_copy_only=False)))
            raise VectorsError.of(self.row_name(row), expected=f"a list of {self.dimension} numbers", found="null")
        lengths = pc.list_value_length(lists).to_numpy(zero_copy_only=False)
        if (other := lengths != self.dimension).any():
            row = int(np.argmax(other))
            expected = f"{self.dimension} numbers, as in the first row"
            raise VectorsError.of(self.row_name(start + row), expected=expected, found=f"{lengths[row]}")
        numbers: Block = lists.flatten().to_numpy(zero_copy_only=False)
        return numbers.reshape(len(lists), self.dimension)


class CsvRows(Rows):
    """Numbers in text. It is read from the beginning each time, so a file must be worth that."""

    def __init__(
        self, filesystem: fs.FileSystem, path: str, shown: str, *, columns: Sequence[str] | None, delimiter: str
    ) -> None:
        self.shown = shown
        self._filesystem, self._path, self._delimiter = filesystem, path, delimiter
        try:
            with filesystem.open_input_stream(path) as stream:
                first = _first_line(stream)
        except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
            raise cannot_be_read(shown, "text", error) from error
        if not first:
            raise VectorsError.of(shown, expected="one row or more", found="none")
        cells = [cell.strip().strip('"') for cell in first.split(delimiter)]
        self._has_names = not all(map(_is_numeral, cells))
        self._names = cells if self._has_names else [f"column {number}" for number in range(1, len(cells) + 1)]
        if repeated := next((name for name in self._names if self._names.count(name) > 1), None):
            raise VectorsError.of(shown, expected="columns of different names", found=f"{repeated!r} twice")
        self._columns = _chosen(columns, self._names, shown)
        self.dimension = len(self._columns)

    def blocks(self) -> Iterator[Block]:
        """Rows of some megabytes of text at a time."""
        count = 0
        try:
            with self._filesystem.open_input_stream(self._path) as stream:
                for batch in self._reader(stream):
                    if batch.num_rows:
                        yield _table(batch)
                    count += batch.num_rows
        except (OSError, pa.ArrowException) as error:
            expected = f"{self.dimension} numbers in each row"
            raise VectorsError.of(self.shown, expected=expected, found=self._in_words(error)) from error
        if not count:
            raise VectorsError.of(self.shown, expected="one row or more", found="none after the names of columns")

    def _in_words(self, error: Exception) -> str:
        """pyarrow's message with lines and columns as a user counts them."""
        text = re.sub(r"CSV (parse error|conversion error to \w+): ", "", str(error))
        text = re.sub(r"In CSV column #(\d+): ", lambda found: f"in {self._name(int(found[1]))}: ", text)
        return re.sub(r"Row #(\d+)", r"line \1", text)

    def _name(self, number: int) -> str:
        return f"column {self._names[number]}" if self._has_names else self._names[number]

    def _reader(self, stream: Any) -> Any:
        return pcsv.open_csv(
            stream,
            pcsv.ReadOptions(
                use_threads=False, column_names=self._names, skip_rows=int(self._has_names), block_size=1 << 23
            ),
            pcsv.ParseOptions(delimiter=self._delimiter),
            pcsv.ConvertOptions(column_types=dict.fromkeys(self._columns, pa.float64()), include_columns=self._columns),
        )


def _table(batch: pa.RecordBatch) -> Block:
    """A column for each feature as [rows, dimension]; what is null is not a number."""
    return np.stack([column.to_numpy(zero_copy_only=False) for column in batch.columns], axis=1)


def _chosen(columns: Sequence[str] | None, names: Sequence[str], shown: str) -> list[str]:
    if columns is None:
        return list(names)
    if missing := [name for name in columns if name not in names]:
        listed = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
        raise VectorsError.of(shown, expected=f"a column {missing[0]}", found=listed)
    return list(columns)


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _first_line(stream: Any) -> str:
    content = b""
    while b"\n" not in content and (more := stream.read(1 << 16)):
        content += more
    return str(content.partition(b"\n")[0].decode("utf-8-sig")).strip("\r")


def _is_numeral(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
