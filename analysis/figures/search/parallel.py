"""Parallel coordinates: each point of a search as a line through its fields to its value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.colors import Normalize
from matplotlib.lines import Line2D

from dvq_ray.sweep.space import Axis, Choices

from ...data.selection import Selection
from ...draw.marks import describe
from ...draw.sheet import Drawn, Sheet
from ...draw.style import GREY
from ...items import figure
from ...output.messages import said
from . import _marks as marks
from . import _words as words
from ._selection import SearchSelection, search_needs, searched, select_search

BEST_SHARE = 0.1
"""Of the points that are drawn in black."""
_ABSENT = -0.12
"""The height of a point that does not have a field."""
_FLOOR = -0.2


def _means(selection: Selection) -> pd.DataFrame:
    """A row for each point that has a value of the first objective."""
    found = searched(selection)
    metric = next(iter(found.search.objectives))
    return found.means(metric).assign(metric=metric)


@figure(
    "Parallel coordinates: all points of a search as lines through their fields, and the best tenth of them",
    search_needs(),
    numbers=_means,
    select=select_search,
)
def search_parallel(selection: Selection) -> Drawn:
    """An upright axis for each searched field, and one for the (first) objective."""
    found = searched(selection)
    metric = next(iter(found.search.objectives))
    table = words.named(found, found.means(metric))
    sheet = Sheet([""], columns=1, inches=3.0)
    (panel,) = sheet.panels
    names = [*found.fields, metric]
    heights = np.column_stack(
        [_heights(table[field], found.search.space.axes[field]) for field in found.fields]
        + [Normalize(table["mean"].min(), table["mean"].max())(table["mean"].to_numpy(float)).filled(0.5)]
    )
    order = np.argsort(found.search.signs[metric] * table["mean"].to_numpy())
    count = max(1, round(BEST_SHARE * len(table)))
    places = np.arange(len(names))
    for row in order[::-1]:
        is_best = row in order[:count]
        panel.axes.plot(
            places, heights[row], color=marks.BLACK if is_best else GREY, linewidth=1.1 if is_best else 0.5,
            alpha=1.0 if is_best else 0.45, zorder=3 if is_best else 2,
        )  # fmt: skip
    describe(panel.axes, [places[-1]] * len(table), heights[:, -1], table)
    some_absent = bool(np.isclose(heights, _ABSENT).any())
    for place, name in enumerate(names):
        panel.axes.axvline(place, color=marks.BLACK, linewidth=0.7, zorder=1)
        for height, text in _ticks(found, name, table, absent=some_absent):
            panel.axes.annotate(
                text, (place, height), xytext=(3, 0), textcoords="offset points", fontsize=8, va="center", zorder=4,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.4, "alpha": 0.8},
            )  # fmt: skip
    labels = [*map(words.spoken, found.fields), found.declared.metrics[metric].label]
    panel.axes.set_xticks(places, labels)
    panel.axes.spines["left"].set_visible(False)
    panel.axes.set_yticks([])
    panel.axes.set_xlim(-0.15, len(names) - 0.55)
    legend = [
        Line2D([], [], color=marks.BLACK, linewidth=1.1, label=f"best {count} of {len(table)} points"),
        Line2D([], [], color=GREY, linewidth=0.5, label="other point"),
    ]
    note = words.note(
        found, "Each line is a point; its height on an axis is its value there.", intervals="no intervals"
    )
    caption = (
        f"All points of a search for {words.goals(found)}, as lines through their fields to their mean of "
        f"{found.title(metric)}. {note} {words.CURSE}"
    )
    return sheet.finish(
        message=_message(found, table.iloc[order[:count]], len(table)), caption=caption,
        x_label="searched fields, and the objective", y_label="", legend=[legend], footnote=note,
        y_limits=[(_FLOOR if some_absent else -0.08, 1.08)],
    )  # fmt: skip


def _message(selection: SearchSelection, best: pd.DataFrame, of: int) -> str:
    """What the best points, by their means, have in common."""
    if len(best) == 1:
        return said(f"the best of {of} points, by its mean, has {words.settings(selection, best.iloc[0])}")
    alike = {field: best[field].iloc[0] for field in selection.fields if best[field].nunique(dropna=False) == 1}
    common = words.settings(selection, alike) or "no value of a field"
    return said(f"the best {len(best)} of {of} points, by their means, share {common}")


def _heights(column: pd.Series[Any], axis: Axis) -> npt.NDArray[np.float64]:
    """Where values lie between the ends of their axis, 0 to 1; choices are equally far apart."""
    if isinstance(axis, Choices):
        values = words.in_order(axis)
        top = max(len(values) - 1, 1)
        places = [values.index(value) / top if value in values else np.nan for value in column.tolist()]
        found = np.array(places, np.float64)
    else:
        numbers = column.astype("float64").to_numpy(np.float64, na_value=np.nan)
        low, high = (np.log(axis.low), np.log(axis.high)) if axis.log else (axis.low, axis.high)
        found = ((np.log(numbers) if axis.log else numbers) - low) / ((high - low) or 1.0)
    return np.where(np.isfinite(found), found, _ABSENT)


def _ticks(selection: SearchSelection, name: str, table: pd.DataFrame, *, absent: bool) -> Sequence[tuple[float, str]]:
    axis = selection.search.space.axes.get(name)
    if axis is None:
        low, high = float(table["mean"].min()), float(table["mean"].max())
        return [(0.0, f"{low:.4g}"), (1.0, f"{high:.4g}")]
    if isinstance(axis, Choices):
        values = words.in_order(axis)
        found = [(place / max(len(values) - 1, 1), words.value_text(value)) for place, value in enumerate(values)]
    else:
        found = [(0.0, f"{axis.low:.4g}"), (1.0, f"{axis.high:.4g}")]
    is_absent = absent and bool(table[name].isna().any())
    return [*found, (_ABSENT, "none")] if is_absent else found
