"""Figures for paper and slides, across a page or a column, and what a page shows of them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from analysis.build import Made, make_named
from analysis.data.rows import load_rows
from analysis.data.selection import Selection
from analysis.draw import style
from analysis.draw.sheet import Drawn
from analysis.figures import ITEMS
from tests.analysis.command_line import analysis, undrawn
from tests.analysis.looking import assert_no_text_overlaps_or_leaves_the_page, draw
from tests.analysis.made_up import rows, write

NARROW_AND_WIDE = [*style.FORMATS]


@pytest.fixture(scope="module")
def selection(tmp_path_factory: pytest.TempPathFactory) -> Selection:
    shared: dict[str, Any] = {"dimension": [8, 16, 64, 256], "factors": [16, 64, 256, 1024, 4096], "init_bound": 1.0}
    held = [
        *rows(3, quantizer="vq", codebook_size=[16, 256, 1024], **shared),
        *rows(3, quantizer="dvq", codebook_size=16, slices=[2, 4, 8], **shared),
        *rows(3, quantizer="kmeans", codebook_size=16, dimension=shared["dimension"], factors=shared["factors"]),
    ]
    found = load_rows([write(tmp_path_factory.mktemp("formats") / "store", held)])
    selected = ITEMS["figure4"].select(found, ITEMS["figure4"].needs)
    assert selected is not None
    return selected


def sheet(selection: Selection, form: style.Format) -> Drawn:
    draw = ITEMS["figure4"].draw
    assert draw is not None
    with style.drawn_for(form), style.printed():
        return draw(selection)


def drawn(selection: Selection, form: style.Format) -> Figure:
    return sheet(selection, form).figure


@pytest.mark.parametrize("form", NARROW_AND_WIDE, ids="-".join)
def test_a_figure_is_as_wide_as_its_format_and_nothing_overlaps(selection: Selection, form: tuple[str, str]) -> None:
    its = style.FORMATS[form]
    figure = drawn(selection, its)
    assert figure.get_size_inches()[0] == its.inches
    with style.drawn_for(its):
        assert_no_text_overlaps_or_leaves_the_page(figure, least=20)
    sizes = {text.get_fontsize() for axes in figure.axes for text in axes.get_xticklabels()}
    assert sizes == {its.small_points}


def test_a_narrow_figure_has_the_same_panels_in_fewer_columns(selection: Selection) -> None:
    sheets = [sheet(selection, form) for form in (style.PAGE, style.COLUMN)]
    page, column = (each.figure for each in sheets)
    columns = [len({round(axes.get_position().x0, 3) for axes in figure.axes}) for figure in (page, column)]
    assert columns == [3, 1], "two would break rows of three"
    titles = [[axes.get_title() for axes in figure.axes] for figure in (page, column)]
    assert titles[0] == titles[1]
    assert [len(each.marks.points) for each in sheets] == [4 * 7 * 5] * 2


def test_a_dvq_has_the_colour_of_the_vq_of_as_many_bits_and_another_line(selection: Selection) -> None:
    figure = drawn(selection, style.PAGE)
    lines = {
        text.get_text(): line
        for legend in figure.legends
        for text, line in zip(legend.get_texts(), legend.get_lines(), strict=True)
    }
    vq, dvq = lines["VQ, K = 256 (8 bits)"], lines["DVQ, K = 16, L = 2 (8 bits)"]
    assert vq.get_color() == dvq.get_color()
    assert vq.get_linestyle() != dvq.get_linestyle()
    assert lines["DVQ, K = 16, L = 4 (16 bits)"].get_color() not in {line.get_color() for line in (vq, dvq)}


def test_marks_have_the_names_of_the_legend_and_the_numbers_of_the_table(selection: Selection) -> None:
    marks = sheet(selection, style.PAGE).marks
    named = {marks.names[point[2]] for point in marks.points}
    assert "DVQ, K = 16, L = 8 (32 bits)" in named
    assert "" not in named
    table = selection["vq"].means("test_mse").query("codebook_size == 256 and dimension == 64 and factors == 1024")
    (mark,) = (
        point
        for point in marks.points
        if marks.names[point[2]] == "VQ, K = 256 (8 bits)" and "D = 64" in marks.names[point[3]] and point[4] == "1024"
    )
    assert mark[5:8] == [float(f"{table[name].iloc[0]:.4g}") for name in ("mean", "low", "high")]
    assert mark[8] == 3


def test_a_picture_of_a_page_has_text_and_no_style_twice(selection: Selection) -> None:
    with style.printed():
        figure, _ = draw("figure4", selection)
        page, file = style.page_svg(figure).decode(), style.rendered(figure)[".svg"].decode()
    assert "number of factors F" in re.sub("<[^>]*>", "", page)
    assert ' style="' not in page
    rules = re.findall(r"\.s\d+\{([^}]*)\}", page)
    assert len(rules) == len({*rules}) > 10
    assert len(page) < 0.6 * len(file)
    with style.printed():
        again, _ = draw("figure4", selection)
        assert page == style.page_svg(again).decode()


def test_the_command_draws_for_slides(tmp_path: Path) -> None:
    shared: dict[str, Any] = {"dimension": [2, 4], "codebook_size": 16, "factors": 4096, "init_bound": 1.0}
    store = write(tmp_path / "store", rows(2, quantizer="vq", **shared))
    for name, width in (("page", 12.0), ("column", 5.8)):
        result = analysis(
            store, "--item", "figure3a", "--style", "slides", "--width", name, "--out", tmp_path / name, dpi=20
        )
        assert result.exit_code == 0, result.output
        svg = (tmp_path / name / "figure3a.svg").read_text()
        assert f'width="{72 * width:g}pt"' in svg


def test_a_page_alone_is_one_file(tmp_path: Path) -> None:
    store = write(tmp_path / "store", rows(2, quantizer="vq", dimension=[2, 4], codebook_size=4, factors=16))
    out = tmp_path / "out"
    result = analysis(store, "--page-only", "--out", out, items=undrawn(["figure3b"]))
    assert result.exit_code == 0, result.output
    assert [path.name for path in out.iterdir()] == ["report.html"]
    assert "This page stands alone." in (out / "report.html").read_text()
    assert analysis(store, "--page-only", "--item", "claims").exit_code == 2


def test_what_stores_do_not_give_together_is_made_of_one_and_says_so(tmp_path: Path) -> None:
    shared: dict[str, Any] = {"quantizer": "vq", "codebook_size": 16, "factors": 4096, "init_bound": 1.0}
    whole = write(tmp_path / "whole", rows(3, dimension=[2, 4, 8], **shared))
    more = write(tmp_path / "more", rows(range(3, 6), dimension=2, **shared))
    found = make_named(load_rows([more, whole]), "figure3a", allow_missing=False)
    assert isinstance(found, Made)
    assert found.alone == more, "the first that is complete by itself"
    assert found.cell_count == 3
    together = make_named(load_rows([whole]), "figure3a", allow_missing=False)
    assert isinstance(together, Made)
    assert together.alone == ""
