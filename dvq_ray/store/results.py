"""Stored results as a pandas frame, for notebooks and scripts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dvq_ray.store.attempts import standing_of_stores
from dvq_ray.store.columns import STANDING
from dvq_ray.store.reading import unify
from dvq_ray.store.storage import StoreError
from dvq_ray.store.store import Store

Where: TypeAlias = pc.Expression | Sequence[tuple[str, str, Any]]
"""An expression of pyarrow, or conditions that must all hold: `[("dimension", "<=", 64), ("quantizer", "in", [...])]`.
"""
STORE = "store"
"""The column that says which store a row is from."""
_DTYPES = {pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype()}


def load_results(
    stores: str | Path | Sequence[str | Path], *, columns: Sequence[str] | None = None, where: Where | None = None
) -> pd.DataFrame:
    """One row for each cell of one store or several, sorted by `cell_id`; `where` keeps those for which it is true.

    Files are read only as far as `columns` and `where` need them. Where several rows bear the same cell id, one stands
    before the filter is looked at: a finished one before a failed one, the later before the earlier, whichever store
    holds it. The dtype of a column does not depend on the rows: `Int64` for integers, `boolean`, `float64`,
    `str` for text, `datetime64[us, UTC]` for times, Arrow's lists, whose values come out as lists of Python's. The
    column `store` is the store as it was named.

    >>> cells = load_results(
    ...     "results/reference/static_prior",
    ...     columns=["quantizer", "dimension", "init_bound", "seed", "test_mse"],
    ...     where=[("quantizer", "in", ["vq", "kmeans"]), ("factors", "==", 4096), ("codebook_size", "==", 16)],
    ... )
    >>> cells.dtypes.astype(str).to_dict()
    {'quantizer': 'str', 'dimension': 'Int64', 'init_bound': 'float64', 'seed': 'Int64', 'test_mse': 'float64'}
    >>> sorted(cells["quantizer"].unique())
    ['kmeans', 'vq']

    Raises `StoreError` where a store is missing, cannot be read or does not have a column, and where stores hold a
    column in types that do not go together.
    """
    locations = [str(each) for each in ([stores] if isinstance(stores, str | Path) else stores)]
    expression = where if where is None or isinstance(where, pc.Expression) else pq.filters_to_expression(list(where))
    names = None if columns is None else list(dict.fromkeys([*(name for name in columns if name != STORE), "cell_id"]))
    tables: list[pa.Table] = []
    for location in locations:
        table = Store(location).table(names, expression)
        if table is None:
            raise StoreError(f"{location} is not a store: there is no cells/*.parquet in it")
        tables.append(table)
    if len(locations) > 1:
        every = [Store(location).load(STANDING) for location in locations]
        ids = [pa.array(part["cell_id"][stands]) for part, stands in zip(every, standing_of_stores(every), strict=True)]
        tables = [
            table.filter(pc.is_in(table["cell_id"], value_set=its)) for table, its in zip(tables, ids, strict=True)
        ]
    for place, (location, table) in enumerate(zip(locations, tables, strict=True)):
        table = table.drop_columns({STORE} & {*table.column_names})
        tables[place] = table.append_column(STORE, pa.repeat(pa.scalar(location), len(table)))
    unify(list(zip(locations, (table.schema for table in tables), strict=True)))
    whole = pa.concat_tables(tables, promote_options="permissive")
    if len(tables) > 1:
        whole = whole.sort_by("cell_id")
    tables.clear()
    frame: pd.DataFrame = whole.to_pandas(types_mapper=_dtype, split_blocks=True, self_destruct=True)
    return frame if columns is None else frame[list(columns)]


def _dtype(kind: pa.DataType) -> Any:
    return pd.ArrowDtype(kind) if pa.types.is_list(kind) else _DTYPES.get(kind)
