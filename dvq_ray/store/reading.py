"""Reading the Parquet files of a store: many files, of several versions and writers, as one table."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dvq_ray.store.columns import ATTEMPT, KEYS, first_line, known_kinds
from dvq_ray.store.parquet_files import (
    MOST_IN_A_BYTE,
    Piece,
    UnusableFileError,
    check_piece,
    problem_of_content,
    read_piece,
    scans_alike,
)
from dvq_ray.store.storage import OutOfReachError, Storage, StoreError, below, refusal

if TYPE_CHECKING:
    import pyarrow.dataset as ds

_Found = TypeVar("_Found")
FILE = "__filename"
"""The column of the file that a row was read from, where it is requested."""
_LISTINGS = 5
"""Times that a folder is listed whose files other processes merge."""


class Reader:
    """Reads `cells/` and `curves/` of a store. Raises `StoreError`, which names the file, where one cannot be used."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._fs = storage.filesystem

    def files(self, part: str) -> list[str]:
        """The paths of the files in a folder of the store."""
        folder = f"{self._storage.root}/{part}"
        if self._storage.is_local:
            # A search lists its folder after every pack; Arrow's way looks at each file besides.
            with suppress(OSError), os.scandir(folder) as entries:
                names = sorted(entry.name for entry in entries if entry.name.endswith(".parquet") and entry.is_file())
                return [f"{folder}/{name}" for name in names if not name.startswith(".")]
        return [info.path for info in self._storage.files(folder) if info.extension == "parquet"]

    def load(self, part: str, read: Callable[[Sequence[str]], _Found]) -> _Found | None:
        """What `read` gives for the files of a folder, which may be merged meanwhile; None where there is none."""
        for _ in range(_LISTINGS):
            files = self._settled(part)
            if not files:
                return None
            try:
                return read(files)
            except FileNotFoundError:
                time.sleep(0.1)  # merged between listing and reading
        place = below(self._storage.location, part)
        raise StoreError(f"{place}: its files keep changing; try again when no sweep runs on it")

    def _settled(self, part: str) -> list[str]:
        """The files of a folder. A single listing may miss a file and what it was merged into, if that happens then."""
        files = self.files(part)
        for _ in range(_LISTINGS):
            before, files = files, self.files(part)
            if {*before} <= {*files}:
                break
        return files

    def read(
        self,
        files: Sequence[str],
        columns: Sequence[str] | None = None,
        where: pc.Expression | None = None,
        as_dictionaries: Collection[str] = (),
        without: Collection[str] = (),
    ) -> pa.Table:
        """The files as one table with the columns of all of them; a column that a file does not have is empty there.

        Where no `columns` are named these are all but those in `without`. Columns of text and numbers may come as
        dictionaries, which are many times lighter where values are few. Rows for which `where` is not true are not
        read.
        """
        if where is not None:
            return self._scan(files, columns, where)
        pieces = self._each(files, self._piece_of(columns, as_dictionaries, without))
        schema = self._unified([(path, schema) for path, (schema, _) in pieces], columns)
        if not pieces:
            return _with_columns("", schema.empty_table(), columns or schema.names)
        tables = [table if columns is None else _with_columns(path, table, columns) for path, (_, table) in pieces]
        return pa.concat_tables(_with_wide_indices(tables), promote_options="permissive")

    def each_file(
        self,
        files: Sequence[str],
        columns: Sequence[str],
        use: Callable[[str, pa.Table], _Found],
        as_dictionaries: Collection[str] = (),
    ) -> dict[str, _Found]:
        """By file, what `use` makes of its path and its rows, of which only a few files' are in memory at a time."""
        read = self._piece_of(columns, as_dictionaries)

        def one(path: str) -> tuple[pa.Schema, _Found]:
            schema, table = self._on(path, read)
            return schema, use(path, _with_columns(path, table, columns))

        found = dict(zip(files, self._storage.each(one, files), strict=True))
        self._unified([(path, schema) for path, (schema, _) in found.items()], columns)
        return {path: value for path, (_, value) in found.items()}

    def attempts(self, files: Sequence[str]) -> pa.Table:
        """The attempts that files of curves are of, with few repetitions: many times fewer rows than steps."""
        found = self._each(files, lambda file, keys: _without_repetitions(read_piece(file, keys, keys, ["cell_id"])[1]))
        return pa.concat_tables([table for _, table in found] or [ATTEMPT.empty_table()])

    def sizes(self, files: Sequence[str]) -> dict[str, int]:
        """The rows of each file."""
        return dict(self._each(files, lambda file, _: int(pq.read_metadata(file).num_rows)))

    def problems(self, part: str) -> dict[str, str]:
        """Why files of a folder are not of a store, by path; each reason is the end of a sentence.

        Where footers and keys of all files are in order nothing else is looked at. Raises `StoreError` where the
        storage fails, and where files that are each in order do not go together.
        """
        files = self.files(part)
        looks = dict(zip(files, self._storage.each(self._look, files), strict=True))
        self._unified([(path, look) for path, look in looks.items() if isinstance(look, pa.Schema)])
        return {path: look for path, look in looks.items() if isinstance(look, str)}

    def _look(self, path: str) -> pa.Schema | str | None:
        """The columns of a file, or why it is not of a store; None for one that is gone."""
        try:
            return self._on(path, check_piece)
        except FileNotFoundError:
            return None
        except OutOfReachError:
            raise
        except StoreError:
            content = self._storage.get(path)  # raises where not the file but its storage is at fault
            return None if content is None else problem_of_content(content, _keys(path)) or None

    def _scan(self, files: Sequence[str], columns: Sequence[str] | None, where: pc.Expression) -> pa.Table:
        import pyarrow.dataset as ds  # planning a sweep that has no store yet need not wait for it

        looks = self._each(files, scans_alike)
        schema = self._unified([(path, schema) for path, (schema, _) in looks], columns)
        if columns is not None:
            columns = [name for name in columns if name != FILE]
        alike = [path for path, (_, is_alike) in looks if is_alike]
        others = [path for path, (_, is_alike) in looks if not is_alike]

        def scan(dataset: ds.Dataset) -> pa.Table:
            return dataset.to_table(columns=columns, filter=where)

        try:
            tables = [scan(ds.InMemoryDataset(_with_schema(self.read(others), schema)))] if others else []
            if alike or not others:
                factory = ds.FileSystemDatasetFactory(self._fs, alike, ds.ParquetFileFormat())
                found = self._storage.patiently(self._storage.location, lambda: scan(factory.finish(schema)))
                tables.append(found)
        except FileNotFoundError:
            raise
        except (OSError, ValueError, pa.ArrowException) as error:
            raise StoreError(f"{self._storage.location} cannot be read: {first_line(error)}") from error
        return pa.concat_tables(tables)

    def _piece_of(
        self, columns: Sequence[str] | None, as_dictionaries: Collection[str], without: Collection[str] = ()
    ) -> Callable[[pa.NativeFile, Sequence[str]], Piece]:
        """Reads these columns of a file, its parts together where each request takes long."""
        return partial(
            read_piece, columns=columns, as_dictionaries=as_dictionaries, without=without,
            ahead=not self._storage.is_local,
        )  # fmt: skip

    def _each(
        self, files: Iterable[str], action: Callable[[pa.NativeFile, Sequence[str]], _Found]
    ) -> list[tuple[str, _Found]]:
        """What `action` gives for each open file and its keys."""
        return self._storage.each(lambda path: (path, self._on(path, action)), files)

    def _on(self, path: str, action: Callable[[pa.NativeFile, Sequence[str]], _Found]) -> _Found:
        def act() -> _Found:
            with self._fs.open_input_file(path) as file:
                return action(file, _keys(path))

        try:
            return self._storage.patiently(path, act)
        except FileNotFoundError:
            raise
        except UnusableFileError as error:
            raise StoreError(f"{path}{error}") from error
        except (OSError, ValueError, pa.ArrowException) as error:
            raise refusal(path, "read", error) from error

    def _unified(self, schemas: Sequence[tuple[str, pa.Schema]], columns: Sequence[str] | None = None) -> pa.Schema:
        """The columns of files together. Raises `StoreError` where they do not go together or one is missing."""
        unified = unify(schemas)
        missing = [name for name in columns or () if name not in {*unified.names, FILE}]
        if missing and schemas:
            raise StoreError(f"{self._storage.location} cannot be read: no file has the column {', '.join(missing)}")
        absent = pa.schema([(name, known_kinds().get(name, pa.null())) for name in missing])
        return pa.unify_schemas([unified, absent])


