"""One Parquet file of a store, whoever wrote it: its rows in the types of a store, or why it is not of one.

pandas and polars write back other types than they read (`large_string`, `int32`, nanoseconds, categories). Where a cast
loses nothing it is made; the file need not be written again. And a store may come from anywhere: a file of a few
kilobytes that says one long text thousands of times would take gigabytes, so sizes are checked before anything is
decoded.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from typing import TypeAlias

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pyarrow.types as kinds

from dvq_ray.store.columns import first_line, known_kinds

MOST_EXPANSION, ALWAYS_ALLOWED = 1000, 1 << 20
"""Times its own size that a file may take once it is decoded, and bytes that any may take. Equal errors of thousands of
cells, well compressed, take 700 times."""
MOST_IN_A_BYTE = 128
"""The most values that a dictionary can have whose indices are signed bytes."""
_MANY_ROWS = 1000
"""In a file with fewer rows, small indices for text cost more time than they are worth."""
_PANDAS_INDEX = re.compile(r"__index_level_\d+__")
_WIDTHS = {"BOOLEAN": 1, "INT32": 8, "INT64": 8, "INT96": 12, "FLOAT": 8, "DOUBLE": 8}
"""Bytes in memory of a value of Parquet's types; a text has no fixed number of them."""
_LONGEST_DECIMAL = 32
_SHORTENING = {"RLE_DICTIONARY", "PLAIN_DICTIONARY", "DELTA_BYTE_ARRAY"}
"""Encodings in which texts take fewer bytes than in memory."""
Piece: TypeAlias = tuple[pa.Schema, pa.Table]
"""The columns of a whole file, and what was read of them."""


class UnusableFileError(ValueError):
    """A file that is not of a store. Says why, as the end of a sentence that its path begins."""


def read_piece(
    file: pa.NativeFile,
    keys: Collection[str],
    columns: Sequence[str] | None = None,
    as_dictionaries: Collection[str] = (),
    *,
    without: Collection[str] = (),
    ahead: bool = False,
) -> Piece:
    """The columns that are requested, or all but some, in a store's types; those that it does not have are left out.

    Columns of text and numbers may come as dictionaries, which are many times lighter where values are few. With
    `ahead`, parts of the file are requested together. Raises `UnusableFileError` where a row has no value for one of
    the `keys`, where a column holds something else than it should, and where the file would take far more memory than
    it has bytes; and whatever pyarrow raises where it is no Parquet file.
    """
    metadata, schema = _opened(file, keys)
    names = [name for name in schema.names if (name not in without if columns is None else name in columns)]
    size, unsure = _size_by_footer(file, metadata, names)
    few = {name: _kind(name, schema.field(name).type) for name in names if name in as_dictionaries}
    texts = {name for name, kind in few.items() if _is_text(kind)}
    numbers = {name for name, kind in few.items() if _is_number(kind)}
    reader = pq.ParquetFile(file, metadata=metadata, read_dictionary=[*texts.union(unsure)], pre_buffer=ahead)
    read = reader.read(names, use_threads=False)
    _check_texts(file, size, read.select(unsure))
    cast = {name: _cast(name, read[name], keep_dictionary=name in texts) for name in names}
    shrunk = texts | numbers if metadata.num_rows >= _MANY_ROWS else numbers
    table = pa.table(cast | {name: _with_small_indices(cast[name]) for name in shrunk})
    if empty := [name for name in keys if name in names and table[name].null_count]:
        raise UnusableFileError(f" is not a file of a store: there are rows without {', '.join(empty)}")
    return _in_kinds(schema), table


def check_piece(file: pa.NativeFile, keys: Collection[str]) -> pa.Schema:
    """The columns of a file. Raises as `read_piece` does, as far as its footer, keys and unusual columns tell."""
    metadata, schema = _opened(file, keys)
    _check_size(file, metadata, schema.names)
    unusual = [field.name for field in schema if not _is_as_written(field)]
    return read_piece(file, keys, [*keys, *unusual])[0]


def problem_of_content(content: bytes, keys: Collection[str]) -> str:
    """Why this is not a file of a store, as the end of a sentence that its path begins; empty where it is one."""
    try:
        read_piece(pa.BufferReader(content), keys)
    except UnusableFileError as error:
        return str(error)
    except (OSError, ValueError, pa.ArrowException) as error:
        return f" cannot be read: {first_line(error)}"
    return ""


