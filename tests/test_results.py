"""Results as a frame for notebooks; and the examples in the docstrings of what notebooks use."""

from __future__ import annotations

import doctest
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pyarrow.compute as pc
import pytest

import analysis.data.summary
import dvq_ray.store.results
from dvq_ray import load_results
from dvq_ray.store import Store, StoreError
from dvq_ray.store.results import Where
from tests.analysis.made_up import STARTED_AT, STATIC_PRIOR, Row, rows, write

ROOT = Path(__file__).parents[1]
VQ = {"quantizer": "vq", "dimension": [4, 8], "codebook_size": 16, "factors": 64, "init_bound": 1.0}
KMEANS = {"quantizer": "kmeans", "dimension": 8, "codebook_size": 16, "factors": 64}


@pytest.fixture
def store(tmp_path: Path) -> str:
    return write(tmp_path / "store", [*rows(2, **VQ), *rows(2, **KMEANS)])


@pytest.mark.parametrize("module", [dvq_ray.store.results, analysis.data.summary])
def test_examples_in_docstrings_come_out_as_they_say(module: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    failed, tried = doctest.testmod(module)  # type: ignore[arg-type]
    assert (failed, tried > 0) == (0, True)


def test_a_dtype_does_not_depend_on_the_rows(store: str) -> None:
    everything, some = load_results(store), load_results(store, where=[("quantizer", "==", "vq")])
    assert everything.dtypes.equals(some.dtypes)
    kinds = {name: str(everything[name].dtype) for name in ("steps", "seed", "test_mse", "quantizer", "run_started_at")}
    assert list(kinds.values()) == ["Int64", "Int64", "float64", "str", "datetime64[us, UTC]"]
    assert everything[everything["quantizer"] == "kmeans"]["steps"].isna().all()
    assert everything["codes_used"].iloc[0] == [16]
    assert everything["cell_id"].is_monotonic_increasing
    assert set(everything["store"]) == {store}


@pytest.mark.parametrize(
    "where", [pc.field("dimension") > 4, [("dimension", ">", 4)], [("dimension", "in", [8, 16]), ("seed", ">=", 0)]]
)
def test_a_filter_may_look_at_columns_that_are_not_returned(store: str, where: Where) -> None:
    found = load_results(store, columns=["seed", "quantizer"], where=where)
    assert list(found.columns) == ["seed", "quantizer"]
    assert sorted(found["quantizer"]) == ["kmeans", "kmeans", "vq", "vq"]


def tried_again(folder: Path, cells: Sequence[Row]) -> str:
    """A store in which each cell failed first and was then done, in files of their own."""
    store = Store(folder)
    for cell in cells:
        first = {**cell, "status": "error", "test_mse": None, "run_id": "1" * 32}
        store.write_cell(STATIC_PRIOR, first, ())
        store.write_cell(STATIC_PRIOR, {**cell, "run_started_at": STARTED_AT + timedelta(hours=1)}, ())
    return str(folder)


def test_a_filter_does_not_bring_back_a_row_that_is_beaten(tmp_path: Path) -> None:
    store = tried_again(tmp_path / "store", list(rows(2, **VQ)))
    assert len(load_results(store)) == 4
    assert load_results(store, where=[("status", "==", "error")]).empty
    assert Store(store).load(["cell_id"], pc.field("status") == "error").empty
    assert len(load_results(store, columns=["test_mse"], where=[("status", "==", "ok")]).dropna()) == 4


def test_of_several_stores_the_row_of_the_first_stands_before_the_filter_is_looked_at(tmp_path: Path) -> None:
    first = write(tmp_path / "first", ({**row, "test_mse": 1.0} for row in rows([0, 1], **KMEANS)))
    second = write(tmp_path / "second", ({**row, "test_mse": 2.0} for row in rows([1, 2], **KMEANS)))
    found = load_results([first, second], columns=["seed", "store"]).set_index("seed")["store"]
    assert found.to_dict() == {0: first, 1: first, 2: second}
    assert list(load_results([first, second], where=[("test_mse", "==", 2.0)])["seed"]) == [2]


def test_of_several_stores_a_finished_row_stands_before_a_failed_one(tmp_path: Path) -> None:
    failed = [{**row, "status": "error"} for row in rows([0, 1], **KMEANS)]
    first, second = write(tmp_path / "first", failed), write(tmp_path / "second", rows([1, 2], **KMEANS))
    found = load_results([first, second]).set_index("seed")
    assert found["status"].to_dict() == {0: "error", 1: "ok", 2: "ok"}
    assert found["store"].to_dict() == {0: first, 1: second, 2: second}


def test_pandas_reads_the_columns_of_a_search_whichever_file_comes_first(tmp_path: Path) -> None:
    (grid, searched) = (dict(row) for row in rows([0, 1], **KMEANS))
    for row in (grid, {**searched, "search_suggestion": 7}):
        Store(tmp_path / "store").write_cell(STATIC_PRIOR, row, ())
    found = pd.read_parquet(tmp_path / "store" / "cells").set_index("seed")["search_suggestion"]
    assert found.dropna().to_dict() == {1: 7}


def test_a_missing_store_and_a_missing_column_are_errors(tmp_path: Path, store: str) -> None:
    with pytest.raises(StoreError, match="nowhere is not a store"):
        load_results(tmp_path / "nowhere")
    with pytest.raises(StoreError, match="colour"):
        load_results(store, columns=["colour"])


def test_each_group_has_its_mean_and_what_was_left_out_is_counted(store: str) -> None:
    cells = load_results(store)
    cells.loc[cells.index[0], "status"] = "error"
    found = analysis.summarise(cells, by=["quantizer", "dimension"], metric="test_mse")
    assert (found["n"] + found["left_out"]).tolist() == [2, 2, 2]
    assert found["left_out"].sum() == 1
    alone = found[found["n"] == 1].iloc[0]
    assert pd.isna(alone["low"])
    assert not pd.isna(alone["mean"])
    with pytest.raises(ValueError, match="no column colour"):
        analysis.summarise(cells, by="colour", metric="test_mse")
