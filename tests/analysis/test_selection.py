from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd
import pytest

from analysis.data.needs import Grid, Needs, distinct
from analysis.data.selection import Selection, select
from tests.analysis.made_up import Row, made_up_rows, row, rows

VQ: dict[str, Any] = {"quantizer": "vq", "codebook_size": 16, "init_bound": 1.0}


def _choose(frame: pd.DataFrame) -> list[Grid]:
    shared = {"dimension": distinct(frame, "dimension"), "factors": distinct(frame, "factors")}
    return [
        Grid(quantizer="vq", axes=shared),
        Grid(quantizer="dvq", axes=shared, presence="if present"),
        Grid(quantizer="kmeans", axes=shared, presence="if complete"),
    ]


NEEDS = Needs(
    trainable="static_prior",
    metrics=("test_mse",),
    grids=("",),
    choose=_choose,
    sweeps=("sweeps/made_up.yaml",),
    seeds_by=("factors",),
    captioned=("steps",),
)


def _select(cells: Iterable[Row]) -> Selection:
    selection = select(made_up_rows(cells), NEEDS)
    assert selection is not None
    return selection


def _without(cells: Iterable[Row], **values: Any) -> list[Row]:
    return [cell for cell in cells if any(cell[column] != value for column, value in values.items())]


def test_a_full_grid_has_no_holes_and_its_means_are_those_of_its_rows() -> None:
    cells = list(rows(3, **VQ, dimension=[2, 8], factors=[16, 64]))
    selection = _select(cells)
    assert (selection.faults(), selection.holes(), selection.cell_count()) == ([], [], 12)
    for point in selection["vq"].means("test_mse").to_dict("records"):
        losses = [
            cell["test_mse"]
            for cell in cells
            if (cell["dimension"], cell["factors"]) == (point["dimension"], point["factors"])
        ]
        assert point["n"] == point["wanted"] == 3
        assert point["mean"] == pytest.approx(sum(losses) / 3, rel=1e-12)


def test_missing_and_failed_cells_are_named_exactly() -> None:
    cells = _without(rows(5, **VQ, dimension=[2, 8], factors=[16, 64]), dimension=8, factors=64)
    cells += [
        row(seed=seed, **VQ, dimension=8, factors=64, status="diverged" if seed > 2 else "ok") for seed in range(5)
    ]
    cells = _without(cells, dimension=2, factors=16, seed=1)
    selection = _select(cells)
    assert selection.holes() == [
        "vq dimension=8 factors=64: seeds 3, 4 failed (diverged)",
        "vq dimension=2 factors=16: seed 1 missing",
    ]
    assert selection.hole_count() == 3


def test_a_whole_point_that_is_missing_is_a_hole() -> None:
    selection = _select(_without(rows(3, **VQ, dimension=[2, 8], factors=[16, 64]), dimension=8, factors=16))
    assert selection.holes() == ["vq dimension=8 factors=16: seeds 0-2 missing"]
    points = selection["vq"].means("test_mse")
    hole = points[(points["dimension"] == 8) & (points["factors"] == 16)].iloc[0]
    assert (hole["n"], hole["wanted"]) == (0, 3)
    assert pd.isna(hole["mean"])


def test_a_finished_row_without_its_metric_is_a_hole_and_not_skipped() -> None:
    cells = list(rows(3, **VQ, dimension=2, factors=16))
    cells[1]["test_mse"] = float("nan")
    assert _select(cells).holes() == ["vq: seed 1 without a finite test_mse"]


def test_more_repetitions_at_some_factors_are_no_hole() -> None:
    few = rows(2, **VQ, dimension=[2, 8], factors=64)
    selection = _select([*rows(4, **VQ, dimension=[2, 8], factors=16), *few])
    assert selection.holes() == []
    assert selection.seeds == {(16,): (0, 1, 2, 3), (64,): (0, 1)}


def test_repetitions_that_only_some_points_have_are_holes_of_the_others() -> None:
    selection = _select([*rows(4, **VQ, dimension=2, factors=16), *rows(2, **VQ, dimension=8, factors=16)])
    assert selection.holes() == ["vq dimension=8: seeds 2, 3 missing"]


def test_one_repetition_is_a_fault() -> None:
    assert "only 1 of the 2 repetitions" in _select(rows(1, **VQ, dimension=2, factors=16)).faults()[0]


def test_a_point_that_failed_to_the_last_but_one_has_no_value() -> None:
    cells = list(rows(3, **VQ, dimension=2, factors=16))
    cells += [row(seed=s, **VQ, dimension=8, factors=16, status="ok" if s == 0 else "error") for s in range(3)]
    points = _select(cells)["vq"].means("test_mse").set_index("dimension")
    assert points["n"].to_dict() == {2: 3, 8: 0}


def test_unequal_trainings_are_a_fault_even_in_different_seeds() -> None:
    slow = rows([0, 1], **VQ, dimension=[2, 8], factors=16, learning_rate=0.1)
    fast = rows([2, 3], **VQ, dimension=[2, 8], factors=16, learning_rate=0.3)
    (fault,) = _select([*slow, *fast]).faults()
    assert fault == (
        "unequal learning_rate: 0.1 (vq every dimension); 0.3 (vq every dimension); keep one with --only "
        "learning_rate=0.1"
    )


