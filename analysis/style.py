"""The look of everything that is drawn: sizes for print, one colour and one marker for each model, equal bytes.

A model's colour follows from its own values and not from what else is drawn, so that it is the same in every figure
of every store. Plain VQ runs from light green to dark blue as the codebook grows, DVQ from light orange to dark red
as the slices do: the two families and the steps within them differ in lightness and hue for all common kinds of colour
vision, and the markers differ too. So do the families that only images have: VQ with joint codebooks, from light to
dark olive as these grow in number, and SVQ, from lilac to plum as more positions share a code. Plain VQ of images goes
from green to blue by its dimension, because all codebooks of a comparison usually have one size.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal

import matplotlib
import matplotlib.style
from matplotlib.colors import LinearSegmentedColormap, to_hex
from matplotlib.figure import Figure
from PIL import Image

WIDTH_INCHES = 7.0
"""Of a figure across the text of a page."""
POINTS = 8.0
"""Size of the text; nothing is below `SMALL_POINTS`."""
SMALL_POINTS = 7.0
PNG_DPI = 300

GREY = "#6E6E6E"
"""Yardsticks that are no model."""

_SETTINGS = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so that every machine draws the same
    "font.size": POINTS,
    "axes.titlesize": POINTS,
    "axes.labelsize": POINTS,
    "xtick.labelsize": SMALL_POINTS,
    "ytick.labelsize": SMALL_POINTS,
    "legend.fontsize": SMALL_POINTS + 0.5,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.5,
    "axes.axisbelow": True,
    "xtick.bottom": False,  # the grid says where they are
    "ytick.left": False,
    "lines.linewidth": 1.2,
    "lines.markersize": 4.2,
    "savefig.dpi": PNG_DPI,
    "text.parse_math": False,  # a dollar sign in a name is one
    "svg.fonttype": "path",
    "svg.hashsalt": "dvq_ray",
}


@contextmanager
def printed() -> Iterator[None]:
    """The style, whatever a user's own settings of matplotlib are. Drawing and saving both belong inside."""
    with matplotlib.style.context(_SETTINGS, after_reset=True):
        yield


def rendered(figure: Figure) -> dict[str, bytes]:
    """The figure's files by suffix. Equal figures give equal bytes: no dates, no random ids."""
    drawing, pixels, picture = io.BytesIO(), io.BytesIO(), io.BytesIO()
    figure.savefig(drawing, format="svg", metadata={"Date": None, "Creator": None})
    figure.savefig(pixels, format="raw")
    dpi = int(matplotlib.rcParams["savefig.dpi"])
    width, content = round(figure.get_figwidth() * dpi), pixels.getvalue()
    whole = Image.frombytes("RGBA", (width, len(content) // (4 * width)), content)
    # Without transparency, of which there is none, weak compression takes no more bytes than matplotlib's strong one.
    whole.convert("RGB").save(picture, "png", compress_level=3, dpi=(dpi, dpi))
    return {".svg": drawing.getvalue(), ".png": picture.getvalue()}


Line = Literal["-", ":"] | tuple[float, Sequence[float]]
"""Matplotlib's line styles: a name, or an offset and lengths of ink and gap in points."""
DASHED: Line = (0, (3.5, 1.8))
DASH_DOTTED: Line = (0, (4, 1.4, 1, 1.4))
_LINES: Sequence[Line] = ("-", DASHED, ":", DASH_DOTTED)


@dataclass(frozen=True, kw_only=True)
class Look:
    """How one model is drawn."""

    colour: str
    marker: str = ""
    line: Line = "-"
    width: float = 1.2


THEORY = Look(colour="#303030", width=0.9)
"""A curve that nothing was fitted to."""


def vq_look(codebook_size: int) -> Look:
    """Plain VQ, by its codebook size."""
    at = math.log2(codebook_size)
    return Look(colour=_on_ramp(_VQ_RAMP, at / 14), marker=_marker(at, "hH<>opsh^dD8"))


def dvq_look(slices: int) -> Look:
    """DVQ, by its slices."""
    at = math.log2(slices)
    return Look(colour=_on_ramp(_DVQ_RAMP, at / 6), marker=_marker(at, "HvPX*d"))


def wide_vq_look(dimension: int) -> Look:
    """Plain VQ of latents, by their dimension."""
    return vq_look(dimension)


def joint_vq_look(codebooks: int) -> Look:
    """VQ with several codebooks on the same features, by their number."""
    at = math.log2(codebooks)
    return Look(colour=_on_ramp(_JOINT_RAMP, at / 6), marker=_marker(at, "hp^<>H"))


def svq_look(joint_positions: int) -> Look:
    """SVQ, by the positions that a code stands for."""
    at = math.log2(joint_positions)
    return Look(colour=_on_ramp(_SVQ_RAMP, at / 6), marker=_marker(at, "Dp>v8H"))


def told_apart(looks: Sequence[Look]) -> list[Look]:
    """The looks; those that share colour and marker in lines of their own, as far as there are such."""
    seen: dict[tuple[str, str], int] = {}
    apart = []
    for look in looks:
        place = seen.get((look.colour, look.marker), 0)
        seen[look.colour, look.marker] = place + 1
        apart.append(replace(look, line=_LINES[place % len(_LINES)]))
    return apart


def kmeans_look(codebook_size: int) -> Look:
    """K-means, the yardstick of the plain VQ of that codebook size: its colour."""
    return as_kmeans(vq_look(codebook_size))


def as_kmeans(look: Look) -> Look:
    """What k-means makes of a look: dashed, thin, with dots."""
    return replace(look, marker=".", line=DASHED, width=0.9)


def as_untrained(look: Look) -> Look:
    """The same model before its training."""
    return replace(look, line=DASH_DOTTED, width=0.7)


def _on_ramp(ramp: LinearSegmentedColormap, at: float) -> str:
    return to_hex(ramp(min(max(at, 0.0), 1.0)))


def _marker(at: float, markers: str) -> str:
    return markers[round(at) % len(markers)]


def _ramp(anchors: Sequence[tuple[float, str]]) -> LinearSegmentedColormap:
    return LinearSegmentedColormap.from_list("ramp", list(anchors), N=4096)


_VQ_RAMP = _ramp(
    [
        (0, "#B7E3C0"),
        (4 / 14, "#72C9A2"),
        (6 / 14, "#2389BF"),
        (8 / 14, "#2B55AA"),
        (10 / 14, "#16205C"),
        (1, "#000000"),
    ]
)
_JOINT_RAMP = _ramp([(0, "#DCE28C"), (2 / 6, "#C3CF62"), (3.3 / 6, "#809B26"), (1, "#2F3F0A")])
_SVQ_RAMP = _ramp([(0, "#BCA9EE"), (3 / 6, "#864C6C"), (1, "#33182B")])
_DVQ_RAMP = _ramp(
    [
        (0, "#F8D98A"),
        (1 / 6, "#F0A630"),
        (2 / 6, "#DB5F1B"),
        (3 / 6, "#9A1B1F"),
        (4 / 6, "#6F1031"),
        (5 / 6, "#450A2B"),
        (1, "#1D0414"),
    ]
)
