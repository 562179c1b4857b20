"""The Pareto front of two objectives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.lines import Line2D

from ...data.needs import Needs
from ...data.rows import Rows
from ...data.selection import Selection
from ...draw.looks import known_look
from ...draw.marks import describe
from ...draw.sheet import Drawn, Panel, Sheet
from ...draw.style import GREY
from ...items import figure
from ...output.messages import said, short
from ...output.words import capitalised
from . import _marks as marks
from . import _words as words
from ._selection import SearchSelection, by_objective, search_needs, searched, select_search


def _front(selection: SearchSelection, metric: str) -> pd.DataFrame:
    """A row for each point that has a value, with whether it is on the front."""
    means = selection.means(metric)
    means.insert(2, "on_front", means["point_id"].isin(selection.best()))
    return means


def _select_two(rows: Rows, needs: Needs) -> SearchSelection | None:
    found = select_search(rows, needs)
    return found if found is not None and len(found.search.objectives) == 2 else None


@figure(
    "Pareto front of a search for two objectives, among all points that it tried",
    search_needs(
        "the store of one search for two objectives, such as the loss and the rate: every suggestion that ended",
        sweeps=(),
    ),
    numbers=by_objective(_front),
    select=_select_two,
)
def search_front(selection: Selection) -> Drawn:
    """The first objective over the second: all points, and the steps of those that no other is better than."""
    found = searched(selection)
    upright, across = found.search.objectives
    y, x = words.named(found, found.means(upright)), found.means(across)
    front = found.best()
    sheet = Sheet([""], columns=1, inches=3.2)
    (panel,) = sheet.panels
    scale = marks.scale(y)
    scale.apply(panel)
    marks.across(panel, marks.scale(x))
    on_front = y["point_id"].isin(front).to_numpy()
    order = x[on_front].sort_values("mean").index
    steps = "steps-post" if found.search.signs[across] > 0 else "steps-pre"
    panel.axes.plot(x["mean"][order], y["mean"][order], color=marks.BLACK, linewidth=1.0, drawstyle=steps, zorder=2)
    shade, looks = _looks(found, y)
    for value, look in looks.items():
        here = y[shade] == value if shade else pd.Series(True, index=y.index)
        for on in (False, True):
            some = here & (on_front == on)
            _marks(panel, x[some], y[some], look, on=on)
    note = words.note(
        found,
        "Front: the points that no other is better than in both objectives at once; the line bounds what they reach.",
        intervals="bars: 95% t-intervals of both objectives",
    )
    caption = (
        f"{found.title(upright)} over {found.title(across)} of all points that a search tried "
        f"({words.better(found, upright)}; {words.better(found, across)}), and the Pareto front of its means. "
        f"{note} {words.CURSE}"
    )
    legend = [_entry(on=True, label="on the front", line=True), _entry(on=False, label="other point")]
    models = [
        Line2D([], [], linestyle="", label=found.declared.value(shade, value), **look)
        for value, look in looks.items()
        if shade
    ]
    ends = [
        f"{found.declared.metrics[upright].label} {short(y['mean'][place])} at "
        f"{found.declared.metrics[across].label} {short(x['mean'][place])}"
        for place in dict.fromkeys(order[[0, -1]])
    ]
    return sheet.finish(
        message=said(f"{len(front)} of {len(y)} points are on the Pareto front of means: {' to '.join(ends)}"),
        caption=capitalised(caption), x_label=f"{found.title(across)}, {words.better(found, across)}",
        y_label=words.y_label(found, upright),
        legend=[legend, *([models] if models else [])], footnote=note, y_limits=[scale.limits],
    )  # fmt: skip


def _looks(selection: SearchSelection, table: pd.DataFrame) -> tuple[str, Mapping[Any, Mapping[str, Any]]]:
    """The field along which a single quantizer's looks differ, where it is searched, and its looks by value.

    Else one look for all points.
    """
    (quantizer, *others), declared = selection.declared.quantizers, selection.declared
    if others or declared.shade(quantizer) not in selection.fields:
        return "", {None: {"color": "#8A8A8A", "marker": "o"}}
    shade = declared.shade(quantizer)
    looks = {value: known_look(quantizer, value) for value in sorted(table[shade].unique())}
    return shade, {value: {"color": look.colour, "marker": look.marker} for value, look in looks.items()}


def _marks(panel: Panel, x: pd.DataFrame, y: pd.DataFrame, look: Mapping[str, Any], *, on: bool) -> None:
    if len(x):
        describe(panel.axes, x["mean"], y["mean"], y)
        panel.axes.errorbar(
            x["mean"], y["mean"], xerr=marks.half(x), yerr=marks.half(y), linestyle="", elinewidth=0.7, capsize=1.4,
            capthick=0.7, zorder=3 + on, **look, **_filling(look["color"], on=on),
        )  # fmt: skip


def _filling(colour: str, *, on: bool) -> Mapping[str, Any]:
    if on:
        return {"markersize": 6.2, "markerfacecolor": colour, "markeredgecolor": marks.BLACK, "markeredgewidth": 0.8}
    return {"markersize": 4.6, "markerfacecolor": colour, "markeredgecolor": GREY, "markeredgewidth": 0.4}


def _entry(*, on: bool, label: str, line: bool = False) -> Line2D:
    style = {"linestyle": "-" if line else "", "color": marks.BLACK, "marker": "o", "linewidth": 1.0}
    return Line2D([], [], label=label, **style, **_filling("#8A8A8A", on=on))  # type: ignore[arg-type]
