"""A printed page: panels with lines, intervals and honest holes, and below them the legend and a footnote."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
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
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator
from matplotlib.transforms import ScaledTranslation

from ..naming import number, unbroken
from ..output.product import Marks
from . import labels, marks, scales, style
from .style import GREY, Look

Array = npt.NDArray[np.float64]

_EDGE, _RIGHT, _TOP, _BOTTOM, _GAP_X = 0.06, 0.14, 0.27, 0.42, 0.16
"""Inches around and between panels, on a page."""
_SCALE_INCHES = 0.26
"""Room for the tick labels of a panel that has a scale of its own."""
_LEGEND_INCHES, _FOOTNOTE_INCHES, _GAP_INCHES, _LINE_INCHES = 0.19, 0.125, 0.06, 0.13
_LINE_LETTERS, _LEGEND_LETTERS, _HANDLE_LETTERS = 128, 112, 8
"""What fits beside each other on a page: in a footnote, and in a legend, where a handle takes as much as 8 letters."""
_MESSAGE_LETTERS, _MESSAGE_INCHES, _MESSAGE_SIZE = 88, 0.16, 1.1
"""What fits across a page of the message, the height of a line of it, and its size over that of other text."""
_PRINT_WIDTH = 1.04
"""Width of text in print, at most, over its width at the resolution at which it is measured."""
_TICK_LETTERS = 44
"""Letters of all tick labels of an axis, gaps included; of more labels, every other is left out."""
_TICK_LETTERS_PER_INCH, _TITLE_LETTERS_PER_INCH, _LABEL_INCHES = 19, 15, 0.75
"""The same in narrow formats, and room for the label of y."""
_DIGITS_PER_INCH = 14
"""Of tick labels that touch each other."""
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

    def __init__(self, axes: Axes, title: str, *, tick_letters: int, digits: int) -> None:
        self.axes = axes
        self._tick_letters, self._digits = tick_letters, digits
        axes.set_title(title, pad=7, y=1.0)  # where it is anyway: matplotlib then need not measure all tick labels
        self.grid = "xy"
        """The axes whose ticks have lines across the panel."""
        self._bars: list[tuple[Array, str]] = []
        self.lowest, self.highest = math.inf, -math.inf
        """Of the means and yardsticks that are drawn, without their intervals."""
        self._ends: dict[Look, tuple[float, float]] = {}
        self.has_rings = False
        self.has_crosses = False

    def log_x(self, values: Sequence[float], texts: Sequence[str] | None = None, *, most: int = 8) -> None:
        """A log2 axis with ticks at the given values, thinned to `most` of them, none touching the next."""
        self.axes.set_xscale("log", base=2)
        written = list(texts or map(number, values))
        step = -(-len(values) // most)
        shown = list(range(len(values) - 1, -1, -step))[::-1]
        while sum(len(written[i]) + 2 for i in shown) > self._tick_letters and len(shown) > 2:
            shown = shown[1::2] if len(shown) % 2 == 0 else shown[::2]
        shown = self._apart(values, written, shown)
        self.axes.set_xticks([values[i] for i in shown], [written[i] for i in shown])
        self.axes.xaxis.set_minor_locator(NullLocator())
        self.axes.set_xlim(min(values) / 1.4, max(values) * 1.4)

    def _apart(self, values: Sequence[float], written: Sequence[str], shown: Sequence[int]) -> list[int]:
        """Those of the `shown` whose labels have room: the last one, and before it each that is far enough away."""
        digits = self._digits / math.log(1.4**2 * max(values) / min(values))
        apart = [shown[-1]]
        for i in reversed(shown[:-1]):
            widths = (len(written[i]) + len(written[apart[-1]])) / 2
            if math.log(values[apart[-1]] / values[i]) * digits > widths:
                apart.append(i)
        return apart[::-1]

    def log_y(self, low: float, high: float) -> None:
        """A log axis with ticks at 1, 2 and 5 of each power of ten: fewer where it spans many, even ones where few.

        The limits themselves are those that `Sheet.finish` is given.
        """
        if low <= 0:
            raise ValueError(f"{low:g} has no place on a log axis")
        powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        steps = (1.0, 2.0, 5.0) if len(powers) <= 5 else (1.0,)
        ticks = [step * 10.0**power for power in powers for step in steps]
        ticks = [tick for tick in ticks if low <= tick <= high]
        if len(ticks) < 3:
            even = MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
            ticks = [float(tick) for tick in even if low <= tick <= high]
        self.axes.set_yscale("log")
        self.axes.set_yticks(ticks)
        self.axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: number(float(f"{value:g}"))))
        self.axes.yaxis.set_minor_locator(NullLocator())

    def line(self, x: Sequence[float], y: Sequence[float], look: Look) -> None:
        """A line without points of its own: a theoretical curve, or a path through models of other looks."""
        self._plot(x, y, color=look.colour, linestyle=look.line, linewidth=_stroke(look.width), zorder=2)

    def level(self, x: Sequence[float], y: Sequence[float]) -> None:
        """A yardstick that is no model, such as the error of predicting the mean. Call it after `log_x`."""
        if len(x) == 1:
            x, y = self.axes.get_xlim(), (y[0], y[0])
        self._plot(x, y, color=GREY, linestyle=":", linewidth=_stroke(1.1), zorder=2)

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
        marks.describe(self.axes, at, mean, points.iloc[order], look=look)
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
        marks.describe(self.axes, steps, mean, points, look=look)
        self._intervals(steps, low, high, look, as_band=True)
        self._means(steps, mean, look, marked=(phase % _MARKER_EVERY, _MARKER_EVERY))

    def _means(
        self, x: Array, y: Array, look: Look, *, hollow: bool = False, marked: tuple[int, int] | None = None
    ) -> None:
        self._plot(
            x, y, color=look.colour, linestyle=look.line, linewidth=_stroke(look.width), marker=look.marker,
            markevery=marked, **_filling(look, hollow), zorder=MEANS,
        )  # fmt: skip
        held = np.flatnonzero(np.isfinite(y))
        if len(held) > 1 and look.line and look.width:
            self._ends[look] = float(x[held[-1]]), float(y[held[-1]])

    def ends(self) -> labels.Ends:
        """Where lines end on the right. Call it once the axes have their scales."""
        shares = self.axes.transScale + self.axes.transLimits
        return {look: tuple(shares.transform(end)) for look, end in self._ends.items()}

    def _plot(self, x: Sequence[float] | Array, y: Sequence[float] | Array, **look: Any) -> None:
        self.axes.plot(x, y, **look)
        held = [value for value in map(float, y) if math.isfinite(value)]
        self.lowest, self.highest = min([self.lowest, *held]), max([self.highest, *held])

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
            self.axes.add_collection(
                LineCollection(bars, colors=colours, linewidths=_stroke(0.8), zorder=2.9), autolim=False
            )
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


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A figure, with what it says."""

    figure: Figure
    message: str
    """What these rows show, in one sentence: the title above the figure."""
    caption: str
    heading: Text | None = None
    """The message as it is drawn, and how much of the top it takes."""
    heading_inches: float = 0.0
    marks: Marks = field(default_factory=Marks)


