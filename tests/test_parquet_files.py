"""Parquet files that others wrote: other types for the same values, values that do not fit, and far too large ones."""

from __future__ import annotations

import io
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from dvq_ray import load_results
from dvq_ray.cli.status import main as status
from dvq_ray.store import Store, StoreError
from dvq_ray.store.columns import KEYS, cell_table
from dvq_ray.store.merging import in_parquet
from dvq_ray.store.parquet_files import problem_of_content
from tests.analysis.made_up import STATIC_PRIOR, rows

ROWS = [
    {**row, "run_started_at": row["run_started_at"] + timedelta(microseconds=123456 * place)}
    for place, row in enumerate([
        *rows(3, quantizer="dvq", dimension=4, slices=2, codebook_size=16, factors=64, init_bound=1.0),
        *rows(3, quantizer="kmeans", dimension=4, codebook_size=16, factors=64),
    ])
]  # fmt: skip
CURVE = [{"step": step, "test_mse": 1.0 / (step + 3)} for step in range(3)]
Change = Callable[[pa.Table], pa.Table]


def fill(folder: Path) -> Store:
    """A store of a merged file, and one of a cell that was written since."""
    store = Store(folder)
    for row in ROWS[:-1]:
        store.write_cell(STATIC_PRIOR, row, CURVE if row["quantizer"] != "kmeans" else ())
    store.merge()
    store.write_cell(STATIC_PRIOR, ROWS[-1], ())
    return store


def change(store: Store, change: Change, parts: tuple[str, ...] = ("cells", "curves")) -> list[Path]:
    """Writes the merged files back as somebody else would."""
    paths = [path for part in parts for path in Path(store.location, part).glob("*-cells-*.parquet")]
    for path in paths:
        pq.write_table(change(pq.read_table(path)), path)
    return paths


def casting(**kinds: pa.DataType) -> Change:
    """Another type for columns, or for all of a type, such as `int64`."""

    def cast(table: pa.Table) -> pa.Table:
        for place, field in enumerate(table.schema):
            kind = kinds.get(field.name, kinds.get(str(field.type)))
            if kind is not None:
                column = table[field.name]
                is_view = pa.types.is_list_view(kind) or pa.types.is_large_list_view(kind)
                made = pa.array(column.to_pylist(), kind) if is_view else column.cast(kind)
                table = table.set_column(place, field.name, made)
        return table

    return cast


def with_categories(table: pa.Table) -> pa.Table:
    for place, field in enumerate(table.schema):
        if pa.types.is_string(field.type):
            table = table.set_column(place, field.name, table[field.name].dictionary_encode())
    return table


def by_pandas(**more: Any) -> Change:
    return lambda table: pa.Table.from_pandas(table.to_pandas(**more))


def with_an_index(table: pa.Table) -> pa.Table:
    return pa.Table.from_pandas(table.to_pandas().iloc[::-1])


def indexed_by_cell(table: pa.Table) -> pa.Table:
    return pa.Table.from_pandas(table.to_pandas().set_index("cell_id"))


def without_types_of_empty_columns(table: pa.Table) -> pa.Table:
    for place, name in enumerate(table.column_names):
        if table[name].null_count == len(table):
            table = table.set_column(place, name, pa.nulls(len(table)))
    return table


