from __future__ import annotations

import itertools
import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from numpy.typing import NDArray

from analysis.draw.looks import _family_of, known_look
from analysis.draw.style import (
    FAMILIES,
    GREY,
    THEORY,
    Look,
    contrast,
    distinguished,
    page_svg,
    printed,
    rendered,
    unlike,
)
from analysis.figures.static_prior._shared import dvq_look, kmeans_look, vq_look

Matrix = NDArray[np.float64]
SVQ = [known_look("svq", 1), known_look("svq", 8)]
LOOKS = {
    "static prior": [vq_look(size) for size in (16, 64, 256, 1024)] + [dvq_look(slices) for slices in (2, 4, 8)],
    "photographs": [
        vq_look(16),
        vq_look(64),
        FAMILIES["olive"].look(4),
        dvq_look(4),
        known_look("svq", 1),
        known_look("svq", 8),
    ],
    "images": [
        vq_look(255),
        vq_look(2550),
        FAMILIES["olive"].look(10),
        dvq_look(10),
        known_look("svq", 1),
        known_look("svq", 8),
    ],
    "slices": [dvq_look(slices) for slices in (1, 2, 4, 8, 16)],
}
"""Models that stand in one figure."""

# Machado, Oliveira and Fernandes (2009), severity 1, on linear RGB.
COLOUR_VISION = {
    "usual": np.eye(3),
    "protanopia": np.array([[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]]),
    "deuteranopia": np.array([[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]]),
    "tritanopia": np.array([[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]]),
}