class Sheet:
    """Panels in rows, as wide as its format says, and as high as it takes.

    Figures lay out panels for a page. In a narrow format there are fewer beside each other, in the same order.
    """

    def __init__(
        self, titles: Sequence[str], *, columns: int, inches: float | Sequence[float], narrow_columns: int = 2
    ) -> None:
        """`inches` is the height of a panel, or of each row of them; `narrow_columns` fit in a narrow format."""
        self._format = style.current()
        self._own_scales = False
        self._unit = self._format.points / style.PAGE.points
        self._page_columns = self._columns = min(columns, len(titles))
        if most := self._format.most_columns:
            fitting = min(self._columns, narrow_columns, 1 if len(titles) <= 3 else most)
            # Panels beside each other share the scale and the label of their row, so rows are not broken unevenly.
            self._columns = 1 if self._page_columns % fitting else fitting
        rows = -(-len(titles) // self._columns)
        by_page_row = [*inches] if isinstance(inches, Sequence) else [inches] * -(-len(titles) // self._page_columns)
        page_rows = [self._page_row(row * self._columns) for row in range(rows)]
        self._inches = [self._format.height * by_page_row[row] for row in page_rows]
        self.figure = Figure(figsize=(self._format.inches, 1.0))
        FigureCanvasAgg(self.figure)
        axes = self.figure.subplots(rows, self._columns, squeeze=False, height_ratios=self._inches).ravel()
        for unused in axes[len(titles) :]:
            unused.remove()
        letters = self._panel_letters(_TICK_LETTERS_PER_INCH) if self._format.is_narrow else _TICK_LETTERS
        written = [self._wrapped(title) for title in titles]
        self._title_lines = max(title.count("\n") + 1 for title in written)
        digits = self._panel_letters(_DIGITS_PER_INCH)
        self.panels = [
            Panel(its, title, tick_letters=letters, digits=digits) for its, title in zip(axes, written, strict=False)
        ]
        """Row by row; the last row may be short."""

    def _page_row(self, place: int) -> int:
        """The row of a panel as the figure laid it out."""
        return place // self._page_columns

    def _letters(self, on_page: int) -> int:
        """How many letters fit across the format where so many fit across a page."""
        return int(on_page * self._format.inches / style.PAGE.inches / self._unit)

    def _panel_letters(self, per_inch: float = _TITLE_LETTERS_PER_INCH) -> int:
        """How many letters fit across a panel."""
        inches = (self._format.inches / self._unit - _LABEL_INCHES) / self._columns
        return max(int(per_inch * inches), 8)

    def finish(
        self,
        *,
        message: str,
        caption: str,
        x_label: str | Sequence[str],
        footnote: str,
        legend: Sequence[Sequence[Artist]] = (),
        y_label: str | Sequence[str] = "",
        y_limits: Sequence[tuple[float, float]] = (),
        rows_alike: bool = True,
        from_zero: bool = True,
        gap: float = 0.21,
    ) -> Drawn:
        """Places everything, the message on top. Panels of a row get one scale; all of them where rows are alike.

        The scale begins at zero, if `from_zero`, and ends above all that is drawn; where that spans powers it is one of
        ratios (`scales.WIDE`). Or `y_limits` gives its ends for each row, or for each panel, which then has tick labels
        of its own. `y_label` may be one for each row too, `x_label` one for each
        column. `gap` is what parts rows of panels, titles aside.
        """
        unit = self._unit
        lines = wrap(footnote, self._letters(_LINE_LETTERS), break_on_hyphens=False)
        entries = [entry for its in legend for entry in its]
        self._own_scales = len(y_limits) > len({self._page_row(i) for i in range(len(self.panels))})
        self._scale(rows_alike, y_limits, from_zero=from_zero)
        ends = [[panel.ends() for panel in row] for row in self._rows]
        names = labels.names(ends, self._inches, marks.named(entries))
        elsewhere = {name.entry for its in names for name in its}
        rest = [[entry for entry in its if entry not in elsewhere] for its in [*legend, self._hole_entries()]]
        rows = [part for its in rest for part in _fitting(its, self._letters(_LEGEND_LETTERS))]
        x_labels = [self._wrapped(label) for label in ([x_label] if isinstance(x_label, str) else x_label)]
        label_lines = max(label.count("\n") for label in x_labels)
        text = unit * (_EDGE + len(lines) * _FOOTNOTE_INCHES + _GAP_INCHES)
        beneath = unit * ((_BOTTOM if any(x_labels) else _GAP_INCHES) + label_lines * _LINE_INCHES)
        bottom = text + unit * (len(rows) * _LEGEND_INCHES + _GAP_INCHES) + beneath
        top = unit * (_TOP + (self._title_lines - 1) * _LINE_INCHES)
        # Panels of a row that have labels of their own take more.
        own = beneath if len(x_labels) > 1 and self._columns < self._page_columns else 0.0
        between = [unit * gap + top + own] * (len(self._inches) - 1)
        above = wrap(unbroken(message), self._letters(_MESSAGE_LETTERS), break_on_hyphens=False)
        height = bottom + sum(self._inches) + sum(between) + top + unit * (len(above) * _MESSAGE_INCHES + _EDGE)
        self.figure.set_size_inches(self._format.inches, height)
        self._label(x_labels, y_label)
        for i, row in enumerate(rows):
            self.figure.legend(
                handles=list(row), ncols=len(row), loc="center", frameon=False, borderpad=0, columnspacing=1.4,
                bbox_to_anchor=(0.5, (text + unit * (len(rows) - i - 0.5) * _LEGEND_INCHES) / height),
                handlelength=2.3 if any(isinstance(entry, Line2D) for entry in row) else 1.8, handletextpad=0.5,
            )  # fmt: skip
        foot = {"size": self._format.small_points, "va": "bottom", "linespacing": 1.25}
        corner = unit * _EDGE / self._format.inches, unit * _EDGE / height
        self.figure.text(*corner, "\n".join(lines), **foot)  # type: ignore[arg-type]
        heading = self.figure.text(
            corner[0], 1 - unit * _EDGE / height, "\n".join(above), va="top", weight="bold", linespacing=1.25,
            size=_MESSAGE_SIZE * self._format.points,
        )  # fmt: skip
        left = self._label_inches() + unit * _EDGE
        texts = [labels.write(self.figure, its) for its in names]
        beside = _PRINT_WIDTH * max(labels.width(self.figure, its) for its in texts)
        right = beside + unit * (labels.GAP_INCHES + _EDGE) if beside else unit * _RIGHT
        self._place(left, right, bottom, between, height)
        for panels, its, of_row in zip(self._rows, names, texts, strict=True):
            labels.place(self.figure, panels[-1].axes, its, of_row, unit * labels.GAP_INCHES)
        return Drawn(
            figure=self.figure, message=message, caption=caption, heading=heading,
            heading_inches=unit * len(above) * _MESSAGE_INCHES, marks=marks.placed(self.figure, entries),
        )  # fmt: skip

    @property
    def _rows(self) -> list[list[Panel]]:
        return [self.panels[i : i + self._columns] for i in range(0, len(self.panels), self._columns)]

    def _place(self, left: float, right: float, bottom: float, between: Sequence[float], height: float) -> None:
        """Puts the panels where they belong."""
        inches, gap_x = self._format.inches, self._unit * (_GAP_X + (_SCALE_INCHES if self._own_scales else 0.0))
        width = (inches - left - right - (self._columns - 1) * gap_x) / self._columns
        for i, panel in enumerate(self.panels):
            row, column = divmod(i, self._columns)
            base = bottom + sum(self._inches[row + 1 :]) + sum(between[row:])
            box = (left + column * (width + gap_x), base, width, self._inches[row])
            panel.axes.set_position((box[0] / inches, box[1] / height, box[2] / inches, box[3] / height))

    def _wrapped(self, label: str) -> str:
        return "\n".join(wrap(label, self._panel_letters())) if self._format.is_narrow else label

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

    def _scale(self, rows_alike: bool, y_limits: Sequence[tuple[float, float]], *, from_zero: bool) -> None:
        for i, panel in enumerate(self.panels):
            if y_limits:
                panel.axes.set_ylim(y_limits[i if self._own_scales else self._page_row(i)])
                continue
            row = i - i % self._page_columns
            alike = self.panels if rows_alike else self.panels[row : row + self._page_columns]
            low, high = min(its.axes.dataLim.y0 for its in alike), max(its.axes.dataLim.y1 for its in alike)
            lowest = min(its.lowest for its in alike)
            is_log = scales.is_wide(lowest, max(its.highest for its in alike))
            if is_log:  # an interval may reach to zero and below, where such an axis has no place
                low = max(low, lowest / 2)
            ends = scales.limits(low, high, is_log=is_log, from_zero=from_zero)
            if is_log:
                panel.log_y(*ends)
            panel.axes.set_ylim(ends)

    def _label(self, x_labels: Sequence[str], y_label: str | Sequence[str]) -> None:
        of_page_columns = len(x_labels) > 1 and self._columns < self._page_columns
        for i, panel in enumerate(self.panels):
            is_leftmost, is_lowest = i % self._columns == 0, i + self._columns >= len(self.panels)
            has_label = is_lowest or of_page_columns
            of_row = y_label if isinstance(y_label, str) else y_label[self._page_row(i)]
            panel.axes.tick_params(labelleft=is_leftmost or self._own_scales)
            panel.axes.set_ylabel(of_row if is_leftmost else "")
            panel.axes.set_xlabel(x_labels[i % self._page_columns % len(x_labels)] if has_label else "")
            for axis, is_labelled in ((panel.axes.yaxis, is_leftmost), (panel.axes.xaxis, has_label)):
                if not is_labelled:  # matplotlib then need not measure tick labels to place an empty label
                    axis.set_label_coords(0, 0)
            panel.finish()


def _stroke(points: float) -> float:
    return points * style.current().stroke


def _fitting(entries: Sequence[Artist], most: int) -> list[Sequence[Artist]]:
    """The entries in as few rows as fit, about equally many in each."""
    letters = [len(str(entry.get_label())) + _HANDLE_LETTERS for entry in entries]
    for rows in range(1, len(entries) + 1):
        size = -(-len(entries) // rows)
        starts = range(0, len(entries), size)
        if size == 1 or all(sum(letters[i : i + size]) <= most for i in starts):
            return [entries[i : i + size] for i in starts]
    return []


def handle(look: Look, label: str, *, hollow: bool = False) -> Line2D:
    """The legend entry of a model."""
    entry = Line2D(
        [], [], color=look.colour, linestyle=look.line, linewidth=_stroke(look.width), marker=look.marker, label=label,
        **_filling(look, hollow),
    )  # fmt: skip
    marks.stands_for(entry, look)
    return entry


def level_handle(label: str) -> Line2D:
    """The legend entry of `Panel.level`."""
    return Line2D([], [], color=GREY, linestyle=":", linewidth=_stroke(1.1), label=label)


def _filling(look: Look, hollow: bool) -> dict[str, Any]:
    return {
        "markerfacecolor": "white" if hollow else look.colour,
        # A white edge parts markers that touch; a dot is too small for one.
        "markeredgecolor": look.colour if hollow or look.marker == "." else "white",
        "markeredgewidth": 0.7 if hollow else 0.4,
    }