def test_settings_that_the_caption_has_may_follow_from_the_data() -> None:
    cells = [*rows(2, **VQ, dimension=2, factors=16, steps=100), *rows(2, **VQ, dimension=8, factors=16, steps=200)]
    assert _select(cells).faults() == []


def test_settings_that_nobody_listed_are_a_fault_too() -> None:
    fault = _select(rows(2, **VQ, dimension=2, factors=16, batch_size=[32, 64])).faults()[0]
    assert fault == "unequal batch_size: 32 (vq); 64 (vq); keep one with --only batch_size=32"


def test_a_grid_needed_if_present_is_whole_or_absent() -> None:
    cells = list(rows(3, **VQ, dimension=[2, 8], factors=16))
    assert _select(cells).grid("dvq") is None
    dvq = rows(3, **{**VQ, "quantizer": "dvq"}, slices=2, dimension=8, factors=16)
    assert _select([*cells, *dvq]).holes() == ["dvq dimension=2: seeds 0-2 missing"]


def test_a_grid_drawn_if_complete_is_left_out_with_a_word() -> None:
    cells = list(rows(3, **VQ, dimension=[2, 8], factors=16))
    kmeans = list(rows(3, quantizer="kmeans", codebook_size=16, dimension=[2, 8], factors=16))
    whole = _select([*cells, *kmeans])
    assert whole.grid("kmeans") is not None
    assert whole.left_out == ()
    partial = _select([*cells, *kmeans[:4]])
    assert partial.grid("kmeans") is None
    assert partial.left_out == ("left out: kmeans, of which the store holds 4 of 6 cells",)
    assert partial.holes() == []


def test_another_trainable_holds_nothing_for_the_item() -> None:
    cells = [{**cell, "trainable": "other"} for cell in rows(2, **VQ, dimension=2, factors=16)]
    assert select(made_up_rows(cells), NEEDS) is None


def _labelled(**more: Any) -> Needs:
    """A grid for each dimension, all of one quantizer."""

    def choose(frame: pd.DataFrame) -> list[Grid]:
        factors = distinct(frame, "factors")
        return [
            Grid(quantizer="vq", label=f"vq of {d}", axes={"dimension": (d,), "factors": factors})
            for d in distinct(frame, "dimension")
        ]

    base = {"trainable": "static_prior", "metrics": ("test_mse",), "grids": ("",), "choose": choose, "sweeps": ()}
    return Needs(**{**base, "seeds_by": ("factors",), **more})


def _labelled_selection(cells: Iterable[Row], **more: Any) -> Selection:
    selection = select(made_up_rows(cells), _labelled(**more))
    assert selection is not None
    return selection


def test_several_grids_of_one_quantizer_are_told_apart_by_their_labels() -> None:
    cells = _without(rows(3, **VQ, dimension=[2, 8], factors=[16, 64]), dimension=8, factors=64, seed=1)
    selection = _labelled_selection(cells)
    assert selection.holes() == ["vq of 8 factors=64: seed 1 missing"]
    for dimension in (2, 8):
        points = selection[f"vq of {dimension}"].means("test_mse")
        assert set(points["dimension"]) == {dimension}
        assert list(points["factors"]) == [16, 64]
    assert selection.grid("vq") is None


def test_points_that_must_be_alike_are_refused_where_they_are_not() -> None:
    slow = rows(2, **VQ, dimension=[2, 4], factors=16, steps=100)
    fast = rows(2, **VQ, dimension=8, factors=16, steps=50)
    cells = [*slow, *fast, *rows(2, **VQ, dimension=[2, 8], factors=64, steps=50)]
    assert _labelled_selection(cells, draws=("steps",)).faults() == []
    assert _labelled_selection(cells, captioned=("steps",)).faults() == []  # they follow from the dimension
    assert _labelled_selection(cells, apart=("factors",)).faults() == [
        "unequal steps: 50 (vq of 8 factors=16); 100 (vq of 2 factors=16, vq of 4 factors=16); keep one with --only "
        "steps=100"
    ]


def test_the_lowest_seed_is_the_same_for_all_points_of_a_group() -> None:
    cells = [*rows([1, 2], **VQ, dimension=[2, 8], factors=16), *rows([0, 1], **VQ, dimension=[2, 8], factors=64)]
    whole = _labelled_selection(cells, lowest_seed_only=True, least_repetitions=1)
    assert (whole.seeds, whole.cell_count(), whole.faults()) == ({(16,): (1,), (64,): (0,)}, 4, [])
    points = whole["vq of 8"].means("test_mse").set_index("factors")
    seeds = {cell["factors"]: cell for cell in cells if cell["dimension"] == 8 and cell["seed"] in (0, 1)}
    expected = next(c for c in cells if (c["dimension"], c["factors"], c["seed"]) == (8, 16, 1))
    assert points.loc[16, "mean"] == expected["test_mse"]
    assert points["n"].to_dict() == dict.fromkeys(seeds, 1)
    holed = _without(cells, dimension=8, factors=64, seed=0)
    holes = _labelled_selection(holed, lowest_seed_only=True, least_repetitions=1).holes()
    assert holes == ["vq of 8 factors=64: seed 0 missing"]
