"""Rows of bars and dots: what is drawn where, and that names and numbers fit."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from analysis.draw import bars, style
from analysis.draw.style import Look
from tests.analysis.looking import assert_no_text_overlaps_or_leaves_the_page, assert_text_is_readable_in_print, legends

LOOK = Look(colour="#2389BF", marker="s")
BLOCKS = [("first", ["short", "a much longer name of a model"]), ("second", ["short"])]


def point(mean: float, half: float, n: int = 3) -> pd.DataFrame:
    return pd.DataFrame([{"n": n, "wanted": 3, "mean": mean, "low": mean - half, "high": mean + half}])


@pytest.fixture(scope="module")
def figure() -> Figure:
    """Two blocks of two columns: bars in the first column, dots in the second."""
    with style.printed():
        sheet, ((left, right), (beneath, empty)) = bars.row_sheet(BLOCKS, columns=2, row_inches=0.25)
        bars.part(left, 0, 0, 5, "#2389BF", "full")
        bars.part(left, 0, 5, 6, "#2389BF", "light")
        bars.part(left, 0, 6, 6.5, "#2389BF", "hatched")
        bars.interval(left, 0, point(6, 0.75))
        bars.text(left, 0, 7, "5.00 + 1.00")
        bars.no_value(left, 1)
        bars.dot(right, 0, point(1, 0.5), LOOK)
        bars.dot(right, 1.25, point(2, 0.5), LOOK, hollow=True)
        bars.dot(beneath, 0, point(20, np.nan, n=1), LOOK)
        bars.dot(empty, 0, point(np.nan, np.nan, n=0), LOOK)
        for axes in (left, right, beneath, empty):
            axes.set_xlim(0, 25)
        legend: list[list[Artist]] = [
            [bars.part_handle("full", "a part"), bars.part_handle("hatched", "another")],
            [bars.dot_handle("s", "a dot")],
        ]
        limits = bars.row_limits(BLOCKS)
        return sheet.finish(
            x_label=["bits", "shares"], legend=legend, footnote="A note. " * 40, y_limits=limits, caption="",
            message="A message. " * 20,
        ).figure  # fmt: skip


def drawn_bars(axes: Axes) -> list[Rectangle]:
    return [patch for patch in axes.patches if isinstance(patch, Rectangle)]


def test_parts_of_a_bar_follow_each_other_and_differ_in_lightness(figure: Figure) -> None:
    drawn = drawn_bars(figure.axes[0])
    assert [(bar.get_x(), bar.get_width()) for bar in drawn] == [(0, 5), (5, 1), (6, 0.5)]
    lightness = [sum(to_rgb(bar.get_facecolor())) for bar in drawn]
    assert lightness[0] < lightness[1] - 0.5 < lightness[2] - 1
    assert [bool(bar.get_hatch()) for bar in drawn] == [False, False, True]
    edges = {bar.get_edgecolor() for bar in drawn}
    assert len(edges) == 1
    assert sum(to_rgb(edges.pop())) < lightness[0]


def test_intervals_have_the_given_lengths(figure: Figure) -> None:
    (interval,) = [c for c in figure.axes[0].collections if isinstance(c, LineCollection) and c.get_zorder() > 1]
    np.testing.assert_allclose(interval.get_segments()[0], [[5.25, 0], [6.75, 0]])


def test_the_first_row_is_on_top_and_a_dot_can_stand_aside(figure: Figure) -> None:
    axes = figure.axes[1]
    bottom, top = axes.get_ylim()
    assert bottom > 1.25 > 0 > top
    places = [(line.get_xdata()[0], line.get_ydata()[0]) for line in axes.get_lines() if line.get_marker() == "s"]  # type: ignore[index]
    assert places == [(1, 0), (2, 1.25)]


def test_a_point_without_a_value_is_not_drawn(figure: Figure) -> None:
    left, _, _, empty = figure.axes
    assert empty.get_lines() == []
    assert [text.get_text() for text in left.texts] == ["5.00 + 1.00", "no value"]


def test_names_numbers_and_legends_fit_the_page(figure: Figure) -> None:
    assert_no_text_overlaps_or_leaves_the_page(figure, least=10)
    assert_text_is_readable_in_print(figure, least=10)
    assert len(legends(figure)) == 2
    left, right = (axes.get_position() for axes in figure.axes[:2])
    assert left.width == pytest.approx(right.width)
    assert left.x0 * 7 > 1.3  # room for the long name


def test_long_names_are_broken_between_words_and_leave_room_for_numbers() -> None:
    name = "library, ResidualVQ(num_quantizers=2, codebook_size=64)"
    blocks = [("first", [name, "DVQ, D = 64, L = 4, K = 512, J = 16, P = 8", "two\nlines"])]
    with style.printed():
        sheet, ((axes,),) = bars.row_sheet(blocks, columns=1, row_inches=0.27, numbers=True)
        for row in range(3):
            bars.part(axes, row, 0, 7, "#2389BF", "full")
            bars.text(axes, row, 7, "7.324 + 0.030 = 7.354 (positional)")
        bars.reach(axes, 7, 1.75)
        figure = sheet.finish(
            x_label="bits", footnote="A note.", y_limits=bars.row_limits(blocks), caption="", message="A message."
        ).figure
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "library, ResidualVQ(num_quantizers=2,\ncodebook_size=64)", "DVQ, D = 64, L = 4, K = 512, J = 16,\nP = 8",
        "two\nlines",
    ]  # fmt: skip
    assert_no_text_overlaps_or_leaves_the_page(figure, least=10)


def test_many_rows_are_closer_together_so_that_the_figure_fits_a_page() -> None:
    blocks = [("many", [f"model {i}" for i in range(60)])]
    with style.printed():
        sheet, _ = bars.row_sheet(blocks, columns=1, row_inches=0.4)
        figure = sheet.finish(
            x_label="bits", footnote="A note.", y_limits=bars.row_limits(blocks), caption="", message="A message."
        ).figure
    assert figure.get_size_inches()[1] < 7
