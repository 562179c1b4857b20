"""The look of everything that is drawn: sizes for print, families of colours and markers, equal bytes.

A model's colour follows from its own values and not from what else is drawn, so that it is the same in every figure
of every store. Families and the steps within them differ in lightness and hue for all common kinds of colour vision,
and the markers differ too. Every colour stands out from white by 3:1 at least, as WCAG 2.2 wants of graphics.
"""

from __future__ import annotations

import colorsys
import io
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import matplotlib
import matplotlib.style
from matplotlib.colors import LinearSegmentedColormap, to_hex, to_rgb
from matplotlib.figure import Figure
from PIL import Image

from ..output.product import has_pixels

PNG_DPI = 300
_COLOURS = 256


@dataclass(frozen=True, kw_only=True)
class Format:
    """What a figure is drawn for."""

    inches: float
    """Its width."""
    points: float = 8.0
    """Size of the text."""
    small_points: float = 7.0
    """Nothing is smaller."""
    height: float = 1.0
    """Of panels, over that on a page."""
    stroke: float = 1.0
    """Of lines and markers, over that on a page."""
    most_columns: int | None = None
    """Panels beside each other, at most; None where figures decide."""

    @property
    def is_narrow(self) -> bool:
        """Whether it has no room for figures as they are laid out for a page."""
        return self.most_columns is not None


FORMATS = {
    ("paper", "page"): Format(inches=7.0),
    ("paper", "column"): Format(inches=3.4, most_columns=2),
    ("slides", "page"): Format(inches=12.0, points=13.5, small_points=11.8, height=1.6, stroke=1.8),
    ("slides", "column"): Format(
        inches=5.8, points=13.5, small_points=11.8, height=1.6, stroke=1.8, most_columns=1
    ),
}  # fmt: skip
"""By style and width: across the text of a page, or a column of it; across a slide of 13.3 inches, or half of it."""
PAGE, COLUMN = FORMATS["paper", "page"], FORMATS["paper", "column"]
_FORMAT: ContextVar[Format] = ContextVar("format", default=PAGE)


def current() -> Format:
    """The format in which figures are drawn now."""
    return _FORMAT.get()


@contextmanager
def drawn_for(its: Format) -> Iterator[None]:
    """Draws all figures in this format meanwhile."""
    token = _FORMAT.set(its)
    try:
        yield
    finally:
        _FORMAT.reset(token)


GREY = "#6E6E6E"
"""Yardsticks that are no model."""

_SETTINGS: dict[str, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so that every machine draws the same
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,  # panels draw their own, faster
    "grid.color": "#E4E4E4",
    "xtick.bottom": False,  # the grid says where they are
    "ytick.left": False,
    "savefig.dpi": PNG_DPI,
    "text.parse_math": False,  # a dollar sign in a name is one
    "svg.fonttype": "path",
    "svg.hashsalt": "dvq_ray",
}


@contextmanager
def printed() -> Iterator[None]:
    """The style, whatever a user's own settings of matplotlib are. Drawing and saving both belong inside."""
    with matplotlib.style.context({**_SETTINGS, **_sizes(current())}, after_reset=True):
        yield


def _sizes(its: Format) -> dict[str, Any]:
    text = ("font.size", "axes.titlesize", "axes.labelsize")
    lines = {"axes.linewidth": 0.6, "grid.linewidth": 0.5, "lines.linewidth": 1.2, "lines.markersize": 4.2}
    return {
        **dict.fromkeys(text, its.points),
        **dict.fromkeys(("xtick.labelsize", "ytick.labelsize"), its.small_points),
        "legend.fontsize": its.small_points + 0.5,
        **{name: its.stroke * size for name, size in lines.items()},
    }


_OUTSIDE = re.compile(r"<\?xml.*?\?>|<!DOCTYPE.*?>|<metadata>.*?</metadata>", re.DOTALL)
_DIGITS = re.compile(r"scale\([^)]*\)|base64,[^\"]*|\d+\.\d{3,}")
"""Numbers with more digits than show in print, and what is not to be rounded."""
_TAG = re.compile(r"<[^>]*>")
_HASHED = re.compile(r'(?<=["#])([A-Za-z]+?)[0-9a-f]{10}(?=[")])')
"""Ids of shared elements. Matplotlib hashes coordinates to the last bit, which differs between versions of Python."""


def page_svg(figure: Figure, *, without_inches: float = 0.0) -> bytes:
    """The figure for a page: text stays text, which takes fewer bytes, and another font where this one is missing.

    `without_inches` are cut off at its top.
    """
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        text = _svg(figure).decode()
    if without_inches:
        width, height = 72 * figure.get_figwidth(), 72 * (figure.get_figheight() - without_inches)
        text = _FRAME.sub(
            f'width="{width:.2f}pt" height="{height:.2f}pt" '
            f'viewBox="0 {72 * without_inches:.2f} {width:.2f} {height:.2f}"', text, count=1,
        )  # fmt: skip
    classes: dict[str, str] = {}

    def named(match: re.Match[str]) -> str:
        clip = f";clip-path:{match[1]}" if match[1] else ""
        return f'class="{classes.setdefault(match[2] + clip, f"s{len(classes)}")}"'

    text = _STYLE.sub(named, re.sub(r'<g id="[^"]*"', "<g", text))
    rules = "".join(f".{name}{{{its}}}" for its, name in classes.items())
    text = text.replace("</style>", f"{rules}</style>", 1)
    return text.replace("'DejaVu Sans'", "'DejaVu Sans',Verdana,sans-serif").encode()


