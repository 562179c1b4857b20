"""Models in rows, their names to the left: bars of parts and dots with intervals, in panels beside and beneath."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from . import text_layout as lettering
from .style import GREY, SMALL_POINTS, WIDTH_INCHES, Look
from .text_layout import legend_row, wrapped

Filling = Literal["full", "light", "hatched"]
"""Of a part of a bar. They differ in lightness too, so that parts are told apart in print without colours."""

_EDGE, _RIGHT, _TITLE, _BOTTOM, _GAP_X, _GAP_Y, _NAME_GAP = 0.06, 0.14, 0.26, 0.42, 0.22, 0.26, 0.1
"""Inches around and between panels."""
_LEGEND_INCHES, _LINE_INCHES, _GAP_INCHES = 0.21, 0.125, 0.06
_MOST_INCHES = 5.2
"""Of all rows above each other; many of them are set closer than a few."""
_SAMPLE = 1.8
"""Width of a bar or a dot in the legend; lines take more."""
_HEIGHT = 0.62
"""Of a bar, as a share of its row."""
_INTERVAL: dict[str, Any] = {"elinewidth": 0.8, "capsize": 1.6, "capthick": 0.8, "zorder": 4}


class RowPanel:
    """One coordinate system of a sheet: a row for each model, the first on top."""

    def __init__(self, axes: Axes, rows: int) -> None:
        self.axes = axes
        axes.set_ylim(rows - 0.45, -0.55)
        axes.tick_params(axis="y", length=0)

    def part(self, row: int, start: float, end: float, colour: str, filling: Filling) -> None:
        """A part of a bar, from one value to another."""
        self.axes.barh([row], [end - start], left=start, height=_HEIGHT, **_filled(colour, filling), zorder=2)

    def interval(self, row: int, point: pd.DataFrame) -> None:
        """The interval of a bar's end, from a row that `Selection.points` gave."""
        self._errors(row, point, color="black", linestyle="", marker="")

    def dot(self, row: int, point: pd.DataFrame, look: Look, *, aside: float = 0.0, hollow: bool = False) -> None:
        """A mean with its interval, from a row that `Selection.points` gave; `aside` is a share of the row's height."""
        filling = {"markerfacecolor": "white" if hollow else look.colour, "markeredgecolor": look.colour}
        self._errors(row + aside, point, color=look.colour, linestyle="", marker=look.marker, **filling)

    def text(self, row: int, x: float, text: str) -> None:
        """A few words to the right of a value."""
        self.axes.annotate(text, (x, row), (5, 0), textcoords="offset points", va="center", size=SMALL_POINTS)

    def lack(self, row: int) -> None:
        """Says that a model has no value."""
        at = self.axes.get_yaxis_transform()
        self.axes.text(0.01, row, "no value", transform=at, va="center", size=SMALL_POINTS, color=GREY, style="italic")

    def _errors(self, y: float, point: pd.DataFrame, **looks: Any) -> None:
        if point["n"].iloc[0]:
            mean, high = float(point["mean"].iloc[0]), float(point["high"].iloc[0])
            self.axes.errorbar([mean], [y], xerr=[high - mean], **looks, **_INTERVAL)


