"""The objective over each searched field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.lines import Line2D

from dvq_ray.sweep.space import Axis, Choices

from ...data.selection import Selection
from ...draw import scales
from ...draw.sheet import Drawn, Panel, Sheet
from ...items import figure
from ...output.messages import is_alike, said, short
from ...output.words import capitalised
from . import _marks as marks
from . import _words as words
from ._selection import SearchSelection, by_objective, search_needs, searched, select_search

_MOST_COLUMNS = 3
_SPREAD = 0.32
"""Of points with one value, to either side of it; neighbouring values are 1 apart."""
_MOST_LISTED = 8
"""Values of a range that stand beside each other; more of them lie along an axis of numbers."""
_LINE: dict[str, Any] = {"marker": "s", "color": marks.BLACK, "markersize": 4.4}


@figure(
    "The objective over each searched field: all points, and the best at each value",
    search_needs(),
    numbers=by_objective(SearchSelection.means),
    select=select_search,
)
def search_fields(selection: Selection) -> Drawn:
    """All points over each searched field, and the best at each value: a row of panels for each objective."""
    found = searched(selection)
    tables = {metric: words.named(found, found.means(metric)) for metric in found.search.objectives}
    columns = min(_MOST_COLUMNS, len(found.fields))
    rows_each = -(-len(found.fields) // columns)
    padded = [*found.fields, *[""] * (rows_each * columns - len(found.fields))]
    sheet = Sheet([words.spoken(field) for _ in tables for field in padded], columns=columns, inches=2.0)
    limits, labels, joined = list[tuple[float, float]](), list[str](), False
    for place, (metric, table) in enumerate(tables.items()):
        scale = marks.scale(table)
        limits += [scale.limits] * rows_each
        labels += [words.y_label(found, metric)] * rows_each
        for field, panel in zip(padded, sheet.panels[place * len(padded) :], strict=False):
            panel.axes.set_visible(bool(field))
            if field:
                scale.apply(panel)
                panel.axes.set_title(words.spoken(field), pad=2.5)  # ticks of the panel above take two lines
                joined |= _draw(panel, found, field, table, found.search.signs[metric])
    note = words.note(
        found,
        "Each mark is a point that was suggested, in all panels of a row. "
        + ("Numbers in brackets: points at that value; marks are set apart sideways. " if joined else "")
        + "A search tries most points where it hopes for good ones, so that a value with few points may be worse here "
        "than it can be.",
    )
    joined_entry = Line2D([], [], label="best point at each value", **_LINE)
    legend = [marks.entry(marks.PLAIN, "point"), *([joined_entry] if joined else [])]
    legend.append(marks.entry(marks.BEST, "best of all" if len(tables) == 1 else "best by that objective alone"))
    objectives = capitalised(" and ".join(found.title(metric) for metric in tables))
    caption = f"{objectives} of all points that a search tried, over each searched field. {note} {words.CURSE}"
    return sheet.finish(
        x_label="value of the field", y_label=labels, legend=[legend], footnote=note, y_limits=limits,
        message=_message(found, tables), caption=caption,
    )  # fmt: skip


def _message(selection: SearchSelection, tables: Mapping[str, pd.DataFrame]) -> str:
    """The best point by each objective, and how many others cannot be told from it."""
    parts = []
    for metric, table in tables.items():
        order = (selection.search.signs[metric] * table["mean"]).sort_values().index
        first, *others = table.loc[order].to_dict("records")
        alike = sum(is_alike(first, other) for other in others)
        parts.append(
            f"of {len(table)} points {words.settings(selection, first)} has the best "
            f"{selection.declared.metrics[metric].label}, {short(first['mean'])}; {alike} of the others cannot be told "
            "from it"
        )
    return said(*parts)


def _draw(panel: Panel, selection: SearchSelection, field: str, table: pd.DataFrame, sign: float) -> bool:
    """Returns whether the best points at each value are joined: where values are few."""
    axis = selection.search.space.axes[field]
    here = table[table[field].notna()]
    best = table.iloc[int(np.argmin(sign * table["mean"]))]
    values = _listed(axis)
    if values is None:
        assert not isinstance(axis, Choices)
        ends = scales.limits(axis.low, axis.high, is_log=axis.log)
        marks.across(panel, marks.Scale(limits=ends, log=axis.log), whole=axis.whole)
        marks.means(panel, here[field].astype(float), here, marks.PLAIN)
        if pd.notna(best[field]):
            panel.axes.plot([float(best[field])], [best["mean"]], linestyle="", **marks.BEST, zorder=5)
        return False
    at = [_equal(here[field], value) for value in values]
    counts = [int(each.sum()) for each in at]
    texts = [f"{words.value_text(value)}\n({count})" for value, count in zip(values, counts, strict=True)]
    panel.axes.set_xticks(range(len(values)), texts, linespacing=1.0)
    panel.axes.tick_params(axis="x", pad=1.5)
    panel.axes.set_xlim(-0.6, len(values) - 0.4)
    champions = []
    for place in range(len(values)):
        some = here[at[place]]
        if len(some):
            first = int(np.argmin(sign * some["mean"]))
            champions.append((place, some.iloc[first]))
            others = some.drop(index=some.index[first])
            marks.means(panel, place + _aside(len(others)), others, marks.PLAIN, zorder=2.5)
    if not champions:  # no point has the field
        return True
    tops = pd.DataFrame([row for _, row in champions])
    places = [place for place, _ in champions]
    if all(isinstance(value, int | float) for value in values):  # names have no order that a line could follow
        line = tops["mean"].set_axis(places).reindex(range(len(values)))  # which breaks at a value without a point
        panel.axes.plot(line.index, line, linewidth=1.0, zorder=3, color=marks.BLACK)
    marks.means(panel, places, tops, _LINE, zorder=3.5)
    on_top = [place for place, row in champions if row["point_id"] == best["point_id"]]
    panel.axes.plot(on_top, [best["mean"]] * len(on_top), linestyle="", **marks.BEST, zorder=5)
    return True


def _equal(column: pd.Series[Any], value: Any) -> npt.NDArray[np.bool_]:
    """Where a column holds a value, the last digits of a float aside: stores of earlier versions hold 0.1 x 3."""
    if isinstance(value, float):
        return np.asarray(np.isclose(column.to_numpy(np.float64), value, rtol=1e-12, atol=1e-12))
    return np.asarray(column == value, bool)


def _listed(axis: Axis) -> Sequence[Any] | None:
    """The values in the order in which they stand beside each other; None where they are too many for that."""
    if isinstance(axis, Choices):
        return words.in_order(axis)
    values = axis.values()
    few = values is not None and (len(values) == 1 or (len(values) <= _MOST_LISTED and not axis.log))
    return values if few else None


def _aside(count: int) -> Any:
    """Of points that share a value with the best one, which stands in the middle."""
    sides = np.linspace(-_SPREAD, _SPREAD, count + count % 2)
    return sides[:count]
