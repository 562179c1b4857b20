"""The look of everything that is drawn: sizes for print, families of colours and markers, equal bytes.

A model's colour follows from its own values and not from what else is drawn, so that it is the same in every figure
of every store. Families and the steps within them differ in lightness and hue for all common kinds of colour vision,
and the markers differ too.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import matplotlib
import matplotlib.style
from matplotlib.colors import LinearSegmentedColormap, to_hex
from matplotlib.figure import Figure
from PIL import Image

WIDTH_INCHES = 7.0
"""Width of a figure across the text of a page."""
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
    "axes.grid": False,  # panels draw their own, faster
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.5,
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
    svg, raw, png = io.BytesIO(), io.BytesIO(), io.BytesIO()
    figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
    figure.savefig(raw, format="raw")
    dpi = int(matplotlib.rcParams["savefig.dpi"])
    width, pixels = round(figure.get_figwidth() * dpi), raw.getvalue()
    whole = Image.frombytes("RGBA", (width, len(pixels) // (4 * width)), pixels)
    # Without transparency, of which there is none, weak compression takes no more bytes than matplotlib's strong one.
    whole.convert("RGB").save(png, "png", compress_level=3, dpi=(dpi, dpi))
    return {".svg": svg.getvalue(), ".png": png.getvalue()}


Line = Literal["-", ":", ""] | tuple[float, Sequence[float]]
"""Matplotlib's line styles: a name, nothing for no line, or an offset and lengths of ink and gap in points."""
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
ANY = Look(colour=GREY, marker="o")
"""A model of whatever size, in legends."""


@dataclass(frozen=True)
class Family:
    """The looks of quantizers of one kind, by the binary logarithm of one of their settings."""

    stops: Sequence[tuple[float, str]]
    """Colours by that logarithm, from 0 on; beyond the last the colour stays."""
    markers: str

    def look(self, size: float) -> Look:
        """That of a setting of this size."""
        at = math.log2(size)
        colour = to_hex(self._ramp(min(max(at / self.stops[-1][0], 0.0), 1.0)))
        return Look(colour=colour, marker=self.markers[round(at) % len(self.markers)])

    @cached_property
    def _ramp(self) -> LinearSegmentedColormap:
        stops = [(at / self.stops[-1][0], colour) for at, colour in self.stops]
        return LinearSegmentedColormap.from_list("ramp", stops, N=4096)


FAMILIES = {
    "green": Family(
        [(0, "#B7E3C0"), (4, "#72C9A2"), (6, "#2389BF"), (8, "#2B55AA"), (10, "#16205C"), (14, "#000000")],
        "hH<>opsh^dD8",
    ),
    "orange": Family(
        [(0, "#F8D98A"), (1, "#F0A630"), (2, "#DB5F1B"), (3, "#9A1B1F"), (4, "#6F1031"), (5, "#450A2B"),
         (6, "#1D0414")],
        "HvPX*d",
    ),
    "olive": Family([(0, "#DCE28C"), (2, "#C3CF62"), (3.3, "#809B26"), (6, "#2F3F0A")], "hp^<>H"),
    "plum": Family([(0, "#BCA9EE"), (3, "#864C6C"), (6, "#33182B")], "Dp>v8H"),
    "grey": Family([(0, "#BDBDBD"), (10, "#3C3C3C")], "."),
}  # fmt: skip
"""By the name that a quantizer declares."""


def distinguished(looks: Sequence[Look]) -> list[Look]:
    """The looks; those that share colour and marker get different lines, as long as there are any left."""
    seen: dict[tuple[str, str], int] = {}
    found = []
    for look in looks:
        place = seen.get((look.colour, look.marker), 0)
        seen[look.colour, look.marker] = place + 1
        found.append(replace(look, line=_LINES[place % len(_LINES)]))
    return found


def as_yardstick(look: Look) -> Look:
    """The look of a model of equal size that was not trained: dashed, thin, with dots."""
    return replace(look, marker=".", line=DASHED, width=0.9)


def as_untrained(look: Look) -> Look:
    """The same model before its training."""
    return replace(look, line=DASH_DOTTED, width=0.7)