LISTS = {"codes_used": pa.int64(), "perplexity": pa.float64()}
KEPT: dict[str, Change] = {
    "large text": casting(string=pa.large_string()),
    "text views": casting(string=pa.string_view()),
    "categories": with_categories,
    "few bits": casting(int64=pa.int32()),
    "no sign": casting(int64=pa.uint64()),
    "a byte": casting(slices=pa.int8(), seed=pa.uint8(), dimension=pa.uint8(), codebook_size=pa.int16()),
    "floats": casting(int64=pa.float64()),
    "few floats": casting(int64=pa.float32()),
    "decimals": casting(seed=pa.decimal128(22, 3), init_bound=pa.decimal128(22, 3)),
    "whole numbers": casting(init_bound=pa.int64(), bits_per_vector=pa.int8()),
    "nanoseconds": casting(run_started_at=pa.timestamp("ns", "UTC")),
    "no time zone": casting(run_started_at=pa.timestamp("us")),
    "nanoseconds without time zone": casting(run_started_at=pa.timestamp("ns")),
    "another time zone": casting(run_started_at=pa.timestamp("us", "Europe/Berlin")),
    "large lists": casting(**{name: pa.large_list(kind) for name, kind in LISTS.items()}),
    "list views": casting(**{name: pa.list_view(kind) for name, kind in LISTS.items()}),
    "large list views": casting(**{name: pa.large_list_view(kind) for name, kind in LISTS.items()}),
    "lists of other numbers": casting(codes_used=pa.list_(pa.float64())),
    "types of none": without_types_of_empty_columns,
    "pandas": by_pandas(),
    "pandas without time zones": lambda table: by_pandas()(casting(run_started_at=pa.timestamp("us"))(table)),
    "pandas that keeps nulls": by_pandas(types_mapper=pd.ArrowDtype),
    "an index": with_an_index,
    "an index of cells": indexed_by_cell,
}


@pytest.mark.long
@pytest.mark.parametrize("kind", KEPT)
def test_values_that_fit_are_read_whatever_types_they_were_written_in(tmp_path: Path, kind: str) -> None:
    store = fill(tmp_path / "store")
    columns = ["cell_id", "seed", "run_started_at"]
    where = [("quantizer", "==", "dvq"), ("seed", ">=", 1)]
    expected, curves = load_results(store.location), store.load_curves()
    some = load_results(store.location, columns=columns, where=where)
    assert len(change(store, KEPT[kind])) == 2
    assert store.set_aside_unreadable() == []
    for _ in range(2):
        pd.testing.assert_frame_equal(load_results(store.location), expected, check_exact=True)
        pd.testing.assert_frame_equal(load_results(store.location, columns=columns, where=where), some)
        pd.testing.assert_frame_equal(store.load_curves(), curves, check_exact=True, check_like=True)
        assert str(store.load(categories=["status"])["status"].dtype) == "category"
        assert store.missing_curves() == set()
        store.merge()
    assert len(list((tmp_path / "store" / "cells").iterdir())) == 1
    pd.testing.assert_frame_equal(store.load(), Store(fill(tmp_path / "other").location).load(), check_exact=True)


def test_numbers_that_are_missing_may_be_nan(tmp_path: Path) -> None:
    store = fill(tmp_path)
    expected = load_results(store.location)

    def with_nan(table: pa.Table) -> pa.Table:
        steps = [float("nan") if value is None else float(value) for value in table["steps"].to_pylist()]
        return table.set_column(table.schema.get_field_index("steps"), "steps", pa.array(steps, from_pandas=False))

    change(store, with_nan, ("cells",))
    pd.testing.assert_frame_equal(load_results(store.location), expected)
    assert store.load(categories=["steps"])["steps"].isna().tolist() == expected["steps"].isna().tolist()
    assert load_results(store.location, where=[("steps", "==", 4000)])["quantizer"].unique() == ["dvq"]


