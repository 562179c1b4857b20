"""Stores whose seeds were added until they sufficed: intervals hold whatever made the adding stop."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from analysis.data.rows import load_rows
from analysis.data.summary import LEVEL
from analysis.figures import named
from analysis.figures.generic.versus import comparisons
from analysis.output.words import stopping
from dvq_ray.inference import level_at_each
from dvq_ray.store import Store
from tests.analysis import made_up

AT = {"dimension": 16, "factors": 64, "init_bound": 1.0}
EACH = level_at_each(5)


@pytest.fixture
def store(tmp_path: Path) -> str:
    """VQ that was looked at three times, paired with a DVQ of as many bits, and another VQ with a fixed number."""
    vq = [*made_up.rows(32, quantizer="vq", codebook_size=256, **AT)]
    dvq = [*made_up.rows(32, quantizer="dvq", codebook_size=16, slices=2, **AT)]
    location = made_up.write(tmp_path / "store", [*vq, *dvq, *made_up.rows(8, quantizer="vq", codebook_size=64, **AT)])
    look = {
        "point_id": dvq[0]["point_id"], "partner_point_id": vq[0]["point_id"], "quantizer": "dvq",
        "partner_quantizer": "vq", "rule": "compare", "grid": "both", "metric": "test_mse", "looks": 3,
        "looks_at_most": 5, "level": EACH, "n": 32, "estimate": 1.0, "low": 0.5, "high": 1.5, "decision": "loss",
    }  # fmt: skip
    Store(location).write_looks([look])
    return location


def test_intervals_are_those_that_all_looks_hold_with_together(store: str) -> None:
    rows = load_rows([store])
    item = named(rows, "static_prior-over-axes")
    assert item is not None
    selection = item.select(rows, item.needs)
    assert selection is not None
    for grid in selection.grids:
        means = grid.means("test_mse")
        for point_id, n, low, high in means[["point_id", "n", "low", "high"]].itertuples(index=False):
            losses = rows.frame.loc[rows.frame["point_id"] == point_id, "test_mse"]
            assert n == len(losses)
            level = LEVEL if n == 8 else EACH
            expected = stats.t.interval(level, n - 1, losses.mean(), stats.sem(losses))
            assert (low, high) == pytest.approx(expected)
    assert selection.hole_count() == 0  # points with other numbers of seeds lack none
    said = "Seeds were added at 2 points until they decided; these intervals are wider"
    assert stopping(selection).startswith(said)
    assert said in item.product(selection).caption


def test_comparisons_of_pairs_have_the_same_intervals(store: str) -> None:
    rows = load_rows([store])
    item = named(rows, "static_prior-versus")
    assert item is not None
    selection = item.select(rows, item.needs)
    assert selection is not None
    table = comparisons(selection)
    (pair,) = table[(table["equal"] == "bits") & (table["n"] == 32)].to_dict("records")
    by_point = rows.frame.pivot_table(index="seed", columns="point_id", values="test_mse")
    difference = (by_point[pair["point_id_a"]] - by_point[pair["point_id_b"]]).dropna()
    expected = stats.t.interval(EACH, 31, difference.mean(), stats.sem(difference))
    assert (pair["low"], pair["high"]) == pytest.approx(expected)


def test_a_store_without_looks_has_the_usual_intervals(tmp_path: Path) -> None:
    rows = load_rows([made_up.write(tmp_path / "store", made_up.rows(5, quantizer="vq", codebook_size=16, **AT))])
    assert rows.levels == {}


def test_of_cells_in_two_stores_the_order_of_the_stores_decides_nothing(tmp_path: Path) -> None:
    cells = [*made_up.rows(3, quantizer="vq", codebook_size=16, **AT)]
    later = [{**cell, "test_mse": 7.0, "run_started_at": made_up.STARTED_AT.replace(year=2027)} for cell in cells]
    stores = [made_up.write(tmp_path / "first", cells), made_up.write(tmp_path / "second", later)]
    for order in (stores, stores[::-1]):
        assert np.unique(load_rows(order).frame["test_mse"]).tolist() == [7.0]
