"""What the figures of a search share: means with intervals that no line joins, and scales."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from ...draw.marks import describe
from ...draw.scales import is_wide, limits
from ...draw.sheet import Panel
from ...draw.style import GREY

BLACK = "#111111"
PLAIN: Mapping[str, Any] = {
    "marker": "o", "color": GREY, "markersize": 4.0, "markeredgecolor": "white", "markeredgewidth": 0.4,
}  # fmt: skip
REPEAT: Mapping[str, Any] = {"marker": "D", "color": BLACK, "markerfacecolor": "white", "markersize": 4.0}
BEST: Mapping[str, Any] = {
    "marker": "*", "color": BLACK, "markersize": 10.0, "markeredgecolor": "white", "markeredgewidth": 0.5,
}  # fmt: skip
STOPPED: Mapping[str, Any] = {"marker": "v", "color": BLACK, "markerfacecolor": "white", "markersize": 4.0}
FAILED: Mapping[str, Any] = {"marker": "x", "color": BLACK, "markersize": 4.2, "markeredgewidth": 1.1}
_PALE = "#8A8A8A"
_MANY = 100
_FEW_DECADES = 300.0
"""Ratio of the ends of a log axis that has room for ticks between powers of ten."""


def means(
    panel: Panel, x: Iterable[float], table: pd.DataFrame, looks: Mapping[str, Any], *, zorder: float = 3
) -> None:
    """A mark with its interval for each row of a table that `words.named` gave; none where there is no interval.

    Intervals lie beneath all marks. Those of plain points are pale, so that many of them hide nothing.
    """
    x, mean, many = list(x), table["mean"].to_numpy(float), len(table) > _MANY
    describe(panel.axes, x, mean, table)
    pale = looks is PLAIN
    panel.axes.errorbar(
        x, mean, yerr=half(table), fmt="none", ecolor=_PALE if pale else looks["color"], elinewidth=0.7,
        capsize=0.0 if many else 1.6, capthick=0.7, zorder=1.7 if pale else 1.9,
    )  # fmt: skip
    smaller = {"markersize": 0.6 * looks["markersize"]} if many else {}
    panel.axes.plot(x, mean, **{**looks, **smaller}, linestyle="", zorder=zorder)


def half(table: pd.DataFrame) -> list[float]:
    """Half of each interval; no number where there is none, or where it has no width."""
    halves = table["high"].to_numpy(float) - table["mean"].to_numpy(float)
    return list(np.where(halves > 0, halves, np.nan))


def entry(looks: Mapping[str, Any], label: str) -> Line2D:
    """An entry of the legend for such marks."""
    return Line2D([], [], linestyle="", label=label, **looks)


@dataclass(frozen=True, kw_only=True)
class Scale:
    """An axis that holds all intervals of some means; a log axis where the means span decades."""

    limits: tuple[float, float]
    """As `Sheet.finish` takes them."""
    log: bool

    def apply(self, panel: Panel) -> None:
        """As an upright axis. Goes before anything is drawn; the limits themselves are the sheet's."""
        if self.log:
            panel.log_y(*self.limits)


def across(panel: Panel, scale: Scale, *, whole: bool = False) -> None:
    """Gives a panel its lying axis."""
    x = panel.axes.xaxis
    if scale.log:
        panel.axes.set_xscale("log")
        few = scale.limits[1] / scale.limits[0] <= _FEW_DECADES
        x.set_major_locator(LogLocator(subs=(1.0, 3.0) if few else (1.0,), numticks=6))
        x.set_minor_locator(NullLocator())
    else:
        x.set_major_locator(MaxNLocator(6, integer=whole, steps=[1, 2, 5, 10]))
    x.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    panel.axes.set_xlim(*scale.limits)


def scale(table: pd.DataFrame) -> Scale:
    """That of a table with `mean`, `low` and `high`; rows without a mean do not count.

    Intervals may take as much room as the means on either side; longer ones, as those of two repetitions are, leave it.
    """
    mean = table["mean"].dropna()
    room = float(mean.max() - mean.min()) or float(mean.abs().max())
    low = max(float(np.fmin(table["low"], table["mean"]).min()), float(mean.min()) - room)
    high = min(float(np.fmax(table["high"], table["mean"]).max()), float(mean.max()) + room)
    if is_wide(float(mean.min()), float(mean.max())):
        low = low if low > 0 else float(mean.min()) / 1.3  # an interval may reach below zero, where a log axis ends
        return Scale(limits=limits(low, high, is_log=True, room=0.05), log=True)
    room = 0.06 * (high - low) or 0.06 * abs(high) or 1.0
    return Scale(limits=(low - room, high + room), log=False)
