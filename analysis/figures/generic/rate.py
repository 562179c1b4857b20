"""Distortion over rate for every quantizer, with the Pareto front: what no other point beats at as few bits."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from dvq_ray.experiment.registry import find_experiment

from ...data.needs import Needs, distinct, spread
from ...data.rows import Rows
from ...data.selection import Selection
from ...draw.sheet import Drawn, Sheet, handle
from ...draw.style import THEORY, Look, unlike
from ...naming import listed
from ...output.messages import said
from ...output.numbers import long_form
from ...output.words import capitalised
from ._points import BITS, AllPoints, points_of

_MOST_PANELS = 6
_MOST_NAMES, _ALL_NAMES = 4, 8
"""Names of one quantizer in the legend, where those of all would be more than so many."""
_INCHES = {1: 2.1, 2: 2.1, 3: 1.6}
"""Heights of panels, by rows of them."""
_NARROW = 30
"""Letters of a title that fits above one of three panels beside each other."""
Floats = npt.NDArray[np.float64]
ON_FRONT = "on_pareto_front"
_TICKS = 6


@dataclass(frozen=True, kw_only=True)
class MeasuredRate(AllPoints):
    """All points, whose rate is the experiment's `rate_column`: what their codes take when entropy-coded."""


def with_measured_rate(rows: Rows, needs: Needs) -> MeasuredRate | None:
    """All points; None where the experiment measures no such rate, or no row has it."""
    column = find_experiment(needs.trainable).rate_column
    if not column or column not in rows.of(needs.trainable) or rows.of(needs.trainable)[column].isna().all():
        return None
    return MeasuredRate.of(rows, replace(needs, metrics=(*needs.metrics, column)))


def _with_rate(points: AllPoints) -> pd.DataFrame:
    """Every point with its numbers, and its rate in the column `BITS`: nominal, or the mean of what was measured."""
    means = points.means()
    if isinstance(points, MeasuredRate):
        measured = points.means(points.declared.experiment.rate_column).set_index("point_id")["mean"]
        means[BITS] = means["point_id"].map(measured)
    return means


def fronts(selection: Selection) -> pd.DataFrame:
    """Every point with its rate and numbers, and whether it is on the front of the points with equal data."""
    points = points_of(selection)
    means = _with_rate(points)
    group, on_front = np.zeros(len(means), np.int64), np.zeros(len(means), bool)
    if points.data_fields:  # the number of each point's combination of these
        group = means.groupby(points.data_fields, dropna=False, observed=True).ngroup().to_numpy().astype(np.int64)
    sign = -1.0 if points.declared.metrics[points.metric].better == "higher" else 1.0
    for panel in np.unique(group):
        at = group == panel
        on_front[at] = pareto(means[BITS].to_numpy()[at], sign * means["mean"].to_numpy()[at])
    return means.assign(panel=group, **{ON_FRONT: on_front})


def pareto(rate: Floats, cost: Floats) -> npt.NDArray[np.bool_]:
    """For each point, whether no other has at most its rate and a lower cost, or a lower rate and its cost.

    Points without a number are on no front.
    """
    found = np.zeros(len(rate), bool)
    least = math.inf
    for place in np.lexsort((cost, rate)):
        if np.isfinite(rate[place]) and cost[place] < least:
            found[place], least = True, cost[place]
    return found


def numbers(selection: Selection) -> pd.DataFrame:
    """The same in long form."""
    points = points_of(selection)
    return long_form([fronts(selection).drop(columns="panel").assign(metric=points.metric)])


