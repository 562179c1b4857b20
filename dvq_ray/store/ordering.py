"""Rows as a table in another order, column by column, so that no second copy of everything is held."""

from __future__ import annotations

from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Order = npt.NDArray[np.int64]


def in_order(
    names: list[str], arrays: list[pa.ChunkedArray], order: Order | None, categories: Collection[str]
) -> pa.Table:
    """The rows at these places of the columns, which are taken out of `arrays`; all rows as they are, for None.

    Dictionaries become plain text or numbers, except in `categories`.
    """

    def one(column: int) -> None:
        array = arrays[column]
        if order is not None and array.null_count < len(order):  # a column without values is in any order
            whole = array.combine_chunks()
            array = _lists_at(whole, order) if pa.types.is_list(whole.type) else whole.take(pa.array(order))
            del whole
        if pa.types.is_dictionary(array.type) and names[column] not in categories:
            array = array.cast(array.type.value_type)
        arrays[column] = array

    with ThreadPoolExecutor(pa.cpu_count()) as pool:
        list(pool.map(one, range(len(arrays))))
    ordered = pa.table(arrays, names)
    arrays.clear()
    pa.default_memory_pool().release_unused()  # as much again as the table holds
    return ordered


def _lists_at(lists: pa.ListArray, order: Order) -> pa.ListArray:
    """The same as Arrow's `take`, which goes list by list, in half of its time."""
    starts = lists.offsets.to_numpy()[:-1][order]
    lengths = lists.value_lengths().fill_null(0).to_numpy()[order]
    offsets = np.zeros(len(order) + 1, np.int32)
    np.cumsum(lengths, out=offsets[1:])
    places = np.arange(offsets[-1], dtype=np.int32)
    places += np.repeat(starts - offsets[:-1], lengths)
    is_empty = pa.array(lists.is_null().to_numpy(zero_copy_only=False)[order]) if lists.null_count else None
    return pa.ListArray.from_arrays(pa.array(offsets), lists.values.take(pa.array(places)), lists.type, mask=is_empty)