def scans_alike(file: pa.NativeFile, keys: Collection[str]) -> tuple[pa.Schema, bool]:
    """The columns of a file, and whether a scan of it gives what `read_piece` does."""
    metadata, schema = _opened(file, keys)
    _check_size(file, metadata, schema.names)
    return _in_kinds(schema), all(_is_as_written(field) for field in schema)


def _opened(file: pa.NativeFile, keys: Collection[str]) -> tuple[pq.FileMetaData, pa.Schema]:
    """What the footer says. Raises `UnusableFileError` where a column is missing, doubled or of something else."""
    metadata = pq.read_metadata(file)
    schema: pa.Schema = metadata.schema.to_arrow_schema().remove_metadata()
    if missing := [name for name in keys if name not in schema.names]:
        raise UnusableFileError(f" is not a file of a store: it has no column {', '.join(missing)}")
    if len({*schema.names}) < len(schema.names):
        raise UnusableFileError(" is not a file of a store: two of its columns have the same name")
    for field in schema:
        if field.name in known_kinds() and not _goes_with(field.type, known_kinds()[field.name]):
            raise UnusableFileError(_mismatch(field.name, field.type))
    return metadata, pa.schema([field for field in schema if not _PANDAS_INDEX.fullmatch(field.name)])


# Types


def _goes_with(kind: pa.DataType, wanted: pa.DataType) -> bool:
    """Whether values of a type can be cast to another where each of them allows it."""
    if kinds.is_dictionary(kind):
        return _goes_with(kind.value_type, wanted)
    if kinds.is_list(wanted):
        return kinds.is_null(kind) or (_is_list(kind) and _goes_with(kind.value_type, wanted.value_type))
    families = (_is_text, kinds.is_timestamp, _is_number, kinds.is_boolean)
    return bool(kinds.is_null(kind)) or any(family(kind) and family(wanted) for family in families)


def _is_text(kind: pa.DataType) -> bool:
    return any(is_kind(kind) for is_kind in (kinds.is_string, kinds.is_large_string, kinds.is_string_view))


def _is_number(kind: pa.DataType) -> bool:
    return any(is_kind(kind) for is_kind in (kinds.is_integer, kinds.is_floating, kinds.is_decimal))


def _is_list(kind: pa.DataType) -> bool:
    arrays = (kinds.is_list, kinds.is_large_list, kinds.is_fixed_size_list, _is_list_view)
    return any(is_kind(kind) for is_kind in arrays)


def _is_list_view(kind: pa.DataType) -> bool:
    return any(is_kind(kind) for is_kind in (kinds.is_list_view, kinds.is_large_list_view))


def _kind(name: str, kind: pa.DataType) -> pa.DataType:
    """The type of a column of a store: the known one, or for a column of others the plain one."""
    if name in known_kinds():
        return known_kinds()[name]
    if kinds.is_dictionary(kind):
        return _kind(name, kind.value_type)
    return pa.string() if _is_text(kind) else kind


def _in_kinds(schema: pa.Schema) -> pa.Schema:
    return pa.schema([(field.name, _kind(field.name, field.type)) for field in schema])


def _is_as_written(field: pa.Field) -> bool:
    return bool(field.type == _kind(field.name, field.type))


def _cast(name: str, column: pa.ChunkedArray, *, keep_dictionary: bool) -> pa.ChunkedArray:
    wanted = _kind(name, column.type)
    if keep_dictionary and not kinds.is_null(column.type):
        wanted = pa.dictionary(pa.int32(), wanted)
    if column.type == wanted or (keep_dictionary and kinds.is_null(column.type)):
        return column
    try:
        if _is_list_view(column.type):  # Arrow 26 casts these to empty lists
            return pa.chunked_array([pa.array(column.to_pylist(), wanted)])
        if kinds.is_floating(column.type) and kinds.is_integer(wanted):  # how numpy says that there is no number
            column = pc.if_else(pc.is_nan(column), None, column)
        return column.cast(wanted)
    except (pa.ArrowException, TypeError, OverflowError) as error:
        raise UnusableFileError(f"{_mismatch(name, column.type)} ({first_line(error)})") from error


