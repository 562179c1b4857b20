"""Lines that are few have their names at their right ends; others have a legend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import pandas as pd
import pytest
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text

from analysis.draw import style
from analysis.draw.sheet import Sheet, handle
from analysis.draw.style import FAMILIES, Look, contrast
from tests.analysis.looking import assert_no_text_overlaps_or_leaves_the_page, legends, names_at_ends

LOOKS = [FAMILIES["green"].look(2.0**power) for power in range(1, 9)]
X = (1.0, 2.0, 4.0)


def drawn(
    *lines: Sequence[float], form: style.Format = style.PAGE, names: Mapping[int, str] | None = None, panels: int = 1
) -> Figure:
    """A row of panels with these lines; a line with two values ends at the second place."""
    with style.drawn_for(form), style.printed():
        sheet = Sheet([""] * panels, columns=panels, inches=1.6)
        for panel in sheet.panels:
            panel.log_x(X)
            for look, heights in zip(LOOKS, lines, strict=False):
                panel.points(X[: len(heights)], _means(heights), look)
        legend = [handle(look, (names or {}).get(i, f"model {i}")) for i, look in enumerate(LOOKS[: len(lines)])]
        return sheet.finish(
            x_label="x", y_label="y", footnote="A note.", legend=[legend], message="A message.", caption=""
        ).figure


def _means(heights: Sequence[float]) -> pd.DataFrame:
    high = pd.Series(heights, dtype=float)
    return pd.DataFrame({"n": 2, "wanted": 2, "mean": high, "low": high - 0.1, "high": high + 0.1})


def in_legend(figure: Figure) -> list[str]:
    return [text.get_text() for legend in legends(figure) for text in legend.get_texts()]


def leaders(figure: Figure) -> list[Artist]:
    """What leads from the ends of lines to names that were moved far."""
    return [each for each in (*figure.lines, *figure.artists) if isinstance(each, Line2D)]


def label(figure: Figure, name: str) -> Text:
    (found,) = [text for text in figure.texts if text.get_text() == name]
    return found


@pytest.mark.parametrize("form", [style.PAGE, style.FORMATS["slides", "page"]])
def test_names_stand_in_the_order_of_their_lines_and_never_touch(form: style.Format) -> None:
    close = [(1.0, 1.0, 3.0 + 0.01 * i) for i in (3, 0, 2, 1)]
    figure = drawn(*close, (1.0, 1.0, 6.0), form=form)
    assert in_legend(figure) == []
    with style.drawn_for(form):
        assert_no_text_overlaps_or_leaves_the_page(figure, least=5)
    heights = {name: label(figure, name).get_position()[1] for name in names_at_ends(figure)}
    assert sorted(heights, key=lambda name: heights[name]) == [f"model {i}" for i in (1, 3, 2, 0, 4)]
    assert len(leaders(figure)) >= 2, "something leads to what was moved far"


def test_a_name_that_has_room_is_level_with_its_line_and_nothing_leads_to_it() -> None:
    figure = drawn((1, 1, 2), (1, 1, 8))
    (axes,) = figure.axes
    for name, height in (("model 0", 2.0), ("model 1", 8.0)):
        _, y = figure.transFigure.transform(label(figure, name).get_position())
        assert y == pytest.approx(axes.transData.transform((4.0, height))[1], abs=0.1)
    assert leaders(figure) == []


def test_names_are_as_dark_as_text_must_be() -> None:
    figure = drawn((1, 1, 2), (1, 1, 8))
    assert min(contrast(look.colour) for look in LOOKS[:2]) < 4.5
    assert all(contrast(colour) >= 4.5 for colour in names_at_ends(figure).values())


def test_many_lines_lines_that_end_at_one_place_long_names_and_narrow_figures_have_a_legend() -> None:
    few = [(1.0, 1.0, float(i)) for i in range(6)]
    everything = [f"model {i}" for i in range(6)]
    assert in_legend(drawn(*few, (1.0, 1.0, 9.0))) == [*everything, "model 6"]
    assert in_legend(drawn(*few, form=style.COLUMN)) == everything
    long = "a name that takes three lines of nineteen letters each"
    assert in_legend(drawn(*few, names={5: long})) == [*everything[:5], long]
    bunched = [(1.0, 1.0, 3.0 + 0.01 * i) for i in range(6)]
    assert in_legend(drawn(*bunched)) == everything
    assert in_legend(drawn(*few)) == []


def test_a_line_that_ends_early_keeps_its_entry_and_most_of_them_the_whole_legend() -> None:
    figure = drawn((1, 2, 3), (1, 2, 5), (1, 6))
    assert in_legend(figure) == ["model 2"]
    assert [*names_at_ends(figure)] == ["model 0", "model 1"]
    assert in_legend(drawn((1, 2, 3), (1, 2), (1, 6))) == ["model 0", "model 1", "model 2"]


def test_names_stand_right_of_the_last_panel_alone() -> None:
    figure = drawn((1, 2, 3), (1, 2, 5), panels=3)
    assert [*names_at_ends(figure)] == ["model 0", "model 1"]
    right = figure.axes[-1].get_position().x1
    assert all(label(figure, name).get_position()[0] > right for name in names_at_ends(figure))


def test_looks_without_a_line_have_a_legend() -> None:
    with style.printed():
        sheet = Sheet([""], columns=1, inches=1.6)
        dots = Look(colour="#123456", marker="o", line="")
        sheet.panels[0].points(X, _means((1, 2, 3)), dots)
        figure = sheet.finish(
            x_label="", footnote="", legend=[[handle(dots, "dots")]], message="A message.", caption=""
        ).figure
    assert in_legend(figure) == ["dots"]


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ([0.05, 1, 10, 17.3], ["0.05", "1", "17.3"]),
        ([16, 64, 256, 1024, 4096], ["16", "64", "256", "1024", "4096"]),
        ([1, 1000, 1024], ["1", "1024"]),
        ([1, 2, 4, 8, 16, 32], ["1", "2", "4", "8", "16", "32"]),
        ([7], ["7"]),
    ],
)
def test_no_tick_of_a_log_axis_touches_the_next(values: list[float], shown: list[str]) -> None:
    with style.drawn_for(style.PAGE), style.printed():
        sheet = Sheet(["", "", ""], columns=3, inches=1.6)
        for panel in sheet.panels:
            panel.log_x(values)
            panel.points(values, _means([1.0] * len(values)), LOOKS[0])
        figure = sheet.finish(x_label="x", y_label="y", footnote="", legend=[], message="", caption="").figure
        figure.canvas.draw()
        labels = sheet.panels[0].axes.get_xticklabels()
        boxes = [label.get_window_extent() for label in labels]
    assert [label.get_text() for label in labels] == shown
    assert all(one.x1 < other.x0 for one, other in pairwise(boxes))