def _lab(look: Look, vision: Matrix) -> Matrix:
    """CIE L*a*b* under D65."""
    rgb = np.array(to_rgb(look.colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(vision @ linear, 0, 1)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    x, y, z = to_xyz @ seen / np.array([0.9505, 1.0, 1.089])
    f = [value ** (1 / 3) if value > 0.008856 else 7.787 * value + 16 / 116 for value in (x, y, z)]
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("vision", COLOUR_VISION)
@pytest.mark.parametrize("figure", LOOKS)
def test_models_differ_to_every_kind_of_colour_vision(figure: str, vision: str) -> None:
    labs = [_lab(look, COLOUR_VISION[vision]) for look in LOOKS[figure]]
    nearest = min(np.linalg.norm(a - b) for a, b in itertools.combinations(labs, 2))
    assert nearest > 15  # about six just noticeable differences


@pytest.mark.parametrize("figure", LOOKS)
def test_models_differ_by_their_markers_alone(figure: str) -> None:
    assert len({look.marker for look in LOOKS[figure]}) == len(LOOKS[figure])


def test_models_of_equal_colour_get_lines_of_their_own() -> None:
    looks = distinguished([dvq_look(4), dvq_look(8), dvq_look(4), dvq_look(4)])
    assert [look.colour for look in looks] == [dvq_look(slices).colour for slices in (4, 8, 4, 4)]
    assert (looks[0].line, looks[1].line) == ("-", "-")
    assert len({str(look.line) for look in (looks[0], looks[2], looks[3])}) == 3


def test_points_of_quantizers_of_like_colours_get_markers_of_their_own() -> None:
    greys = [[known_look(name, value) for value in (1, 4)] for name in ("kmeans", "opq", "pq")]
    blues = [[known_look("vq", 256)], [known_look("simvq", 256)]]
    looks = unlike([*greys, [dvq_look(2), dvq_look(4)], *blues])
    markers = [{look.marker for look in group} for group in looks]
    assert len(set.union(*markers[:3])) == 3  # one for each quantizer, whatever its value
    assert markers[4] != markers[5]
    assert looks[3] == [dvq_look(2), dvq_look(4)]  # nothing else is orange
    assert [[look.colour for look in group] for group in looks[:3]] == [
        [look.colour for look in group] for group in greys
    ]


def test_kmeans_has_the_colour_of_the_vq_that_it_is_held_against() -> None:
    for size in (2, 16, 100, 1024, 2**20):
        assert kmeans_look(size).colour == vq_look(size).colour
        assert kmeans_look(size).line != vq_look(size).line


@pytest.mark.parametrize("name", ["a$b$c", "$\\frac{1$", "$", "a\\$b", "_^{}\\", "[x] :smile:"])
def test_a_name_in_a_figure_is_not_parsed_as_a_formula(name: str) -> None:
    with printed():
        figure = Figure()
        figure.suptitle(name)
        assert rendered(figure)[".svg"].count(b"<use ") == len(name)


def test_places_are_rounded_and_numbers_that_one_reads_are_not() -> None:
    with printed():
        figure = Figure(figsize=(2, 1))
        figure.text(0.123456, 0.5, "0.0052 and 1.2345")
        svg = page_svg(figure).decode()
    assert ">0.0052 and 1.2345<" in svg
    assert re.search(r"<[^>]*\d\.\d{3}", svg.split("</style>")[1]) is None


def test_the_last_bit_of_a_place_changes_nothing() -> None:
    def drawn(width: float) -> bytes:
        with printed():
            figure = Figure(figsize=(2, 1))
            axes = figure.add_axes((0.25, 0.25, width, 0.5))
            axes.plot([0, 1, 2], [1, 0, 1], marker="o")
            axes.hlines([0.5], 0, 2)
            return rendered(figure)[".svg"]

    assert drawn(0.5) == drawn(np.nextafter(0.5, 1))
    assert b"clip-path" in drawn(0.5)


def test_a_page_gets_the_picture_without_its_top() -> None:
    with printed():
        figure = Figure(figsize=(2, 1))
        whole, cut = (re.search(r'height="(.*?)pt" viewBox="(.*?)"', page_svg(figure, without_inches=inches).decode())
                      for inches in (0.0, 0.25))  # fmt: skip
    assert whole is not None
    assert [float(number) for number in whole[2].split()] == [0, 0, 144, 72]
    assert cut is not None
    assert [float(number) for number in cut[2].split()] == [0, 18, 144, 54]
    assert float(cut[1]) == 54


def test_contrast_is_that_of_wcag() -> None:
    assert contrast("#000000") == pytest.approx(21)
    assert contrast("#777777") == pytest.approx(4.48, abs=0.005)  # the well-known grey that just fails
    assert contrast("#FFFFFF", "#FFFFFF") == 1


@pytest.mark.parametrize("name", [*FAMILIES, "mine:Rotated", "theirs/rvq", *"abcdefgh"])
def test_every_line_stands_out_from_the_page(name: str) -> None:
    family = FAMILIES.get(name) or _family_of(name)
    assert min(contrast(family.look(2.0 ** (step / 4)).colour) for step in range(60)) >= 3
    assert min(contrast(GREY), contrast(THEORY.colour)) >= 4.5


@pytest.mark.parametrize("name", [*FAMILIES, "mine:Rotated", "theirs/rvq", *"abcdefgh"])
def test_every_line_stands_out_in_the_dark(name: str) -> None:
    family = FAMILIES.get(name) or _family_of(name)
    page = in_the_dark("#FFFFFF")
    assert min(contrast(in_the_dark(family.look(2.0 ** (step / 4)).colour), page) for step in range(60)) >= 3
    assert min(contrast(in_the_dark(colour), page) for colour in (GREY, THEORY.colour, "#000000")) >= 4.5


def in_the_dark(colour: str) -> str:
    """What the filter of report.css makes of a colour (Filter Effects Level 1, shorthands of section 6)."""
    turned, amount = np.array(to_rgb(colour)), 0.91
    grey = np.tile([0.213, 0.715, 0.072], (3, 1))
    hue = 2 * grey - np.eye(3)  # half a turn: the cosine is -1, the sine 0
    return to_hex(tuple(np.clip(hue @ (turned * (1 - 2 * amount) + amount), 0, 1)))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_of_the_report_stands_out_from_its_background(scheme: str) -> None:
    css = (Path(__file__).parents[2] / "analysis" / "report" / "report.css").read_text()
    light, dark = re.findall(r":root \{([^}]*)\}", css)[:2]
    colours = dict(re.findall(r"--(\w+): (#\w{6})", light if scheme == "light" else dark))
    assert {"ink", "soft", "link", "good", "bad", "open", "none"} <= colours.keys()
    for text in ("ink", "soft", "link", "good", "bad", "open", "none"):
        assert min(contrast(colours[text], colours[on]) for on in ("paper", "wash")) >= 4.5, text
