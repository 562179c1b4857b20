"""Parts of a printed figure: panels with equal scales, lines with intervals and honest holes, legend and footnote."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullLocator
from matplotlib.transforms import ScaledTranslation

from ..naming import number
from . import text_layout as lettering
from .style import GREY, WIDTH_INCHES, Look
from .text_layout import fitting, legend_row, wrapped

Array = npt.NDArray[np.float64]

_LEFT, _RIGHT, _TOP, _BOTTOM, _GAP_X, _GAP_Y, _EDGE = 0.66, 0.14, 0.26, 0.42, 0.16, 0.48, 0.06
"""Inches around and between panels."""
_LEGEND_ROW_INCHES, _FOOTNOTE_LINE_INCHES, _GAP_INCHES = 0.19, 0.125, 0.06
_CROSS_POINTS = 4.2
_MARKER_EVERY = 6
_MOST_LETTERS = 44
"""Of all labels of an axis beside each other, gaps included; of more, every other is left out."""
MANY_POINTS = 30
"""On a line; with more of them, intervals are a band, and markers stand at every sixth."""
MEANS = 3.0
"""The order in which means are drawn: after all but the marks of holes."""
_RING: dict[str, Any] = {
    "linestyle": "", "marker": "o", "markersize": 8.5, "markerfacecolor": "none", "markeredgecolor": "black",
    "markeredgewidth": 0.7,
}  # fmt: skip
_CROSS: dict[str, Any] = {"linestyle": "", "marker": "x", "markersize": _CROSS_POINTS, "markeredgewidth": 1.1}


class Panel:
    """One coordinate system of a sheet."""

    def __init__(self, axes: Axes, title: str) -> None:
        self.axes = axes
        axes.set_title(title, pad=7, y=1.0)  # where it is anyway, and matplotlib need not look at all ticks for that
        self.lacks_repetitions = False
        self._lacking: dict[float, list[str]] = {}
        self._bars: list[tuple[Array, str]] = []
        self._bands: list[tuple[Array, str]] = []

    @property
    def lacks_points(self) -> bool:
        """Whether any point that belongs here has no value."""
        return bool(self._lacking)

    def log_x(self, values: Sequence[float], texts: Sequence[str] | None = None, *, most: int = 8) -> None:
        """A log2 axis whose ticks are the values that there are, thinned to `most` of them."""
        self.axes.set_xscale("log", base=2)
        written = list(texts or map(number, values))
        step = -(-len(values) // most)
        shown = list(range(len(values) - 1, -1, -step))[::-1]
        if sum(len(written[i]) + 2 for i in shown) > _MOST_LETTERS:
            shown = shown[1::2] if len(shown) % 2 == 0 else shown[::2]
        self.axes.set_xticks([values[i] for i in shown], [written[i] for i in shown])
        self.axes.xaxis.set_minor_locator(NullLocator())
        self.axes.set_xlim(min(values) / 1.4, max(values) * 1.4)

    def log_y(self, low: float, high: float) -> None:
        """A log axis whose ticks are 1, 2 and 5 of each power of ten; fewer of them where it spans many.

        The limits themselves are those that `Sheet.finish` is given.
        """
        powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        steps = (1.0, 2.0, 5.0) if len(powers) <= 5 else (1.0,)
        self.axes.set_yscale("log")
        self.axes.set_yticks(
            [step * 10.0**power for power in powers for step in steps if low <= step * 10.0**power <= high]
        )
        self.axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: number(float(f"{value:g}"))))
        self.axes.yaxis.set_minor_locator(NullLocator())

    def line(self, x: Sequence[float], y: Sequence[float], look: Look) -> None:
        """A line without points of its own: a theoretical curve, or a path through models of other looks."""
        self.axes.plot(x, y, color=look.colour, linestyle=look.line, linewidth=look.width, zorder=2)

    def level(self, x: Sequence[float], y: Sequence[float]) -> None:
        """A yardstick that is no model, such as the error of predicting the mean. Goes after `log_x`."""
        if len(x) == 1:
            x, y = self.axes.get_xlim(), (y[0], y[0])
        self.axes.plot(x, y, color=GREY, linestyle=":", linewidth=1.1, zorder=2)

    def points(self, x: Iterable[float], points: pd.DataFrame, look: Look, *, hollow: bool = False) -> None:
        """One model's means along `x` with their intervals, from a table that `Selection.points` gave.

        The line breaks at a point without a value, and a cross stands for it above the panel. A ring goes around a
        point that lacks repetitions. `hollow` is for a second number of the same cells, which needs no such marks.
        """
        at = np.asarray(list(x), dtype=float)
        order = np.argsort(at)
        at, table = at[order], points if (order == np.arange(len(at))).all() else points.iloc[order]
        mean, n = table["mean"].to_numpy(), table["n"].to_numpy()
        if len(at) > MANY_POINTS:
            self._add_band(at, table, look)
            self._draw_means(at, table, look, hollow=hollow, marked=(0, _MARKER_EVERY))
        else:
            self._add_bars(at, table, look)
            self._draw_means(at, table, look, hollow=hollow)
        if hollow:
            return
        few = (n > 0) & (n < table["wanted"].to_numpy())
        if few.any():
            self.lacks_repetitions = True
            self.axes.plot(at[few], mean[few], **_RING, zorder=4)
        for place in at[n == 0]:
            self._lacking.setdefault(float(place), []).append(look.colour)

    def curve(self, points: pd.DataFrame, look: Look, *, phase: int = 0) -> None:
        """One model's means over training steps with their intervals, from a table that `Selection.curve` gave.

        A marker stands at every sixth point, from the one at `phase` on, so that those of several models part.
        """
        steps = points["step"].to_numpy(dtype=float)
        self._add_band(steps, points, look)
        self._draw_means(steps, points, look, marked=(phase % _MARKER_EVERY, _MARKER_EVERY))

    def _draw_means(
        self,
        at: Array,
        points: pd.DataFrame,
        look: Look,
        *,
        hollow: bool = False,
        marked: tuple[int, int] | None = None,
    ) -> None:
        """As a line; `marked` is where markers are, as matplotlib takes it, and they are everywhere without it."""
        self.axes.plot(
            at, points["mean"].to_numpy(dtype=float), color=look.colour, linestyle=look.line, linewidth=look.width,
            marker=look.marker, markevery=marked, **_filling(look, hollow), zorder=MEANS,
        )  # fmt: skip

    def _add_bars(self, at: Array, points: pd.DataFrame, look: Look) -> None:
        """An interval at each point that has one."""
        bars = np.stack([_at(points, end, at) for end in ("low", "high")], axis=1)
        bars = bars[np.isfinite(bars).all(axis=(1, 2))]
        self.axes.update_datalim(bars.reshape(-1, 2))
        self._bars += [(bar, look.colour) for bar in bars]

    def _add_band(self, at: Array, points: pd.DataFrame, look: Look) -> None:
        """The intervals as a band, which breaks where there are none."""
        low, high = (_at(points, end, at) for end in ("low", "high"))
        self.axes.update_datalim(np.concatenate([low, high]))
        has_values = np.isfinite(low + high).all(axis=1)
        edges = np.flatnonzero(np.diff(np.pad(has_values, 1).astype(int))).tolist()
        for start, end in zip(edges[::2], edges[1::2], strict=True):
            self._bands.append((np.concatenate([low[start:end], high[start:end][::-1]]), look.colour))

    def draw_intervals(self) -> None:
        """Bars and bands of all models: at once, in a fraction of the time of one by one."""
        if self._bars:
            bars, colours = zip(*self._bars, strict=True)
            self.axes.add_collection(LineCollection(bars, colors=colours, linewidths=0.8, zorder=2.9), autolim=False)
        if self._bands:
            bands, colours = zip(*self._bands, strict=True)
            together = PolyCollection(bands, facecolors=colours, alpha=0.17, linewidths=0, zorder=2.5)
            self.axes.add_collection(together, autolim=False)

    def draw_grid(self) -> None:
        """Lines at the ticks, which must be final; at once too."""
        axes = self.axes
        (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
        upright = [((x, 0), (x, 1)) for x in axes.get_xticks() if left <= x <= right]
        level = [((0, y), (1, y)) for y in axes.get_yticks() if bottom <= y <= top]
        axes.grid(False)
        look: dict[str, Any] = {"colors": rcParams["grid.color"], "linewidths": rcParams["grid.linewidth"]}
        for lines, transform in ((upright, axes.get_xaxis_transform()), (level, axes.get_yaxis_transform())):
            axes.add_collection(LineCollection(lines, **look, transform=transform, zorder=0.5), autolim=False)

    def draw_crosses(self, figure: Figure) -> None:
        """A cross for each point without a value: outside of the data, where nobody takes it for one, side by side."""
        for x, colours in self._lacking.items():
            for i, colour in enumerate(colours):
                aside = (i - (len(colours) - 1) / 2) * _CROSS_POINTS
                shift = ScaledTranslation(aside / 72, 3.2 / 72, figure.dpi_scale_trans)
                transform = self.axes.get_xaxis_transform() + shift
                self.axes.plot([x], [1.0], **_CROSS, color=colour, transform=transform, clip_on=False, scaley=False)


class Sheet:
    """Panels in rows, beneath them the legend, then a footnote; as wide as a page's text, as high as it takes."""

    def __init__(self, titles: Sequence[str], *, columns: int, panel_inches: float) -> None:
        self._columns = min(columns, len(titles))
        self._rows = -(-len(titles) // self._columns)
        self._panel_inches = panel_inches
        self.figure = Figure(figsize=(WIDTH_INCHES, 1.0))
        FigureCanvasAgg(self.figure)
        self.panels = [
            Panel(self.figure.add_axes((0.0, 0.0, 0.1, 0.1), label=f"panel {i}"), title)
            for i, title in enumerate(titles)
        ]
        """Row by row; the last row may be short."""

    def finish(
        self,
        *,
        x_label: str | Sequence[str],
        y_label: str | Sequence[str],
        legend: Sequence[Sequence[Line2D]],
        footnote: str,
        rows_alike: bool = True,
        y_limits: Sequence[tuple[float, float]] = (),
    ) -> Figure:
        """Places everything and returns the figure. Panels of a row get one scale; all of them where rows are alike.

        It begins at zero and ends above all that is drawn, unless `y_limits` says otherwise for each row. `y_label` may
        be one for each row too, `x_label` one for each column.
        """
        inside = WIDTH_INCHES - 2 * _EDGE
        lines = wrapped(self.figure, footnote, inside)
        entries = [part for row in (*legend, self._holes()) for part in fitting(self.figure, row, inside)]
        text_inches = len(lines) * _FOOTNOTE_LINE_INCHES
        beneath = _EDGE + text_inches + _GAP_INCHES + len(entries) * _LEGEND_ROW_INCHES + _GAP_INCHES
        height = beneath + _BOTTOM + self._rows * self._panel_inches + (self._rows - 1) * _GAP_Y + _TOP
        self.figure.set_size_inches(WIDTH_INCHES, height)
        self._place(beneath + _BOTTOM, height, _LEFT)
        self._scale(rows_alike, y_limits)
        self._label(
            [x_label] * self._columns if isinstance(x_label, str) else x_label,
            [y_label] * self._rows if isinstance(y_label, str) else y_label,
        )
        if beyond := self._inches_beyond_the_edge():  # of ticks with many digits
            self._place(beneath + _BOTTOM, height, _LEFT + beyond)
        for i, row in enumerate(entries):
            y = beneath - _GAP_INCHES - (i + 0.5) * _LEGEND_ROW_INCHES
            self.figure.add_artist(legend_row(self.figure, row, y / height))
        lettering.footnote(self.figure, lines, _EDGE)
        return self.figure

    def _holes(self) -> list[Line2D]:
        """Entries for the marks of holes, where there are any."""
        entries = []
        if any(panel.lacks_repetitions for panel in self.panels):
            entries.append(Line2D([], [], **_RING, label="repetitions are missing"))
        if any(panel.lacks_points for panel in self.panels):
            entries.append(Line2D([], [], **_CROSS, color=GREY, label="no value (above the panel)"))
        return entries

    def _place(self, bottom: float, height: float, left: float) -> None:
        width = (WIDTH_INCHES - left - _RIGHT - (self._columns - 1) * _GAP_X) / self._columns
        for i, panel in enumerate(self.panels):
            row, column = divmod(i, self._columns)
            x = left + column * (width + _GAP_X)
            y = bottom + (self._rows - 1 - row) * (self._panel_inches + _GAP_Y)
            panel.axes.set_position((x / WIDTH_INCHES, y / height, width / WIDTH_INCHES, self._panel_inches / height))

    def _inches_beyond_the_edge(self) -> float:
        """How far labels of y reach over the left edge of the page."""
        boxes = [panel.axes.yaxis.get_tightbbox() for panel in self.panels[:: self._columns]]
        return max(0.0, _EDGE - min(float(box.x0) for box in boxes if box is not None) / self.figure.dpi)

    def _scale(self, rows_alike: bool, y_limits: Sequence[tuple[float, float]]) -> None:
        tops = [panel.axes.dataLim.y1 for panel in self.panels]
        for i, panel in enumerate(self.panels):
            row = i - i % self._columns
            top = 1.06 * max(tops if rows_alike else tops[row : row + self._columns])
            panel.axes.set_ylim(y_limits[i // self._columns] if y_limits else (0, top))

    def _label(self, x_labels: Sequence[str], y_labels: Sequence[str]) -> None:
        for i, panel in enumerate(self.panels):
            is_leftmost, is_lowest = i % self._columns == 0, i + self._columns >= len(self.panels)
            panel.axes.tick_params(labelleft=is_leftmost)
            panel.axes.set_ylabel(y_labels[i // self._columns] if is_leftmost else "")
            panel.axes.set_xlabel(x_labels[i % self._columns] if is_lowest else "")
            for axis, is_labelled in ((panel.axes.yaxis, is_leftmost), (panel.axes.xaxis, is_lowest)):
                if not is_labelled:  # and matplotlib need not look for the place of nothing
                    axis.set_label_coords(0, 0)
            panel.draw_crosses(self.figure)
            panel.draw_intervals()
            panel.draw_grid()


def handle(look: Look, label: str, *, hollow: bool = False) -> Line2D:
    """A model's entry in the legend."""
    return Line2D(
        [], [], color=look.colour, linestyle=look.line, linewidth=look.width, marker=look.marker, label=label,
        **_filling(look, hollow),
    )  # fmt: skip


def _at(points: pd.DataFrame, column: str, x: Array) -> Array:
    """Where the values of a column are: [points, x and y]."""
    return np.stack([x, points[column].to_numpy(dtype=float)], axis=1)


def _filling(look: Look, hollow: bool) -> dict[str, Any]:
    return {
        "markerfacecolor": "white" if hollow else look.colour,
        # A white edge parts markers that touch; a dot is too small to lose any of itself.
        "markeredgecolor": look.colour if hollow or look.marker == "." else "white",
        "markeredgewidth": 0.7 if hollow else 0.4,
    }


def level_handle(label: str) -> Line2D:
    """The entry of `Panel.level`."""
    return Line2D([], [], color=GREY, linestyle=":", linewidth=1.1, label=label)
