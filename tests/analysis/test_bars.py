"""Rows of bars and dots: what is drawn where, and that names and numbers fit."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.artist import Artist
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from analysis.draw import style
from analysis.draw.bars import RowSheet, dot_handle, part_handle
from analysis.draw.style import Look
from tests.analysis.looking import assert_no_text_overlaps_or_leaves_the_page, assert_text_is_readable_in_print, legends

LOOK = Look(colour="#2389BF", marker="s")


def point(mean: float, half: float, n: int = 3) -> pd.DataFrame:
    return pd.DataFrame([{"n": n, "wanted": 3, "mean": mean, "low": mean - half, "high": mean + half}])


def bars(figure: Figure) -> list[Rectangle]:
    axes = figure.axes[0]
    return [patch for patch in axes.patches if isinstance(patch, Rectangle)]


@pytest.fixture(scope="module")
def sheet() -> RowSheet:
    """Two blocks of two columns: bars in the first column, dots in the second."""
    with style.printed():
        sheet = RowSheet(
            [("first", ["short", "a much longer name of a model"]), ("second", ["short"])], columns=2, row_inches=0.25
        )
        (left, right), (beneath, empty) = sheet.blocks
        left.part(0, 0, 5, "#2389BF", "full")
        left.part(0, 5, 6, "#2389BF", "light")
        left.part(0, 6, 6.5, "#2389BF", "hatched")
        left.interval(0, point(6, 0.75))
        left.text(0, 7, "5.00 + 1.00")
        left.lack(1)
        right.dot(0, point(1, 0.5), LOOK)
        right.dot(1, point(2, 0.5), LOOK, aside=0.25, hollow=True)
        beneath.dot(0, point(20, np.nan, n=1), LOOK)
        empty.dot(0, point(np.nan, np.nan, n=0), LOOK)
        legend: list[list[Artist]] = [
            [part_handle("full", "a part"), part_handle("hatched", "another")],
            [dot_handle("s", "a dot")],
        ]
        sheet.finish(x_labels=["bits", "shares"], legend=legend, footnote="A note. " * 40)
    return sheet


def test_parts_of_a_bar_follow_each_other_and_differ_in_lightness(sheet: RowSheet) -> None:
    drawn = bars(sheet.figure)
    assert [(bar.get_x(), bar.get_width()) for bar in drawn] == [(0, 5), (5, 1), (6, 0.5)]
    lightness = [sum(to_rgb(bar.get_facecolor())) for bar in drawn]
    assert lightness[0] < lightness[1] - 0.5 < lightness[2] - 1
    assert [bool(bar.get_hatch()) for bar in drawn] == [False, False, True]
    edges = {bar.get_edgecolor() for bar in drawn}
    assert len(edges) == 1
    assert sum(to_rgb(edges.pop())) < lightness[0]


def test_intervals_reach_as_far_as_they_are_told(sheet: RowSheet) -> None:
    (interval,) = [c for c in sheet.blocks[0][0].axes.collections if isinstance(c, LineCollection)]
    np.testing.assert_allclose(interval.get_segments()[0], [[5.25, 0], [6.75, 0]])


def test_the_first_row_is_on_top_and_a_dot_can_stand_aside(sheet: RowSheet) -> None:
    axes = sheet.blocks[0][1].axes
    bottom, top = axes.get_ylim()
    assert bottom > 1.25 > 0 > top
    places = [(line.get_xdata()[0], line.get_ydata()[0]) for line in axes.get_lines() if line.get_marker() == "s"]  # type: ignore[index]
    assert places == [(1, 0), (2, 1.25)]


def test_panels_above_each_other_share_a_scale_and_a_point_without_a_value_is_not_drawn(sheet: RowSheet) -> None:
    (left, right), (beneath, empty) = sheet.blocks
    assert left.axes.get_xlim() == beneath.axes.get_xlim()
    assert left.axes.get_xlim()[1] > 20
    assert right.axes.get_xlim() == empty.axes.get_xlim()
    assert empty.axes.get_lines() == []
    assert [text.get_text() for text in left.axes.texts] == ["5.00 + 1.00", "no value"]


def test_names_numbers_and_legends_fit_the_page(sheet: RowSheet) -> None:
    assert_no_text_overlaps_or_leaves_the_page(sheet.figure, least=10)
    assert_text_is_readable_in_print(sheet.figure, least=10)
    assert len(legends(sheet.figure)) == 2
    left, right = sheet.blocks[0][0].axes.get_position(), sheet.blocks[0][1].axes.get_position()
    assert left.width == pytest.approx(right.width)
    assert left.x0 * 7 > 1.3  # room for the long name


def test_many_rows_are_set_closer_so_that_the_figure_fits_a_page() -> None:
    with style.printed():
        sheet = RowSheet([("many", [f"model {i}" for i in range(60)])], columns=1, row_inches=0.4)
        figure = sheet.finish(x_labels=["bits"], legend=[], footnote="A note.")
    assert figure.get_size_inches()[1] < 7
