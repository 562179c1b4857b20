"""Codes that a cell keeps: one file with a row for every training and test vector, or image.

`pandas.read_parquet` reads it. The column `split` says `train` or `test`; the rows of each are in the order of the
data. A column `codebook_L` holds the codes of one codebook: a number, or a list with a number for every position.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pyarrow as pa

FILE = "codes.parquet"
_SPLIT, _CODEBOOK = "split", "codebook_"

Codes = npt.NDArray[Any]
"""[rows, codebooks] or [rows, codebooks, positions], whole numbers."""


def codes_file(splits: Mapping[str, Codes]) -> bytes:
    """The content of a file of codes, by the name of their split."""
    import pyarrow as pa  # here, because experiments name this file, and naming one is to cost nothing
    import pyarrow.parquet as pq

    largest = max(codes.max(initial=0) for codes in splits.values())
    kind = next(kind for kind in (np.uint8, np.uint16, np.uint32) if largest <= np.iinfo(kind).max)
    tables = [_table(split, codes.astype(kind)) for split, codes in splits.items()]
    content = io.BytesIO()
    # Parquet stores a byte as four. Split, the three empty ones cost nothing, and the other is entropy-coded.
    pq.write_table(
        pa.concat_tables(tables),
        content,
        compression="zstd",
        compression_level=9,
        use_dictionary=[_SPLIT],
        use_byte_stream_split=[path for path in _paths(tables[0].schema) if path != _SPLIT],
    )
    return content.getvalue()


def read_codes(content: bytes) -> dict[str, Codes]:
    """The codes in a file, by the name of their split, with the shapes that they were given."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(pa.BufferReader(content))
    split = np.asarray(table[_SPLIT])
    names = [name for name in table.column_names if name.startswith(_CODEBOOK)]
    codes = np.stack([_array(table[name]) for name in names], axis=1)
    return {str(name): codes[split == name] for name in dict.fromkeys(split.tolist())}


def _table(split: str, codes: Codes) -> pa.Table:
    import pyarrow as pa

    columns: dict[str, Any] = {_SPLIT: pa.array([split] * len(codes))}
    for place in range(codes.shape[1]):
        values = np.ascontiguousarray(codes[:, place])
        flat = pa.array(values.reshape(-1))
        is_list = values.ndim > 1
        columns[f"{_CODEBOOK}{place}"] = pa.FixedSizeListArray.from_arrays(flat, values.shape[1]) if is_list else flat
    return pa.table(columns)


def _paths(schema: pa.Schema) -> list[str]:
    """The columns as Parquet names them."""
    import pyarrow as pa

    return [f"{field.name}.list.element" if pa.types.is_fixed_size_list(field.type) else field.name for field in schema]


def _array(column: pa.ChunkedArray) -> Codes:
    import pyarrow as pa

    whole = column.combine_chunks()
    if pa.types.is_fixed_size_list(whole.type):
        found: Codes = whole.flatten().to_numpy().reshape(len(whole), whole.type.list_size)
    else:
        found = whole.to_numpy()
    return found
