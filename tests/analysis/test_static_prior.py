"""What the figures of the static prior choose to draw, and that drawing says it with the right marks."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from analysis.data.selection import Selection, select
from analysis.draw.looks import known_look
from analysis.draw.style import readable
from analysis.figures import ITEMS
from tests.analysis.looking import (
    assert_no_text_overlaps_or_leaves_the_page,
    assert_text_is_readable_in_print,
    bars_of,
    draw,
    legends,
    means_of,
    names_at_ends,
)
from tests.analysis.made_up import Row, made_up_rows, row, rows

FIGURES = ("figure3a", "figure3b", "figure4")


def _select(name: str, cells: Iterable[Row]) -> Selection:
    selection = select(made_up_rows(cells), ITEMS[name].needs)
    assert selection is not None
    return selection


@cache
def _full_sweep() -> list[Row]:
    """The grids of the real sweep with fewer values and repetitions."""
    factors, at = [16, 64, 4096], {"dimension": [16, 64], "init_bound": 1.0}
    cells = [
        *rows(
            2, quantizer="vq", dimension=[2, 16, 64], codebook_size=[16, 64, 256, 1024], factors=4096, init_bound=17.3
        ),
        *rows(
            2, quantizer="vq", dimension=[2, 16, 64], codebook_size=[16, 64, 256, 1024], factors=4096, init_bound=1.0
        ),
        *rows(2, quantizer="kmeans", dimension=[2, 16, 64], codebook_size=[16, 64, 256, 1024], factors=4096),
        *rows(2, quantizer="vq", codebook_size=[16, 64, 256, 1024], factors=factors, **at),
        *rows(2, quantizer="dvq", codebook_size=16, slices=[2, 4, 8], factors=factors, **at),
    ]
    return list({cell["cell_id"]: cell for cell in cells}.values())


def _axes(selection: Selection, quantizer: str) -> dict[str, tuple[Any, ...]]:
    grid = selection.grid(quantizer)
    assert grid is not None
    return dict(grid.axes)


@cache
def _whole(name: str) -> Selection:
    return _select(name, _full_sweep())


@cache
def _drawn(name: str) -> Figure:
    return _draw(name, _whole(name))


def _draw(name: str, selection: Selection) -> Figure:
    return draw(name, selection)[0]


def test_figure3a_is_drawn_at_the_factors_with_the_largest_rectangle() -> None:
    axes = _axes(_whole("figure3a"), "vq")
    assert axes["factors"] == (4096,)
    assert axes["dimension"] == (2, 16, 64)
    assert axes["init_bound"] == (1.0, 17.3)


def test_figure3b_leaves_out_bounds_and_dimensions_with_one_number_of_factors() -> None:
    selection = _whole("figure3b")
    axes = _axes(selection, "vq")
    assert axes["dimension"] == (16, 64)
    assert axes["init_bound"] == (1.0,)
    points = selection["vq"].means("loss_over_variance")
    assert (points["codebook_size"] < points["factors"]).all()
    assert selection.holes() == []


def test_figure4_holds_dvq_against_vq_of_its_size_and_the_two_largest() -> None:
    selection = _whole("figure4")
    assert _axes(selection, "vq")["codebook_size"] == (16, 256, 1024)
    assert _axes(selection, "dvq")["slices"] == (2, 4, 8)
    assert selection.left_out == ("left out: kmeans, of which the store holds 4 of 12 cells",)


def test_a_failure_moves_no_choice() -> None:
    cells = _full_sweep()
    for name in FIGURES:
        whole = _whole(name)
        broken = _select(name, [{**cell, "status": "error"} for cell in cells])
        for grid in whole.grids:
            if grid.presence == "required":
                assert _axes(broken, grid.quantizer) == dict(grid.axes)


@pytest.mark.parametrize("name", FIGURES)
def test_lines_have_the_colours_that_the_legend_gives_them(name: str) -> None:
    figure = _drawn(name)
    explained = {to_hex(line.get_color()) for legend in legends(figure) for line in legend.get_lines()}
    drawn = {to_hex(line.get_color()) for axes in figure.axes for line in axes.get_lines()}
    assert {readable(colour, 4.5) for colour in drawn - explained} <= {*names_at_ends(figure).values()}


def test_a_model_has_one_colour_in_all_figures() -> None:
    for name in FIGURES:
        labels = {
            text.get_text(): to_hex(line.get_color())
            for legend in legends(_drawn(name))
            for text, line in zip(legend.get_texts(), legend.get_lines(), strict=True)
        }
        labels |= names_at_ends(_drawn(name))
        k256 = next(colour for label, colour in labels.items() if "K = 256" in label)
        assert k256 == known_look("vq", 256).colour


def test_what_is_drawn_is_the_mean_and_its_interval() -> None:
    selection = _whole("figure3a")
    points = selection["vq"].means("test_mse")
    points = points[(points["codebook_size"] == 64) & (points["init_bound"] == 17.3)].sort_values("dimension")
    panel = _drawn("figure3a").axes[1]
    look = known_look("vq", 64)
    (means,) = [line for line in means_of(panel) if (line.get_color(), line.get_marker()) == (look.colour, look.marker)]
    np.testing.assert_allclose(np.asarray(means.get_ydata(), float), points["mean"])
    yardstick = selection["kmeans"].means("test_mse").query("codebook_size == 64")  # of the same colour
    expected = pd.concat([points, yardstick])[["dimension", "low", "high"]].sort_values(["dimension", "low"])
    bars = sorted((low[0], low[1], high[1]) for (low, high), colour in bars_of(panel) if colour == look.colour)
    np.testing.assert_allclose(bars, expected.to_numpy(float))


def test_a_hole_breaks_the_line_and_gets_a_cross_above_the_panel() -> None:
    gone = {"quantizer": "vq", "dimension": 16, "codebook_size": 64, "init_bound": 17.3}
    cells = [c for c in _full_sweep() if any(c[k] != v for k, v in gone.items())]
    figure = _draw("figure3a", _select("figure3a", cells))
    colour = known_look("vq", 64).colour
    lines = [line for line in figure.axes[1].get_lines() if line.get_color() == colour]
    assert any(np.isnan(np.asarray(line.get_ydata(), float)).any() for line in lines)
    (cross,) = [line for line in lines if line.get_marker() == "x"]
    np.testing.assert_array_equal(cross.get_xdata(), [16])
    assert not any(line.get_marker() == "x" for line in figure.axes[0].get_lines())
    labels = [text.get_text() for legend in legends(figure) for text in legend.get_texts()]
    assert "no value (above the panel)" in labels


def test_a_point_that_lacks_repetitions_gets_a_ring() -> None:
    point = {"quantizer": "vq", "dimension": 16, "codebook_size": 64, "factors": 64, "init_bound": 1.0}
    cells = rows(3, **{**point, "dimension": [2, 16], "codebook_size": [16, 64]})
    lost = row(seed=2, status="diverged", **point)
    selection = _select("figure3a", [lost if cell["cell_id"] == lost["cell_id"] else cell for cell in cells])
    assert selection.hole_count() == 1
    rings = [line for line in _draw("figure3a", selection).axes[0].get_lines() if line.get_markersize() > 8]
    assert [np.asarray(line.get_xdata()).tolist() for line in rings] == [[16]]


@pytest.mark.parametrize("name", FIGURES)
def test_text_is_readable_and_in_nobodys_way(name: str) -> None:
    figure = _drawn(name)
    assert_no_text_overlaps_or_leaves_the_page(figure, least=20)
    assert_text_is_readable_in_print(figure, least=20)


def test_titles_of_three_columns_do_not_touch() -> None:
    cells = rows(
        2, quantizer="vq", dimension=[2, 32, 256], codebook_size=16, factors=[64, 256, 1024], init_bound=[1.0, 17.3]
    )
    figure = _draw("figure3b", _select("figure3b", cells))
    assert [axes.get_title() for axes in figure.axes[3:]] == [f"D = {d}, start in ±17.3" for d in (2, 32, 256)]
    assert_no_text_overlaps_or_leaves_the_page(figure, least=20)