def _without_repetitions(attempts: pa.Table) -> pa.Table:
    """The rows that differ from the one before."""
    cells, began = (attempts[name].combine_chunks() for name in ATTEMPT.names)
    codes, moments = cells.indices.to_numpy(), began.cast(pa.int64()).to_numpy()
    is_new = np.ones(len(codes), bool)
    is_new[1:] = (codes[1:] != codes[:-1]) | (moments[1:] != moments[:-1])
    return pa.table([cells, began], ATTEMPT.names).filter(pa.array(is_new)).cast(ATTEMPT)


def _keys(path: str) -> list[str]:
    return KEYS[path.rpartition("/")[0].rpartition("/")[2]]


def unify(schemas: Sequence[tuple[str, pa.Schema]]) -> pa.Schema:
    """The columns of several files or stores together. Raises `StoreError` where two types do not go together."""
    try:
        different = [*dict.fromkeys(schema for _, schema in schemas)]
        return pa.unify_schemas(different or [pa.schema([])], promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise StoreError(_conflict(schemas) or first_line(error)) from error


def _conflict(schemas: Sequence[tuple[str, pa.Schema]]) -> str:
    """The first column that two of them hold in types that do not go together."""
    first: dict[str, tuple[str, pa.Schema]] = {}
    for place, schema in schemas:
        for field in schema:
            if pa.types.is_null(field.type):
                continue  # goes with any other
            known, one = first.setdefault(field.name, (place, pa.schema([field])))
            try:
                pa.unify_schemas([one, pa.schema([field])], promote_options="permissive")
            except (pa.ArrowInvalid, pa.ArrowTypeError):
                kinds = f"holds {one.field(0).type} in {known} and {field.type} in {place}"
                return f"the column {field.name} {kinds}; rename or remove it in one of them"
    return ""


def _with_columns(path: str, table: pa.Table, columns: Sequence[str]) -> pa.Table:
    """These columns of a file. What it does not have is empty; `FILE` is its path."""
    arrays = {}
    for name in columns:
        if name == FILE:
            places = pa.repeat(pa.scalar(0, pa.int32()), table.num_rows)
            arrays[name] = pa.DictionaryArray.from_arrays(places, [path])
        else:
            arrays[name] = table[name] if name in table.column_names else pa.nulls(table.num_rows)
    return pa.table(arrays)


def _with_wide_indices(tables: Sequence[pa.Table]) -> list[pa.Table]:
    """The tables, with wider indices in columns whose dictionaries together have too many values for one byte."""
    held: dict[str, list[pa.Array]] = {}
    for table in tables:
        for name, column in zip(table.column_names, table.columns, strict=True):
            if pa.types.is_dictionary(column.type) and column.type.index_type == pa.int8():
                held.setdefault(name, []).extend(chunk.dictionary for chunk in column.chunks)
    wide = {name for name, dictionaries in held.items() if _count(dictionaries) > MOST_IN_A_BYTE}
    widened = []
    for table in tables:
        for name in wide.intersection(table.column_names):
            kind = table[name].type
            if pa.types.is_dictionary(kind):
                column = table[name].cast(pa.dictionary(pa.int32(), kind.value_type))
                table = table.set_column(table.column_names.index(name), name, column)
        widened.append(table)
    return widened


def _count(dictionaries: Sequence[pa.Array]) -> int:
    """The number of different values in all of them."""
    return sum(map(len, dictionaries)) and len(pa.concat_arrays(dictionaries).unique())


def _with_schema(table: pa.Table, schema: pa.Schema) -> pa.Table:
    return pa.table(
        [
            table[field.name].cast(field.type) if field.name in table.column_names
            else pa.nulls(table.num_rows, field.type)
            for field in schema
        ],
        schema=schema,
    )  # fmt: skip
