"""Names of lines at their right ends, where lines are few: a reader then need not go to the legend and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from textwrap import wrap

import numpy as np
import numpy.typing as npt
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text

from ..naming import unbroken
from . import style
from .style import Look

MOST = 6
"""Lines of a panel that are named so."""
_LEAST_SHARE = 2 / 3
"""Of the lines that the legend names; with fewer of them at their ends a reader would need both."""
_LETTERS, _LINES = 19, 2
"""What a name may take."""
_SPACING = 1.15
GAP_INCHES = 0.1
"""From a panel to the names, on a page."""
_GAP, _MARKER, _MOVED = 72 * GAP_INCHES, 3.0, 2.5
"""The same in points; from the end of a line to what leads to its name; by how far a name is moved before that does."""
_TEXT_CONTRAST = 4.5
"""Of text with its background (WCAG 2.2, 1.4.3)."""
_FARTHEST = 2.0
"""Lines of text by which a name may be moved: where more lines than that end at one place, a legend does better."""
Array = npt.NDArray[np.float64]
Ends = Mapping[Look, tuple[float, float]]
"""Where the lines of a panel end on the right, as shares of its width and its height."""


@dataclass(frozen=True, kw_only=True)
class Name:
    """A line of a panel, by the entry of the legend that it takes the place of."""

    entry: Artist
    look: Look
    end: tuple[float, float]

    @property
    def text(self) -> str:
        """The name in lines."""
        return "\n".join(wrap(unbroken(str(self.entry.get_label())), _LETTERS, break_long_words=False))

    @property
    def fits(self) -> bool:
        """Whether it is short enough."""
        lines = self.text.split("\n")
        return len(lines) <= _LINES and max(map(len, lines)) <= _LETTERS


def names(rows: Sequence[Sequence[Ends]], inches: Sequence[float], named: Mapping[Look, Artist]) -> list[list[Name]]:
    """The lines that the rightmost panel of each row of panels names; none where a legend does better.

    `inches` are the heights of the rows. A line has its name in each row that it is in, or in the legend; it gets one
    where it reaches as far to the right as any.
    """
    drawn = [look for look in named if any(look in ends for row in rows for ends in row)]
    found = [
        [Name(entry=named[look], look=look, end=end) for look, end in _furthest(row[-1]).items() if look in named]
        for row in rows
    ]
    in_each = {
        look for look in drawn
        if all(any(name.look == look for name in its) for its, row in zip(found, rows, strict=True)
               if any(look in ends for ends in row))
    }  # fmt: skip
    found = [[name for name in its if name.look in in_each] for its in found]
    fit = all(len(its) <= MOST and _are_near(its, height) for its, height in zip(found, inches, strict=True))
    is_better = bool(in_each) and len(in_each) >= _LEAST_SHARE * len(drawn)
    if style.current().is_narrow or not fit or not is_better or not all(name.fits for its in found for name in its):
        return [[] for _ in rows]
    return found


def _furthest(ends: Ends) -> Ends:
    right = max((x for x, _ in ends.values()), default=0.0)
    return {look: end for look, end in ends.items() if np.isclose(end[0], right)}


def _are_near(its: Sequence[Name], height: float) -> bool:
    """Whether names have room beside a panel of so many inches, none of them far from the end of its line."""
    line = style.current().small_points * _SPACING / 72
    heights = np.array([line * (name.text.count("\n") + 1) for name in its])
    ends = height * np.array([name.end[1] for name in its])
    moved = np.abs(_middles(ends, heights, 0.0, height) - ends)
    return bool(heights.sum() <= height and (moved <= _FARTHEST * line).all())


def _middles(ends: Array, heights: Array, least: float, most: float) -> Array:
    """The heights of names between two others, each as close to the end of its line as none can touch another.

    The least squares of how far the names are moved, in their order and half of both heights apart.
    """
    if not len(ends):
        return ends
    from scipy.optimize import isotonic_regression  # here, because it takes long to import

    order = np.argsort(ends, kind="stable")
    tall = heights[order]
    above = np.concatenate([[0.0], np.cumsum(tall[1:] + tall[:-1]) / 2])
    lowest = isotonic_regression(np.clip(ends, least, most)[order] - above).x
    least, most = least + tall[0] / 2, most - tall[-1] / 2 - above[-1]
    middles = np.empty(len(ends))
    middles[order] = np.clip(lowest, least, max(least, most)) + above
    return middles


def write(figure: Figure, its: Sequence[Name]) -> list[Text]:
    """The names as text that has no place yet, in the colours of their lines or as dark as text must be."""
    look = {"va": "center", "size": style.current().small_points, "linespacing": _SPACING}
    return [
        figure.text(0, 0, name.text, color=style.readable(name.look.colour, _TEXT_CONTRAST), **look)  # type: ignore[arg-type]
        for name in its
    ]


def width(figure: Figure, texts: Sequence[Text]) -> float:
    """Inches that the widest of these texts takes."""
    return max((text.get_window_extent().width / figure.dpi for text in texts), default=0.0)


def place(figure: Figure, axes: Axes, its: Sequence[Name], texts: Sequence[Text], gap: float) -> None:
    """Puts the names beside the ends of their lines, as close to them as they can be without touching each other.

    `gap` is what parts the panel from them, in inches.
    """
    panel, point = axes.get_window_extent(), gap * figure.dpi / _GAP
    ends = np.array([axes.transAxes.transform(name.end) for name in its]).reshape(-1, 2)
    heights = np.array([text.get_window_extent().height for text in texts]) + point
    whole, left = figure.transFigure.inverted(), panel.x1 + _GAP * point
    middles = _middles(ends[:, 1], heights, panel.y0, panel.y1)
    for name, text, (x, y), middle in zip(its, texts, ends.tolist(), middles.tolist(), strict=True):
        text.set_position(tuple(whole.transform((left, middle))))
        if abs(middle - y) > _MOVED * point:
            leader = whole.transform([(x + _MARKER * point, y), (left - point, middle)])
            figure.add_artist(Line2D(*leader.T, color=name.look.colour, linewidth=0.5 * style.current().stroke))
