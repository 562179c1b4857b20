"""A metric over each field that varies, or over one: for every quantizer, at the settings with most points."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from ...data.needs import Needs, distinct, spread
from ...data.rows import Rows
from ...data.selection import Selection
from ...draw.sheet import Drawn, Panel, Sheet, handle
from ...draw.style import Look, distinguished
from ...output.messages import called, is_alike, said, short
from ...output.product import UnfitError
from ...output.words import capitalised
from ._points import AllPoints, points_of, telling_apart

_MOST_PANELS, _MOST_LINES = {1: 4, 2: 6, 3: 6}, 4
"""Panels, by how many are beside each other; lines of a quantizer in a panel."""
_MOST_LETTERS = {1: 80, 2: 44, 3: 28}
"""Of the names of values beneath a panel, gaps included, by how many panels are beside each other."""


@dataclass(frozen=True, kw_only=True)
class _Line:
    """Points that differ in nothing but the field of the axis."""

    quantizer: str
    shade: Any
    points: pd.DataFrame


@dataclass(frozen=True, kw_only=True)
class _Cut:
    """What one panel shows."""

    field: str
    held: str
    """The other settings, in words."""
    lines: Sequence[_Line]

    @cached_property
    def means(self) -> pd.Series[float]:
        """The mean of all lines at each value of the field."""
        return pd.concat([line.points for line in self.lines]).groupby(self.field)["mean"].mean()

    @property
    def is_of_numbers(self) -> bool:
        """Whether the values of the field are numbers and not names."""
        return all(isinstance(value, int | float) and not isinstance(value, bool) for value in self.means.index)


@dataclass(frozen=True, kw_only=True)
class Cuts(AllPoints):
    """All points, and those that differ in one field alone."""

    @cached_property
    def cuts(self) -> Sequence[_Cut]:
        """A cut along each field that varies."""
        axes, conditions = self.declared.axes, self.declared.conditions
        return _cuts(self, [name for name in self.varied if name not in conditions and not axes[name].is_id])


def some_points(rows: Rows, needs: Needs) -> AllPoints | None:
    """All points; None also where no two differ in one field alone."""
    points = Cuts.of(rows, needs)
    return points if points and points.cuts else None


def over(selection: Selection, field: str) -> Drawn:
    """The metric over one field."""
    points = points_of(selection)
    label = points.declared.axes[field].label
    cuts = _cuts(points, [field])
    if not cuts:
        raise UnfitError(f"no two points differ in nothing but {label}")
    return _drawn(points, cuts, f"over {label}")


def over_axes(selection: Selection) -> Drawn:
    """The main metric, a panel for each field."""
    assert isinstance(selection, Cuts)
    return _drawn(selection, selection.cuts, "over each setting that varies")


def _cuts(points: AllPoints, fields: Sequence[str]) -> Sequence[_Cut]:
    means = points.means()
    return [cut for cut in (_cut(points, means, field) for field in fields) if cut.lines]


def _drawn(points: AllPoints, every: Sequence[_Cut], title: str) -> Drawn:
    cuts, columns = fitting(points, every)
    looks = _looks(points, cuts)
    axes, metric = points.declared.axes, points.declared.metrics[points.metric]
    sheet = Sheet([axes[cut.field].title() for cut in cuts], columns=columns, inches=1.9)
    lined = set[tuple[str, Any]]()
    for panel, cut in zip(sheet.panels, cuts, strict=True):
        place = _axis(panel, points, cut)
        for line in cut.lines:
            look, at = looks[line.quantizer, line.shade], line.points[cut.field].map(place)
            panel.points(at, line.points, look if cut.is_of_numbers else replace(look, line=""))  # names have no order
            lined |= {(line.quantizer, line.shade)} if cut.is_of_numbers else set()
    drawn = {point for cut in cuts for line in cut.lines for point in line.points["point_id"]}
    held = "; ".join(f"{axes[cut.field].label}: {cut.held}" for cut in cuts if cut.held)
    note = points.note(
        f"All other settings are at the values with most points. {capitalised(held)}." if held else "",
        f"Drawn: {len(drawn):,} of {len(points.points):,} points; the .csv has all.",
    )
    better = f"{metric.better.capitalize()} is better. " if metric.better else ""
    return sheet.finish(
        message=_message(points, cuts), caption=f"{capitalised(metric.label)} {title}. {better}{note}",
        x_label="value of the setting", y_label=points.y_label(), footnote=note,
        legend=[[handle(look if key in lined else replace(look, line=""), points.name(*key))
                 for key, look in looks.items()]],
    )  # fmt: skip


def fitting(points: AllPoints, every: Sequence[_Cut]) -> tuple[Sequence[_Cut], int]:
    """The cuts to draw, those with most points first, and how many are beside each other: names need room.

    Cuts whose names have no room in the widest panel are only in the `.csv`.
    """
    letters = {cut.field: sum(len(text) + 2 for text in _texts(points, cut)) for cut in every}
    some = [cut for cut in every if letters[cut.field] <= _MOST_LETTERS[1]] or every
    some = sorted(some, key=lambda cut: -sum(len(line.points) for line in cut.lines))
    for columns in range(min(3, len(some)), 0, -1):
        cuts = some[: _MOST_PANELS[columns]]
        if all(letters[cut.field] <= _MOST_LETTERS[columns] for cut in cuts):
            break
    return cuts, columns


def _message(points: AllPoints, cuts: Sequence[_Cut]) -> str:
    """The setting along whose lines the metric changes most: by its ratio, or by its difference where it has none."""
    label, ranges = points.declared.metrics[points.metric].label, list[tuple[float, float, str, str]]()
    for cut in cuts:
        for line in cut.lines:
            held = line.points[line.points["n"] > 0].sort_values("mean").to_dict("records")
            if len(held) < 2 or is_alike(held[0], held[-1]):
                continue
            ends = sorted((held[0], held[-1]), key=lambda point: [*line.points[cut.field]].index(point[cut.field]))
            texts = [f"{short(end['mean'])} at {points.settings_text([cut.field], [end[cut.field]])}" for end in ends]
            low, high = float(held[0]["mean"]), float(held[-1]["mean"])
            name = called(points.name(line.quantizer, line.shade))
            ranges.append((high / low if low > 0 else np.inf, high - low, name, f"from {' to '.join(texts)}"))
    if not ranges:
        return said(f"no change of the {label} with a setting can be told from chance")
    *_, name, change = max(ranges)
    return said(f"the {label} of {name} changes{' most' if len(ranges) > 1 else ''}, {change}")


def _cut(points: AllPoints, means: pd.DataFrame, field: str) -> _Cut:
    """The points along a field: those of equal data first, then for each quantizer those of equal settings."""
    here = means[means[field].notna()]
    here, held = _most(here, [name for name in points.data_fields if name != field], field)
    words, lines = [points.settings_text(*zip(*held.items(), strict=True))] if held else [], list[_Line]()
    for quantizer in points.declared.quantizers:
        its = here[here["quantizer"] == quantizer]
        shade = points.declared.shade(quantizer)
        others = [name for name in points.varied if name not in (field, shade) and points.declared.has(quantizer, name)]
        others = _without_ids_that_follow(points, its, others, shade)
        its, its_held = _most(its, others, field)
        own = {name: value for name, value in its_held.items() if name not in held and here[name].nunique() > 1}
        found = [*_lines(its, quantizer, field, shade if shade in its else "")]
        if found and own:
            words.append(f"{points.name(quantizer)} at {points.settings_text(*zip(*own.items(), strict=True))}")
        lines += found
    return _Cut(field=field, held="; ".join(words), lines=lines)


def _without_ids_that_follow(points: AllPoints, its: pd.DataFrame, names: Sequence[str], shade: str) -> list[str]:
    """The fields less any id that a line's own value and the others decide."""
    ids = [name for name in names if points.declared.axes[name].is_id]
    rest = [name for name in (*names, shade) if name in its and name not in ids]
    needed = telling_apart(its, ids, beside=rest)
    return [name for name in names if name not in ids or name in needed]