class RowSheet:
    """Blocks of rows beneath each other, each with panels beside each other; then the legend, then a footnote."""

    def __init__(
        self, blocks: Sequence[tuple[str, Sequence[str]]], *, columns: int, row_inches: float, guides: bool = True
    ) -> None:
        """`blocks` are titles and names of rows; `guides` are lines along the rows, which dots need and bars do not."""
        self._titles = [title for title, _ in blocks]
        row_inches = min(row_inches, _MOST_INCHES / sum(len(names) for _, names in blocks))
        self._heights = [row_inches * len(names) + 0.1 for _, names in blocks]
        self.figure = Figure(figsize=(WIDTH_INCHES, 1.0))
        FigureCanvasAgg(self.figure)
        self.blocks: list[list[RowPanel]] = []
        """The panels of each block."""
        for i, (_, names) in enumerate(blocks):
            panels = []
            for j in range(columns):
                axes = self.figure.add_axes((0.0, 0.0, 0.1, 0.1), label=f"panel {i} {j}")
                axes.grid(guides, axis="y")
                axes.set_yticks(range(len(names)), list(names) if j == 0 else [""] * len(names))
                panels.append(RowPanel(axes, len(names)))
            self.blocks.append(panels)

    def finish(self, *, x_labels: Sequence[str], legend: Sequence[Sequence[Artist]], footnote: str) -> Figure:
        """Places everything and returns the figure. Panels above each other get one scale, as wide as the widest."""
        lines = wrapped(self.figure, footnote, WIDTH_INCHES - 2 * _EDGE)
        legend_inches = len(legend) * _LEGEND_INCHES
        beneath = _EDGE + len(lines) * _LINE_INCHES + _GAP_INCHES + legend_inches + _GAP_INCHES
        height = beneath + _BOTTOM + sum(self._heights) + len(self._heights) * _TITLE
        height += (len(self._heights) - 1) * _GAP_Y
        self.figure.set_size_inches(WIDTH_INCHES, height)
        self._place(height)
        for j, x_label in enumerate(x_labels):
            panels = [block[j] for block in self.blocks]
            right = max(panel.axes.get_xlim()[1] for panel in panels)
            for panel in panels:
                panel.axes.set_xlim(min(panel.axes.get_xlim()[0] for panel in panels), right)
            panels[-1].axes.set_xlabel(x_label)
        for i, entries in enumerate(legend):
            y = (beneath - _GAP_INCHES - (i + 0.5) * _LEGEND_INCHES) / height
            self.figure.add_artist(legend_row(self.figure, entries, y, sample=_SAMPLE))
        lettering.footnote(self.figure, lines, _EDGE)
        return self.figure

    def _place(self, height: float) -> None:
        names = [label for block in self.blocks for label in block[0].axes.get_yticklabels()]
        left = _EDGE + _NAME_GAP + max(label.get_window_extent().width for label in names) / self.figure.dpi
        columns = len(self.blocks[0])
        width = (WIDTH_INCHES - left - _RIGHT - (columns - 1) * _GAP_X) / columns
        top = height
        for title, block, inches in zip(self._titles, self.blocks, self._heights, strict=True):
            top -= _TITLE
            middle = left + (WIDTH_INCHES - left - _RIGHT) / 2
            self.figure.text(middle / WIDTH_INCHES, (top + 0.12) / height, title, ha="center", va="center")
            for j, panel in enumerate(block):
                x = left + j * (width + _GAP_X)
                place = (x / WIDTH_INCHES, (top - inches) / height, width / WIDTH_INCHES, inches / height)
                panel.axes.set_position(place)
            top -= inches + _GAP_Y


def part_handle(filling: Filling, label: str) -> Patch:
    """A part's entry in the legend, of no model in particular."""
    return Patch(**_filled(GREY, filling), label=label)


def dot_handle(marker: str, label: str, *, hollow: bool = False) -> Line2D:
    """A dot's entry in the legend, of no model in particular."""
    face = "white" if hollow else GREY
    return Line2D([], [], linestyle="", marker=marker, markerfacecolor=face, markeredgecolor=GREY, label=label)


def _filled(colour: str, filling: Filling) -> dict[str, Any]:
    light, dark = (tuple(white + share * part for part in to_rgb(colour)) for white, share in ((0.62, 0.38), (0, 0.7)))
    face = {"full": colour, "light": light, "hatched": "white"}[filling]
    hatch = {"hatch": "//////", "hatch_linewidth": 0.5} if filling == "hatched" else {}
    return {"facecolor": face, "edgecolor": dark, "linewidth": 0.7, **hatch}