def with_column(name: str, values: Any, kind: pa.DataType | None = None) -> Change:
    def replaced(table: pa.Table) -> pa.Table:
        array = pa.array([values] * len(table), kind)
        place = table.schema.get_field_index(name)
        return table.append_column(name, array) if place < 0 else table.set_column(place, name, array)

    return replaced


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "values", "kind", "reason"),
    [
        ("seed", 1.5, None, "the column seed holds double, and should hold int64 .*1.5"),
        ("seed", 2**63, pa.uint64(), "the column seed holds uint64, and should hold int64"),
        ("seed", "one", None, "the column seed holds string, and should hold int64"),
        ("seed", "1", None, "the column seed holds string, and should hold int64"),
        ("seed", Decimal("0.5"), None, r"the column seed holds decimal128\(1, 1\), and should hold int64"),
        ("seed", datetime(2026, 1, 1), None, "the column seed holds timestamp.*, and should hold int64"),
        ("test_mse", 2**60 + 1, None, "the column test_mse holds int64, and should hold double"),
        ("quantizer", 1, None, "the column quantizer holds int64, and should hold string"),
        ("codes_used", [1.5], None, "the column codes_used holds list.*, and should hold list"),
        ("codes_used", 3, None, "the column codes_used holds int64, and should hold list"),
        ("codes_used", ["a"], None, "the column codes_used holds list<.*string>, and should hold list"),
        ("run_started_at", 1, pa.timestamp("ns", "UTC"), "the column run_started_at holds timestamp.*lose data"),
        ("run_started_at", "2026-01-01", None, "the column run_started_at holds string, and should hold timestamp"),
        ("run_started_at", timedelta(1), None, "the column run_started_at holds duration"),
        ("cell_id", None, pa.string(), "there are rows without cell_id"),
        ("cell_id", None, None, "there are rows without cell_id"),
    ],
)
def test_a_file_whose_values_do_not_fit_is_named_and_set_aside(
    tmp_path: Path, name: str, values: Any, kind: pa.DataType | None, reason: str
) -> None:
    store = fill(tmp_path)
    (path,) = change(store, with_column(name, values, kind), ("cells",))
    with pytest.raises(StoreError, match=f"{path}.*{reason}"):
        store.load()
    (aside,) = store.set_aside_unreadable()
    assert aside.path == str(path)
    assert list(store.statuses()) == [ROWS[-1]["cell_id"]]


def test_a_column_of_ones_own_in_two_types_is_named_with_its_files_and_nothing_is_moved(tmp_path: Path) -> None:
    store = fill(tmp_path)
    (merged,) = change(store, with_column("note", "good"), ("cells",))
    single = next(path for path in (tmp_path / "cells").iterdir() if path != merged)
    pq.write_table(with_column("note", 3)(pq.read_table(single)), single)
    words = rf"the column note holds \w+ in {tmp_path}/cells/.* and \w+ in {tmp_path}/cells/.*; rename or remove it"
    for act in (store.load, store.set_aside_unreadable, store.merge):
        with pytest.raises(StoreError, match=words) as refusal:
            act()
        assert str(merged) in str(refusal.value)
        assert str(single) in str(refusal.value)
    assert merged.exists()
    assert single.exists()


@pytest.mark.parametrize(
    ("one", "other"),
    [(pa.int32(), pa.int64()), (pa.int64(), pa.float64()), (pa.large_string(), pa.string()), (pa.null(), pa.string()),
     (pa.dictionary(pa.int8(), pa.string()), pa.string_view()), (pa.timestamp("ms"), pa.timestamp("ns"))],
)  # fmt: skip
def test_a_column_of_ones_own_is_kept_where_its_types_go_together(
    tmp_path: Path, one: pa.DataType, other: pa.DataType
) -> None:
    store = fill(tmp_path)
    for path, kind in zip(sorted((tmp_path / "cells").iterdir()), (one, other), strict=True):
        is_text = pa.types.is_dictionary(kind) or "string" in str(kind)
        value = None if pa.types.is_null(kind) else "a" if is_text else 3
        pq.write_table(with_column("note", value, kind)(pq.read_table(path)), path)
    assert store.set_aside_unreadable() == []
    assert len(store.load(["note"])) == len(ROWS)
    store.merge()
    assert len(store.load(["note"])["note"].dropna()) >= 1


# Sizes

MANY = 4500
LONG = "x" * 1_000_000


def said_often(value: Any, times: int = MANY) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(times, np.int32)), pa.array([value]))


def table(times: int = MANY, **columns: Any) -> pa.Table:
    moments = pa.array(np.zeros(times, np.int64), pa.timestamp("us", "UTC"))
    keys = {"cell_id": said_often("a", times), "status": said_often("ok", times), "run_started_at": moments}
    return pa.table({**keys, **columns})


def in_lists(values: pa.Array, each: int) -> pa.ListArray:
    return pa.ListArray.from_arrays(pa.array(np.arange(0, len(values) + 1, each, dtype=np.int32)), values)


def beginning_alike(times: int) -> list[str]:
    return [LONG[:100_000] + f"{number:05}" for number in range(times)]