def _with_small_indices(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The column as one dictionary, whose indices take one byte each if it has few values. NaN counts as missing."""
    if kinds.is_null(column.type):
        return column
    if kinds.is_floating(column.type):
        column = pc.if_else(pc.is_nan(column), None, column)
    whole = column.dictionary_encode().unify_dictionaries().combine_chunks()
    is_small = len(whole.dictionary) <= MOST_IN_A_BYTE
    indices = whole.indices.cast(pa.int8() if is_small else pa.int32())
    return pa.chunked_array([pa.DictionaryArray.from_arrays(indices, whole.dictionary)])


def _mismatch(name: str, kind: pa.DataType) -> str:
    return f": the column {name} holds {kind}, and should hold {known_kinds().get(name, kind)}"


# Sizes


def _check_size(file: pa.NativeFile, metadata: pq.FileMetaData, names: Sequence[str]) -> None:
    """Raises `UnusableFileError` where these columns would take too much memory, before they do."""
    size, unsure = _size_by_footer(file, metadata, names)
    if unsure:
        reader = pq.ParquetFile(file, metadata=metadata, read_dictionary=unsure)
        _check_texts(file, size, reader.read(unsure, use_threads=False))


def _size_by_footer(file: pa.NativeFile, metadata: pq.FileMetaData, names: Sequence[str]) -> tuple[int, list[str]]:
    """The least bytes that these columns take in memory, and columns of text of which only their values tell.

    Parquet holds equal texts once, and its footer does not say how long they are. Where they could be too long they
    must be read as they are held, as dictionaries. Raises `UnusableFileError` where it is too much already.
    """
    most, total, texts = _most_bytes(file), 0, list[str]()
    for name, chunk, width in _chunks(metadata, names):
        values, held = chunk.num_values, chunk.total_uncompressed_size
        total += max(held, values * (width or 0))
        if width is None and values * held > most and {*chunk.encodings} & _SHORTENING:
            if not name or "DELTA_BYTE_ARRAY" in chunk.encodings:
                where = f"the column {chunk.path_in_schema} could take any amount of memory"
                raise UnusableFileError(f" is not a file of a store: {where}")
            texts += [] if name in texts else [name]
        if total > most:
            break
    _check_bytes(file, total)
    return total, texts


def _check_texts(file: pa.NativeFile, size: int, texts: pa.Table) -> None:
    """Raises `UnusableFileError` where texts, which were read as dictionaries, take too much beside such a size."""
    _check_bytes(file, size + sum(_decoded_bytes(column) for column in texts.columns))


def _check_bytes(file: pa.NativeFile, total: int) -> None:
    if total > _most_bytes(file):
        size = f"it has {file.size():,} bytes, and would take at least {total:,} in memory"
        raise UnusableFileError(f" is not a file of a store: {size}")


def _most_bytes(file: pa.NativeFile) -> int:
    return int(max(MOST_EXPANSION * file.size(), ALWAYS_ALLOWED))


def _chunks(
    metadata: pq.FileMetaData, names: Sequence[str]
) -> Iterator[tuple[str, pq.ColumnChunkMetaData, int | None]]:
    """The chunks that a reader of these columns decodes: the column, empty for a part of one, and the bytes of a value.

    The width of a text is None.
    """
    wanted = {*names}
    leaves = [(place, leaf) for place, leaf in enumerate(metadata.schema) if _is_read(leaf.path, wanted)]
    for group in range(metadata.num_row_groups):
        columns = metadata.row_group(group)
        for place, leaf in leaves:
            is_fixed = leaf.physical_type == "FIXED_LEN_BYTE_ARRAY"
            width = max(leaf.length, _LONGEST_DECIMAL) if is_fixed else _WIDTHS.get(leaf.physical_type)
            is_flat = leaf.path in wanted and leaf.max_repetition_level == 0
            yield leaf.path if is_flat else "", columns.column(place), width


def _is_read(path: str, wanted: Collection[str]) -> bool:
    """Whether pyarrow reads this leaf for one of the columns: it goes by the beginnings of paths."""
    parts = path.split(".")
    return any(".".join(parts[:end]) in wanted for end in range(1, len(parts) + 1))


def _decoded_bytes(column: pa.ChunkedArray) -> int:
    """What a column of text takes that is held as a dictionary."""
    total = 0
    for chunk in column.chunks:
        lengths = pc.binary_length(chunk.dictionary)
        total += pc.sum(lengths.take(chunk.indices)).as_py() or 0
    return total
