"""A metric over each field that varies, or over one: for every quantizer, at the settings with most points."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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
from ._points import AllPoints, points_of

_MOST_PANELS, _MOST_LINES = 6, 4
_MOST_LETTERS = 44
"""Of the names of values beneath a panel, gaps included; a field with more is only in the `.csv`."""


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


@dataclass(frozen=True, kw_only=True)
class Cuts(AllPoints):
    """All points, and those that differ in one field alone."""

    @cached_property
    def cuts(self) -> Sequence[_Cut]:
        """A cut along each field that varies."""
        return _cuts(self, [name for name in self.varied if name not in self.declared.conditions])


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
    fitting = [cut for cut in every if sum(len(text) + 2 for text in _texts(points, cut)) <= _MOST_LETTERS] or every
    cuts = sorted(fitting, key=lambda cut: -sum(len(line.points) for line in cut.lines))[:_MOST_PANELS]
    looks = _looks(points, cuts)
    axes, metric = points.declared.axes, points.declared.metrics[points.metric]
    sheet = Sheet([axes[cut.field].title() for cut in cuts], columns=min(3, len(cuts)), inches=1.9)
    for panel, cut in zip(sheet.panels, cuts, strict=True):
        place = _axis(panel, points, cut)
        for line in cut.lines:
            at = line.points[cut.field].map(place)
            panel.points(at, line.points, looks[line.quantizer, line.shade])
    drawn = {point for cut in cuts for line in cut.lines for point in line.points["point_id"]}
    held = "; ".join(f"{axes[cut.field].label}: {cut.held}" for cut in cuts if cut.held)
    note = points.note(
        f"Each line holds all other settings at the values with most points. {capitalised(held)}." if held else "",
        f"Drawn: {len(drawn):,} of {len(points.points):,} points; the .csv has all.",
    )
    better = f"{metric.better.capitalize()} is better. " if metric.better else ""
    return sheet.finish(
        message=_message(points, cuts), caption=f"{capitalised(metric.label)} {title}. {better}{note}",
        x_label="value of the setting", y_label=points.y_label(), footnote=note,
        legend=[[handle(look, points.name(*key)) for key, look in looks.items()]],
    )  # fmt: skip


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
        its, its_held = _most(its, others, field)
        own = {name: value for name, value in its_held.items() if name not in held and here[name].nunique() > 1}
        found = [*_lines(its, quantizer, field, shade if shade in its else "")]
        if found and own:
            words.append(f"{points.name(quantizer)} at {points.settings_text(*zip(*own.items(), strict=True))}")
        lines += found
    return _Cut(field=field, held="; ".join(words), lines=lines)


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
    values, texts = _values(cut), _texts(points, cut)
    if not texts:
        panel.log_x(values, most=6)
        return {value: float(value) for value in values}
    panel.axes.set_xticks(range(len(values)), texts)
    panel.axes.set_xlim(-0.5, len(values) - 0.5)
    return {value: float(place) for place, value in enumerate(values)}


def _values(cut: _Cut) -> list[Any]:
    return sorted({value for line in cut.lines for value in line.points[cut.field]})


def _texts(points: AllPoints, cut: _Cut) -> list[str]:
    """What stands beneath the values of a field; none of numbers, which have a scale."""
    values = _values(cut)
    if all(isinstance(value, int | float) and value > 0 for value in values):
        return []
    return [points.declared.axes[cut.field].value(value) for value in values]


def _looks(points: AllPoints, cuts: Sequence[_Cut]) -> dict[tuple[str, Any], Look]:
    order = [*points.declared.quantizers]
    drawn = {(line.quantizer, line.shade) for cut in cuts for line in cut.lines}
    keys = sorted(drawn, key=lambda key: (order.index(key[0]), key[1] is not None, key[1] or 0))
    return dict(zip(keys, distinguished([points.look(*key) for key in keys]), strict=True))