BOMBS: dict[str, Callable[[], tuple[pa.Table, dict[str, Any]]]] = {
    "a long text": lambda: (table(error=said_often(LONG)), {}),
    "a long id": lambda: (table(cell_id=said_often(LONG)), {}),
    "a column of ones own": lambda: (table(mine=said_often(LONG)), {}),
    "bytes": lambda: (table(mine=said_often(LONG.encode())), {}),
    "a text within a struct": lambda: (table(mine=pa.StructArray.from_arrays([said_often(LONG)], ["a"])), {}),
    "a text within lists": lambda: (table(mine=in_lists(said_often(LONG), 1)), {}),
    "a name with a dot": lambda: (table(**{"status.x": said_often(LONG)}), {}),
    "many equal numbers": lambda: (table(5, perplexity=in_lists(pa.array(np.zeros(20_000_000)), 4_000_000)), {}),
    "many rows": lambda: (table(5_000_000), {"write_statistics": False}),
    "texts that begin alike": lambda: (
        table(1000, error=beginning_alike(1000)),
        {"use_dictionary": False, "column_encoding": {"error": "DELTA_BYTE_ARRAY"}},
    ),
    "compressed texts": lambda: (table(100, error=[LONG[:500_000]] * 100), {"use_dictionary": False}),
    "several groups": lambda: (table(error=said_often(LONG)), {"row_group_size": 500}),
}


@pytest.mark.long
@pytest.mark.parametrize("kind", BOMBS)
def test_a_small_file_that_would_take_much_memory_is_refused_before_it_does(tmp_path: Path, kind: str) -> None:
    store = fill(tmp_path / "store")
    bomb = tmp_path / "store" / "cells" / "bomb.parquet"
    written, options = BOMBS[kind]()
    pq.write_table(written, bomb, compression="zstd", **options)
    del written
    before = pa.default_memory_pool().max_memory()
    tracemalloc.start()
    try:
        for act in (store.load, store.merge, lambda: load_results(store.location, where=[("seed", "==", 1)])):
            with pytest.raises(StoreError, match=rf"{bomb} is not a file of a store: .*memory"):
                act()
        result = CliRunner().invoke(status, [store.location])
        assert result.exit_code == 0 or str(bomb) in result.output  # it may not need the column
        (aside,) = store.set_aside_unreadable()
        assert aside.path == str(bomb)
        assert tracemalloc.get_traced_memory()[1] < 50e6
    finally:
        tracemalloc.stop()
    assert pa.default_memory_pool().max_memory() - before < 100e6
    assert len(store.load()) == len(ROWS)


@pytest.mark.parametrize("cells", [1, 2, 20, 5000])
@pytest.mark.parametrize("compression", ["snappy", "zstd"])
def test_many_cells_that_failed_with_the_same_long_error_can_be_read(cells: int, compression: str) -> None:
    error = ("Traceback\n" + "".join(map(str, range(4000))))[:10_000]
    common = {**ROWS[0], "status": "error", "error": error}
    failed = {name: value for name, value in common.items() if not isinstance(value, float | list)}
    several = [
        {**failed, "cell_id": f"{number * 0x9E3779B97F4A7C15 % 2**64:016x}", "seed": number,
         "run_started_at": ROWS[0]["run_started_at"] + timedelta(microseconds=number**2 * 12_345)}
        for number in range(cells)
    ]  # fmt: skip
    content = in_parquet(cell_table(STATIC_PRIOR, several)).to_pybytes()
    assert problem_of_content(content, KEYS["cells"]) == ""
    sink = io.BytesIO()
    pq.write_table(pq.read_table(pa.BufferReader(content)), sink, compression=compression)
    assert problem_of_content(sink.getvalue(), KEYS["cells"]) == ""


def test_times_are_read_as_utc_where_a_file_names_no_zone(tmp_path: Path) -> None:
    store = fill(tmp_path)
    change(store, casting(run_started_at=pa.timestamp("us")))
    found = store.load(["cell_id", "run_started_at"]).set_index("cell_id")["run_started_at"]
    assert {row["cell_id"]: row["run_started_at"] for row in ROWS} == {k: v.to_pydatetime() for k, v in found.items()}
    assert found.iloc[0].tzinfo is not None
    assert found.iloc[0].to_pydatetime().astimezone(UTC).year == 2026