_FRAME = re.compile(r'width="[\d.]+pt" height="[\d.]+pt" viewBox="[^"]*"')
_STYLE = re.compile(r'(?:clip-path="(url[^"]*)" )?style="([^"]*)"')
"""What elements of a picture repeat, as classes do not."""


def _rounded(number: re.Match[str]) -> str:
    return f"{float(number[0]):.2f}".rstrip("0").rstrip(".") if number[0][0].isdigit() else number[0]


def _svg(figure: Figure) -> bytes:
    """The figure as SVG, places rounded to a hundredth of a point. Equal figures give equal bytes: no dates."""
    raw = io.StringIO()
    figure.savefig(raw, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    text = _OUTSIDE.sub("", raw.getvalue())
    names: dict[str, str] = {}

    def named(found: re.Match[str]) -> str:
        return names.setdefault(found[0], f"{found[1]}{len(names)}")

    def tidied(tag: re.Match[str]) -> str:
        return _HASHED.sub(named, _DIGITS.sub(_rounded, tag[0]))

    text = _TAG.sub(tidied, text)  # and not what stands in the figure
    text = re.sub(r"\s+", " ", text).replace("> <", "><").strip()
    text = re.sub(r'style="[^"]*"', lambda m: m[0].replace("; ", ";").replace(": ", ":"), text)
    return f"{text}\n".encode()


def rendered(figure: Figure) -> dict[str, bytes]:
    """The figure's files by suffix. Equal figures give equal bytes."""
    raw, png = io.BytesIO(), io.BytesIO()
    figure.savefig(raw, format="raw")
    dpi = int(matplotlib.rcParams["savefig.dpi"])
    width, pixels = round(figure.get_figwidth() * dpi), raw.getvalue()
    whole = Image.frombytes("RGBA", (width, len(pixels) // (4 * width)), pixels).convert("RGB")
    svg = _svg(figure)
    if not has_pixels(svg):  # of what is drawn, 256 colours show all that is seen, in two fifths of the bytes
        whole = whole.quantize(_COLOURS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    whole.save(png, "png", dpi=(dpi, dpi))
    return {".svg": svg, ".png": png.getvalue()}


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
        [(0, "#68A071"), (4, "#23A271"), (6, "#2778A3"), (8, "#274DA3"), (10, "#15205C"), (14, "#000000")],
        "hH<>opsh^dD8",
    ),
    "orange": Family(
        [(0, "#BD8A43"), (1, "#D47C00"), (2, "#C54105"), (3, "#99181E"), (4, "#6F1031"), (5, "#450A2B"),
         (6, "#1D0414")],
        "HvPX*d",
    ),
    "olive": Family([(0, "#919924"), (2, "#8B923B"), (3.3, "#76921C"), (6, "#2F3F0A")], "hp^<>H"),
    "plum": Family([(0, "#A086D6"), (3, "#864C6C"), (6, "#33182B")], "Dp>v8H"),
    "grey": Family([(0, "#8A8A8A"), (10, "#3C3C3C")], "."),
}  # fmt: skip
"""By the name that a quantizer declares."""


def contrast(colour: str, on: str = "#FFFFFF") -> float:
    """How far a colour stands out from another, 1 to 21 (WCAG 2.2)."""
    lighter, darker = sorted((_luminance(colour), _luminance(on)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def readable(colour: str | tuple[float, float, float], least: float) -> str:
    """The colour, or the lightest of its hue that stands out so far from the page."""
    hue, lightness, full = colorsys.rgb_to_hls(*to_rgb(colour))
    while contrast(found := to_hex(colorsys.hls_to_rgb(hue, lightness, full))) < least:
        lightness -= 0.01
    return found


def _luminance(colour: str) -> float:
    linear = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in to_rgb(colour))
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def distinguished(looks: Sequence[Look]) -> list[Look]:
    """The looks; those that share colour and marker get different lines, as long as there are any left."""
    seen: dict[tuple[str, str], int] = {}
    found = []
    for look in looks:
        place = seen.get((look.colour, look.marker), 0)
        seen[look.colour, look.marker] = place + 1
        found.append(replace(look, line=_LINES[place % len(_LINES)]))
    return found


_SPARE = "os^DvPX*dhp<>H8"
"""Markers for groups whose own are taken."""
_NEAR = 0.4
"""Colours less far apart, by red, green and blue from 0 to 1, need markers that differ."""


def unlike(groups: Sequence[Sequence[Look]]) -> list[list[Look]]:
    """The looks of each group, such as those of a quantizer, for points that no line joins.

    A marker that a group before has in a similar colour gives way to one that none has, as long as there are any.
    """
    found: list[list[Look]] = []
    for group in groups:
        markers = dict[str, str]()
        for look in group:
            taken = {other.marker for its in found for other in its if _is_near(other.colour, look.colour)}
            spare = (marker for marker in (look.marker, *_SPARE) if marker not in {*taken, *markers.values()})
            markers.setdefault(look.marker, next(spare, look.marker))
        found.append([replace(look, marker=markers[look.marker]) for look in group])
    return found


def _is_near(colour: str, other: str) -> bool:
    return math.dist(to_rgb(colour), to_rgb(other)) < _NEAR


def as_yardstick(look: Look) -> Look:
    """The look of a model of equal size that was not trained: dashed, thin, with dots."""
    return replace(look, marker=".", line=DASHED, width=0.9)


def as_untrained(look: Look) -> Look:
    """The same model before its training."""
    return replace(look, line=DASH_DOTTED, width=0.7)