def _lines(its: pd.DataFrame, quantizer: str, field: str, shade: str) -> Iterator[_Line]:
    values = spread(distinct(its, shade), _MOST_LINES) if shade and shade != field else (None,)
    for value in values:
        line = its if value is None else its[its[shade] == value]
        line = line.drop_duplicates(field).sort_values(field)
        if len(line) > 1:
            yield _Line(quantizer=quantizer, shade=value, points=line)


def _most(frame: pd.DataFrame, by: Sequence[str], field: str) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The rows of the combination of these columns that reaches most values of the field, and the combination."""
    names = [name for name in by if frame[name].nunique(dropna=False) > 1]
    if not names or frame.empty:
        return frame, {}
    groups = frame.groupby(names, dropna=False, observed=True)
    order = groups.agg(values=(field, "nunique"), points=("point_id", "size"))
    best = order.sort_values(["values", "points"], ascending=False, kind="stable").index[0]
    values = best if isinstance(best, tuple) else (best,)
    inside = np.ones(len(frame), bool)
    for name, value in zip(names, values, strict=True):
        inside &= (frame[name].isna() if pd.isna(value) else frame[name] == value).to_numpy(bool)
    return frame[inside], dict(zip(names, values, strict=True))


def _axis(panel: Panel, points: AllPoints, cut: _Cut) -> dict[Any, float]:
    """Sets the panel's axis; where each value of the field lies on it."""
    values, texts = _values(points, cut), _texts(points, cut)
    if not texts:
        panel.log_x(values, most=6)
        return {value: float(value) for value in values}
    panel.axes.set_xticks(range(len(values)), texts)
    panel.axes.set_xlim(-0.5, len(values) - 0.5)
    return {value: float(place) for place, value in enumerate(values)}


def _values(points: AllPoints, cut: _Cut) -> list[Any]:
    """Numbers by their size; names from the worst mean of all lines to the best, or to the highest where none is."""
    if cut.is_of_numbers:
        return sorted(cut.means.index)
    is_lower_better = points.declared.metrics[points.metric].better == "lower"
    return [*cut.means.sort_values(ascending=not is_lower_better, kind="stable").index]


def _texts(points: AllPoints, cut: _Cut) -> list[str]:
    """What stands beneath the values of a field; none of numbers above 0, which have a scale."""
    values = _values(points, cut)
    if cut.is_of_numbers and all(value > 0 for value in values):
        return []
    return [points.declared.axes[cut.field].value(value) for value in values]


def _looks(points: AllPoints, cuts: Sequence[_Cut]) -> dict[tuple[str, Any], Look]:
    order = [*points.declared.quantizers]
    drawn = {(line.quantizer, line.shade) for cut in cuts for line in cut.lines}
    keys = sorted(drawn, key=lambda key: (order.index(key[0]), key[1] is not None, key[1] or 0))
    return dict(zip(keys, distinguished([points.look(*key) for key in keys]), strict=True))
