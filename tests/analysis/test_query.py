"""The expression beside an item selects the item's rows, when it is run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from analysis.data.query import query_of
from analysis.data.rows import load_rows
from analysis.figures import items
from analysis.items import SEARCHES
from dvq_ray import load_results
from dvq_ray.store import SUGGESTION
from tests.analysis.made_up import rows, write

REFERENCE = Path(__file__).parents[2] / "results" / "reference"


def selected(expression: str, frame: pd.DataFrame) -> set[str]:
    return {*(frame.query(expression, engine="python") if expression else frame)["cell_id"]}


def check(*stores: str, only: Mapping[str, str] | None = None) -> dict[str, str | None]:
    """Runs the expression of every item that the stores have rows of; returns all of them."""
    held, frame, found = load_rows(stores, only), load_results([*stores]), dict[str, str | None]()
    for name, item in items(held).items():
        if (selection := item.select(held, item.needs)) is not None:
            found[name] = query_of(selection, held)
            if (expression := found[name]) is not None:
                assert selected(expression, frame) == {*selection.rows["cell_id"]}, (name, expression)
    return found


@pytest.mark.long
@pytest.mark.parametrize(
    "stores",
    [
        ["static_prior"], ["factorial"], ["cifar10_lossless"], ["search_static_slices"],
        ["cifar10_lossless", "factorial"],
    ],
)  # fmt: skip
def test_expressions_select_the_rows_of_every_item_of_the_reference_stores(stores: Sequence[str]) -> None:
    found = check(*(str(REFERENCE / name) for name in stores))
    assert found
    assert None not in found.values()


def test_all_rows_need_no_expression(tmp_path: Path) -> None:
    store = write(tmp_path / "store", list(rows(3, quantizer="vq", dimension=[2, 4], codebook_size=4, factors=16)))
    assert check(store)["static_prior-points"] == ""


def test_seeds_that_other_points_do_not_have_are_left_out(tmp_path: Path) -> None:
    shared: dict[str, Any] = {"quantizer": "vq", "codebook_size": 16, "init_bound": 1.0, "factors": 4096}
    held = [*rows(5, dimension=[2, 4, 8], **shared), *rows(range(5, 8), dimension=2, **shared)]
    store = write(tmp_path / "store", held)
    found = check(store)
    assert "figure3a" in found


def test_points_that_make_no_box_are_named_as_boxes(tmp_path: Path) -> None:
    shared: dict[str, Any] = {"codebook_size": 16, "init_bound": 1.0, "factors": [16, 64]}
    held = [
        *rows(2, quantizer="vq", dimension=[2, 4, 8], **shared),
        *rows(2, quantizer="dvq", dimension=[2, 4, 8], slices=2, **shared),
        *rows(2, quantizer="dvq", dimension=[4, 8], slices=4, **shared),
        *rows(2, quantizer="kmeans", dimension=[2, 8], codebook_size=64, slices=1, factors=16),
    ]
    found = check(write(tmp_path / "store", held))
    assert found["figure4"]


def test_rows_that_a_filter_left_out_stay_out(tmp_path: Path) -> None:
    held = list(rows(3, quantizer="vq", dimension=[2, 4], codebook_size=[4, 8], factors=16))
    store = write(tmp_path / "store", held)
    found = check(store, only={"dimension": "2"})
    assert found["static_prior-points"] == "(dimension == 2 or dimension.isna())"


def test_a_search_beside_grids_is_parted_from_them() -> None:
    stores = [str(REFERENCE / name) for name in ("factorial", "search_static_slices")]
    found = check(*stores)
    held = load_rows(stores)
    searched = [name for name, item in items(held).items() if item.group == SEARCHES and name in found]
    assert searched
    frame = load_results(stores)
    for name in searched:
        assert pd.notna(frame.query(found[name] or "", engine="python")[SUGGESTION]).all()