def rate(selection: Selection) -> Drawn:
    """A panel for each setting of the data."""
    points = points_of(selection)
    table = fronts(selection)
    held = table.groupby("panel")[points.data_fields].first() if points.data_fields else pd.DataFrame(index=[0])
    chosen = spread([*held.index], _MOST_PANELS)
    titles = [points.settings_text(points.data_fields, held.loc[panel].tolist()) for panel in chosen]
    columns = min(3 if max(map(len, titles)) <= _NARROW else 2, len(chosen))
    sheet = Sheet(titles, columns=columns, inches=_INCHES[-(-len(chosen) // columns)] if columns > 1 else 3.0)
    entries = dict[tuple[str, str], tuple[Look, str]]()
    drawn = table[table["panel"].isin(chosen) & table[BITS].notna()]
    looks = _looks(points, drawn)
    for panel, group in zip(sheet.panels, chosen, strict=True):
        here = drawn[drawn["panel"] == group]
        if here.empty:
            continue
        ticks = _ticks(points, here[BITS])
        panel.log_x(ticks, [f"{tick:.0f}" if tick.is_integer() else f"{tick:.4g}" for tick in ticks], most=_TICKS)
        for (quantizer, value), look in looks.items():
            some = here[here["quantizer"] == quantizer]
            some = some if value is None else some[some[points.declared.shade(quantizer)] == value]
            if len(some):
                panel.points(some[BITS], some, look)
                entries.setdefault((quantizer, look.colour), (look, points.name(quantizer, value)))
        front = here[here[ON_FRONT]].sort_values(BITS)
        panel.axes.step(front[BITS], front["mean"], where="post", color=THEORY.colour, linewidth=0.9, zorder=2)
    left = len(held) - len(chosen)
    alike = table.groupby([*points.data_fields], dropna=False, observed=True) if points.data_fields else None
    axes = points.declared.axes
    others = [axes[name].label for name in points.varied if axes[name].role in ("network", "training")
              and (alike is None or (alike[name].nunique() > 1).any())]  # fmt: skip
    unknown = int(table[BITS].isna().sum())
    note = points.note(
        f"{_rate_is(points)}. Line: the Pareto front, by means: no point has a lower rate and is better.",
        f"Drawn: {len(chosen)} of {len(held)} settings of the data ({listed(points.data_fields)}); the .csv has all."
        if left else "",
        f"Points also differ in {listed(others)}." if others else "",
        f"Points without a rate, {_why_none(points)}: {unknown:,}." if unknown else "",
    )  # fmt: skip
    return sheet.finish(
        message=_message(points, table),
        caption=f"{capitalised(points.declared.metrics[points.metric].label)} over rate for every quantizer. {note}",
        x_label="rate (bits)", y_label=points.y_label(), footnote=note, from_zero=False,
        legend=[[handle(look, name) for look, name in _few(points, entries)], [handle(THEORY, "front")]],
    )  # fmt: skip


def _message(points: AllPoints, table: pd.DataFrame) -> str:
    """Who is on the fronts, by means, and how much of that the intervals bear out."""
    counts = table.loc[table[ON_FRONT], "quantizer"].value_counts()
    if counts.empty:
        return said("no point has a rate and a value")
    (name, most), *others = [(points.declared.label(str(name)), count) for name, count in counts.items()]
    if table["quantizer"].nunique() == 1:
        return said(f"{most} of {len(table)} points of {name} are on the Pareto fronts, by means")
    rest = "".join(f", {name} {count}" for name, count in others)
    return said(
        f"on the Pareto fronts, by means, {name} has {most} of {counts.sum()} points{rest}; {_clear(table)} can be "
        "told from all points of other quantizers with as few bits"
    )


def _clear(table: pd.DataFrame) -> int:
    """Points of the fronts that can be told from all points of other quantizers with no more bits."""
    count = 0
    for _, its in table[table["n"] > 0].groupby("panel"):
        low, high, bits = (its[name].to_numpy(float) for name in ("low", "high", BITS))
        quantizers = pd.factorize(its["quantizer"])[0]
        for place in np.flatnonzero(its[ON_FRONT]):
            others = (quantizers != quantizers[place]) & (bits <= bits[place])
            count += bool(((low > high[place]) | (high < low[place]))[others].all())
    return count


def _ticks(points: AllPoints, rates: pd.Series[float]) -> list[float]:
    """The rates themselves where they are few whole numbers, as nominal ones are."""
    if not isinstance(points, MeasuredRate):
        return sorted(map(float, rates.unique()))
    return [round(float(tick), 1) for tick in np.geomspace(rates.min(), rates.max(), _TICKS)]


def _rate_is(points: AllPoints) -> str:
    if not isinstance(points, MeasuredRate):
        return "Rate: bits of the codes of one vector or image, all codes being equally likely"
    label = points.declared.metrics[points.declared.experiment.rate_column].label
    return f"Rate: bits that the codes of a test vector or image take after entropy coding ({label}), their mean"


def _why_none(points: AllPoints) -> str:
    """Why a point has no rate."""
    if isinstance(points, MeasuredRate):
        return "which their cells did not measure"
    return "as their settings are not valid in this version"


def _looks(points: AllPoints, drawn: pd.DataFrame) -> Mapping[tuple[str, Any], Look]:
    """How each quantizer is drawn, by its values of the field along which it darkens."""
    values = dict[str, Sequence[Any]]()
    for quantizer in points.declared.quantizers:
        its, shade = drawn[drawn["quantizer"] == quantizer], points.declared.shade(quantizer)
        if len(its):
            values[quantizer] = (distinct(its, shade) if shade in its else ()) or (None,)
    looks = unlike([[points.look(quantizer, value) for value in its] for quantizer, its in values.items()])
    found = [
        ((quantizer, value), replace(look, line=""))
        for (quantizer, its), group in zip(values.items(), looks, strict=True)
        for value, look in zip(its, group, strict=True)
    ]
    found.sort(key=lambda entry: entry[1].marker == ".")  # dots are drawn above what would hide them
    return dict(found)


def _few(points: AllPoints, entries: Mapping[tuple[str, str], tuple[Look, str]]) -> Iterable[tuple[Look, str]]:
    """All looks; where they are many, at most four of each quantizer, from the lightest to the darkest."""
    most = _MOST_NAMES if len(entries) > _ALL_NAMES else _ALL_NAMES
    for quantizer in points.declared.quantizers:
        yield from spread([entry for (name, _), entry in entries.items() if name == quantizer], most)
