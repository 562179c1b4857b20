"""A printed page: panels with lines, intervals and honest holes, and below them the legend and a footnote."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from textwrap import wrap
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib import rcParams
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullLocator
from matplotlib.transforms import ScaledTranslation

from ..naming import number
from .style import GREY, SMALL_POINTS, WIDTH_INCHES, Look

Array = npt.NDArray[np.float64]

_EDGE, _RIGHT, _TOP, _BOTTOM, _GAP_X = 0.06, 0.14, 0.27, 0.42, 0.16
"""Inches around and between panels."""
_LEGEND_INCHES, _FOOTNOTE_INCHES, _GAP_INCHES = 0.19, 0.125, 0.06
_LINE_LETTERS, _LEGEND_LETTERS, _HANDLE_LETTERS = 128, 112, 8
"""What fits beside each other on a page: in a footnote, and in a legend, where a handle takes as much as 8 letters."""
_PRINT_WIDTH = 1.04
"""Width of text in print, at most, over its width at the resolution at which it is measured."""
_TICK_LETTERS = 44
"""Letters of all tick labels of an axis, gaps included; of more labels, every other is left out."""
_CROSS_POINTS = 4.2
_MARKER_EVERY = 6
MANY_POINTS = 30
"""On a line; with more of them, intervals are a band, and every sixth point has a marker."""
MEANS = 3.0
"""The order in which means are drawn: after everything except the marks of holes."""
_RING: dict[str, Any] = {
    "linestyle": "", "marker": "o", "markersize": 8.5, "markerfacecolor": "none", "markeredgecolor": "black",
    "markeredgewidth": 0.7,
}  # fmt: skip
_CROSS: dict[str, Any] = {"linestyle": "", "marker": "x", "markersize": _CROSS_POINTS, "markeredgewidth": 1.1}


class Panel:
    """One coordinate system of a sheet."""

    def __init__(self, axes: Axes, title: str = "") -> None:
        self.axes = axes
        axes.set_title(title, pad=7, y=1.0)  # where it is anyway: matplotlib then need not measure all tick labels
        self.grid = "xy"
        """The axes whose ticks have lines across the panel."""
        self._bars: list[tuple[Array, str]] = []
        self.has_rings = False
        self.has_crosses = False

    def log_x(self, values: Sequence[float], texts: Sequence[str] | None = None, *, most: int = 8) -> None:
        """A log2 axis with ticks at the given values, thinned to `most` of them."""
        self.axes.set_xscale("log", base=2)
        written = list(texts or map(number, values))
        step = -(-len(values) // most)
        shown = list(range(len(values) - 1, -1, -step))[::-1]
        if sum(len(written[i]) + 2 for i in shown) > _TICK_LETTERS:
            shown = shown[1::2] if len(shown) % 2 == 0 else shown[::2]
        self.axes.set_xticks([values[i] for i in shown], [written[i] for i in shown])
        self.axes.xaxis.set_minor_locator(NullLocator())
        self.axes.set_xlim(min(values) / 1.4, max(values) * 1.4)

    def log_y(self, low: float, high: float) -> None:
        """A log axis with ticks at 1, 2 and 5 of each power of ten; fewer of them where it spans many powers.

        The limits themselves are those that `Sheet.finish` is given.
        """
        if low <= 0:
            raise ValueError(f"{low:g} has no place on a log axis")
        powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        steps = (1.0, 2.0, 5.0) if len(powers) <= 5 else (1.0,)
        ticks = [step * 10.0**power for power in powers for step in steps]
        self.axes.set_yscale("log")
        self.axes.set_yticks([tick for tick in ticks if low <= tick <= high])
        self.axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: number(float(f"{value:g}"))))
        self.axes.yaxis.set_minor_locator(NullLocator())

    def line(self, x: Sequence[float], y: Sequence[float], look: Look) -> None:
        """A line without points of its own: a theoretical curve, or a path through models of other looks."""
        self.axes.plot(x, y, color=look.colour, linestyle=look.line, linewidth=look.width, zorder=2)

    def level(self, x: Sequence[float], y: Sequence[float]) -> None:
        """A yardstick that is no model, such as the error of predicting the mean. Call it after `log_x`."""
        if len(x) == 1:
            x, y = self.axes.get_xlim(), (y[0], y[0])
        self.axes.plot(x, y, color=GREY, linestyle=":", linewidth=1.1, zorder=2)

    def models(self, table: pd.DataFrame, x: str, by: str, look: Callable[[int], Look]) -> None:
        """A line over the column `x` for each value in the column `by`, which the look follows from."""
        for value, points in table.groupby(by):
            self.points(points[x], points, look(value))  # type: ignore[arg-type]

    def points(self, x: Iterable[float], points: pd.DataFrame, look: Look, *, hollow: bool = False) -> None:
        """The means of one model along `x` with their intervals, from a table that `SelectedGrid.means` gave.

        The line breaks at a point without a value, and a cross above the panel marks it. A ring marks a point with
        missing repetitions. `hollow` is for a second number of the same cells, which needs no such marks.
        """
        at = np.asarray(list(x), dtype=float)
        order = np.argsort(at, kind="stable")
        n, wanted, mean, low, high = (
            points[name].to_numpy(float)[order] for name in ("n", "wanted", "mean", "low", "high")
        )
        at, is_dense = at[order], len(at) > MANY_POINTS
        self._intervals(at, low, high, look, as_band=is_dense)
        self._means(at, mean, look, hollow=hollow, marked=(0, _MARKER_EVERY) if is_dense else None)
        few = (n > 0) & (n < wanted)
        if few.any() and not hollow:
            self.has_rings = True
            self.axes.plot(at[few], mean[few], **_RING, zorder=4)
        for place in at[n == 0] if not hollow else ():
            self.has_crosses = True
            self.above(place, color=look.colour, **_CROSS)

    def curve(self, points: pd.DataFrame, look: Look, *, phase: int = 0) -> None:
        """The means of one model over training steps, from a table that `SelectedGrid.curve` gave.

        Every sixth point has a marker, beginning with the one at `phase`, so that those of several models differ.
        """
        steps, mean, low, high = (points[name].to_numpy(float) for name in ("step", "mean", "low", "high"))
        self._intervals(steps, low, high, look, as_band=True)
        self._means(steps, mean, look, marked=(phase % _MARKER_EVERY, _MARKER_EVERY))

    def _means(
        self, x: Array, y: Array, look: Look, *, hollow: bool = False, marked: tuple[int, int] | None = None
    ) -> None:
        self.axes.plot(
            x, y, color=look.colour, linestyle=look.line, linewidth=look.width, marker=look.marker, markevery=marked,
            **_filling(look, hollow), zorder=MEANS,
        )  # fmt: skip

    def _intervals(self, x: Array, low: Array, high: Array, look: Look, *, as_band: bool) -> None:
        held = np.isfinite(low + high)
        if as_band and held.any():
            self.axes.fill_between(x, low, high, color=look.colour, alpha=0.17, linewidth=0, zorder=2.5)
        elif held.any():
            bars = np.stack([np.stack([x, end], axis=1)[held] for end in (low, high)], axis=1)
            self.axes.update_datalim(bars.reshape(-1, 2))
            self._bars += [(bar, look.colour) for bar in bars]

    def finish(self) -> None:
        """Draws the bars of all models and the grid, each at once: in a fraction of the time of one by one."""
        if self._bars:
            bars, colours = zip(*self._bars, strict=True)
            self.axes.add_collection(LineCollection(bars, colors=colours, linewidths=0.8, zorder=2.9), autolim=False)
        (left, right), (bottom, top) = sorted(self.axes.get_xlim()), sorted(self.axes.get_ylim())
        upright = [[(x, 0), (x, 1)] for x in self.axes.get_xticks() if left <= x <= right and "x" in self.grid]
        level = [[(0, y), (1, y)] for y in self.axes.get_yticks() if bottom <= y <= top and "y" in self.grid]
        look: dict[str, Any] = {"colors": rcParams["grid.color"], "linewidths": rcParams["grid.linewidth"]}
        for lines, at in ((upright, self.axes.get_xaxis_transform()), (level, self.axes.get_yaxis_transform())):
            self.axes.add_collection(LineCollection(lines, **look, transform=at, zorder=0.5), autolim=False)

    def above(self, x: float, *, points: float = 3.2, **look: Any) -> None:
        """A mark above the panel, of what has no value; marks at one place stand side by side."""
        figure = self.axes.get_figure()
        assert isinstance(figure, Figure)
        before = [
            line for line in self.axes.get_lines() if not line.get_clip_on() and np.asarray(line.get_xdata())[0] == x
        ]
        shift = ScaledTranslation(len(before) * _CROSS_POINTS / 72, points / 72, figure.dpi_scale_trans)
        transform = self.axes.get_xaxis_transform() + shift
        self.axes.plot([x], [1.0], **look, transform=transform, clip_on=False, scaley=False)


class Sheet:
    """Panels in rows, as wide as the text of a page, and as high as it takes."""

    def __init__(self, titles: Sequence[str], *, columns: int, inches: float | Sequence[float]) -> None:
        """`inches` is the height of a panel, or of each row of panels."""
        self._columns = min(columns, len(titles))
        rows = -(-len(titles) // self._columns)
        self._inches = [*inches] if isinstance(inches, Sequence) else [inches] * rows
        self.figure = Figure(figsize=(WIDTH_INCHES, 1.0))
        FigureCanvasAgg(self.figure)
        axes = self.figure.subplots(rows, self._columns, squeeze=False, height_ratios=self._inches).ravel()
        for unused in axes[len(titles) :]:
            unused.remove()
        self.panels = [Panel(its, title) for its, title in zip(axes, titles, strict=False)]
        """Row by row; the last row may be short."""

    def finish(
        self,
        *,
        x_label: str | Sequence[str],
        footnote: str,
        legend: Sequence[Sequence[Artist]] = (),
        y_label: str | Sequence[str] = "",
        y_limits: Sequence[tuple[float, float]] = (),
        rows_alike: bool = True,
        gap: float = 0.21,
    ) -> Figure:
        """Places everything and returns the figure. Panels of a row get one scale; all of them where rows are alike.

        The scale begins at zero and ends above all that is drawn, unless `y_limits` gives it for each row. `y_label`
        may be one for each row too, `x_label` one for each column. `gap` is what parts rows of panels, titles aside.
        """
        lines = wrap(footnote, _LINE_LETTERS, break_on_hyphens=False)
        rows = [part for entries in (*legend, self._hole_entries()) for part in _fitting(entries)]
        text = _EDGE + len(lines) * _FOOTNOTE_INCHES + _GAP_INCHES
        bottom = text + len(rows) * _LEGEND_INCHES + _GAP_INCHES + (_BOTTOM if x_label else _GAP_INCHES)
        gap += _TOP
        height = bottom + sum(self._inches) + (len(self._inches) - 1) * gap + _TOP
        self.figure.set_size_inches(WIDTH_INCHES, height)
        self._scale(rows_alike, y_limits)
        self._label(x_label, y_label)
        for i, row in enumerate(rows):
            self.figure.legend(
                handles=list(row), ncols=len(row), loc="center", frameon=False, borderpad=0, columnspacing=1.4,
                bbox_to_anchor=(0.5, (text + (len(rows) - i - 0.5) * _LEGEND_INCHES) / height),
                handlelength=2.3 if any(isinstance(entry, Line2D) for entry in row) else 1.8, handletextpad=0.5,
            )  # fmt: skip
        foot = {"size": SMALL_POINTS, "va": "bottom", "linespacing": 1.25}
        self.figure.text(_EDGE / WIDTH_INCHES, _EDGE / height, "\n".join(lines), **foot)  # type: ignore[arg-type]
        left = self._label_inches() + _EDGE
        width = (WIDTH_INCHES - left - _RIGHT - (self._columns - 1) * _GAP_X) / self._columns
        self.figure.subplots_adjust(
            left=left / WIDTH_INCHES, right=1 - _RIGHT / WIDTH_INCHES, wspace=_GAP_X / width,
            bottom=bottom / height, top=1 - _TOP / height, hspace=gap * len(self._inches) / sum(self._inches),
        )  # fmt: skip
        return self.figure

    def _hole_entries(self) -> list[Line2D]:
        """Legend entries for the marks of holes, where there are any."""
        entries = []
        if any(panel.has_rings for panel in self.panels):
            entries.append(Line2D([], [], **_RING, label="repetitions are missing"))
        if any(panel.has_crosses for panel in self.panels):
            entries.append(Line2D([], [], **_CROSS, color=GREY, label="no value (above the panel)"))
        return entries

    def _label_inches(self) -> float:
        """How far the labels of y reach to the left of the panels."""
        widths = [0.0]
        for panel in self.panels[:: self._columns]:
            if (box := panel.axes.yaxis.get_tightbbox()) is not None:
                widths.append(panel.axes.get_window_extent().x0 - box.x0)
        return _PRINT_WIDTH * max(widths) / self.figure.dpi

    def _scale(self, rows_alike: bool, y_limits: Sequence[tuple[float, float]]) -> None:
        tops = [panel.axes.dataLim.y1 for panel in self.panels]
        for i, panel in enumerate(self.panels):
            row = i - i % self._columns
            top = 1.06 * max(tops if rows_alike else tops[row : row + self._columns])
            panel.axes.set_ylim(y_limits[i // self._columns] if y_limits else (0, top))

    def _label(self, x_label: str | Sequence[str], y_label: str | Sequence[str]) -> None:
        x_labels = [x_label] * self._columns if isinstance(x_label, str) else x_label
        y_labels = [y_label] * len(self._inches) if isinstance(y_label, str) else y_label
        for i, panel in enumerate(self.panels):
            is_leftmost, is_lowest = i % self._columns == 0, i + self._columns >= len(self.panels)
            panel.axes.tick_params(labelleft=is_leftmost)
            panel.axes.set_ylabel(y_labels[i // self._columns] if is_leftmost else "")
            panel.axes.set_xlabel(x_labels[i % self._columns] if is_lowest else "")
            for axis, is_labelled in ((panel.axes.yaxis, is_leftmost), (panel.axes.xaxis, is_lowest)):
                if not is_labelled:  # matplotlib then need not measure tick labels to place an empty label
                    axis.set_label_coords(0, 0)
            panel.finish()


def _fitting(entries: Sequence[Artist]) -> list[Sequence[Artist]]:
    """The entries in as few rows as fit, about equally many in each."""
    letters = [len(str(entry.get_label())) + _HANDLE_LETTERS for entry in entries]
    for rows in range(1, len(entries) + 1):
        size = -(-len(entries) // rows)
        starts = range(0, len(entries), size)
        if size == 1 or all(sum(letters[i : i + size]) <= _LEGEND_LETTERS for i in starts):
            return [entries[i : i + size] for i in starts]
    return []


def handle(look: Look, label: str, *, hollow: bool = False) -> Line2D:
    """The legend entry of a model."""
    return Line2D(
        [], [], color=look.colour, linestyle=look.line, linewidth=look.width, marker=look.marker, label=label,
        **_filling(look, hollow),
    )  # fmt: skip


def level_handle(label: str) -> Line2D:
    """The legend entry of `Panel.level`."""
    return Line2D([], [], color=GREY, linestyle=":", linewidth=1.1, label=label)


def _filling(look: Look, hollow: bool) -> dict[str, Any]:
    return {
        "markerfacecolor": "white" if hollow else look.colour,
        # A white edge parts markers that touch; a dot is too small for one.
        "markeredgecolor": look.colour if hollow or look.marker == "." else "white",
        "markeredgewidth": 0.7 if hollow else 0.4,
    }
