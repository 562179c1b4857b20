"""All points at equal rates and on equal data, from the best to the worst: what an engineer has to choose from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from dvq_ray.comparison.ranking import Place, ranked
from dvq_ray.declarations.field import shared_axes
from dvq_ray.experiment.named import named
from dvq_ray.experiment.registry import find_experiment

from ...data.needs import Needs
from ...data.rows import Rows
from ...data.selection import Selection
from ...output.product import Product, table_product
from ...output.tables import Section, Table, columns_of
from ._points import BITS, AllPoints, points_of
from .versus import ALIKE, values_by_seed

MOST_GROUPS = 12
"""Rates times data; more would be no table that one reads."""
_DIGITS = 6


def some_points(rows: Rows, needs: Needs) -> AllPoints | None:
    """All points; None also where no two quantizers have points of equal rates, or there are too many rates."""
    comparison = find_experiment(needs.trainable).comparison
    costs = [name for name in named(comparison).costs if name in rows.frame] if comparison else []
    points = AllPoints.of(rows, replace(needs, others=tuple(costs)))
    return points if points and 0 < len(_groups(points)) <= MOST_GROUPS else None


def ranks(selection: Selection) -> pd.DataFrame:
    """Every point of a group with others.

    Columns: the fields of the group and its number `rate`, `point_id`, `quantizer`, `code_bits`, `n`, `mean`,
    `difference` from the best of the group over its mean, `low` and `high` of that, `p_value`, `verdict`.

    Differences are paired by seed, and p-values corrected by Holm over the whole table.
    """
    points = points_of(selection)
    values, _ = values_by_seed(points)
    by_id = {
        str(point): {seed: float(value) for seed, value in enumerate(row) if np.isfinite(value)}
        for point, row in zip(points.points["point_id"], values, strict=True)
    }
    groups = _groups(points)
    found = ranked(
        {place: {str(each): by_id[str(each)] for each in group["point_id"]} for place, group in enumerate(groups)},
        better="higher" if points.declared.metrics[points.metric].better == "higher" else "lower",
    )
    held = _held(points)
    about = [*held, BITS, "quantizer", *(name for name in points.varied if name not in held)]
    every = [
        {**_fields(group, place, about), "rate": at, **_numbers(place)}
        for at, group in enumerate(groups) for place in found[at]
    ]  # fmt: skip
    return pd.DataFrame(every)


def ranking(selection: Selection) -> Product:
    """A section for each rate on each data."""
    points, table = points_of(selection), ranks(selection)
    held = _held(points)
    metric, costs = points.declared.metrics[points.metric], _costs(points)
    size = {name: points.means(name).set_index("point_id")["mean"] for name in costs}
    better = metric.better or "lower"
    sections = [
        Section(
            title=_title(points, group, held), rows=[_row(points, row, size, held) for row in group.to_dict("records")]
        )
        for _, group in table.groupby("rate", sort=False)
    ]
    note = points.note(
        f"{better.capitalize()} is better. Differences are from the best of the same rate, over its mean, paired by "
        "seed, with Student's 95% interval for each alone. Worse: a two-sided t-test's p-value is at most 0.05, "
        "corrected by Holm as if all pairs of the table had been compared. Rate: bits of codes that are all equally "
        "likely.",
    )
    content = Table(
        name="Ranking",
        title=f"{metric.label.capitalize()} of all quantizers at equal rates ({points.needs.trainable}).",
        columns=columns_of(
            ["quantizer"], [metric.label, "from the best", "95% interval", "verdict", "n", *costs.values()]
        ),
        sections=sections, notes=[note],
    )  # fmt: skip
    return table_product(content, table.drop(columns="rate"), "tab:ranking")


def _held(points: AllPoints) -> list[str]:
    """Fields that are equal within a group: of the data, and of network and training where all quantizers have them."""
    variants = [points.declared.experiment.variant(name) for name in points.declared.quantizers]
    common = {*points.declared.axes}.intersection(*(shared_axes(variants[0], other) for other in variants))
    alike = [name for name in points.varied if name in common and points.declared.axes[name].role in ALIKE]
    return [*points.data_fields, *(name for name in alike if name not in points.data_fields)]


def _groups(points: AllPoints) -> Sequence[pd.DataFrame]:
    """Points that differ in nothing else than the quantizer and its own fields, where there are several quantizers."""
    table = points.points.assign(**{BITS: points.points[BITS].round(_DIGITS)})
    groups = (group for _, group in table.groupby([*_held(points), BITS], dropna=False, observed=True))
    return [group for group in groups if group["quantizer"].nunique() > 1]


def _fields(group: pd.DataFrame, place: Place, about: Sequence[str]) -> Mapping[str, Any]:
    point = group[group["point_id"].astype(str) == place.name].iloc[0]
    return {"point_id": place.name, **{name: point[name] for name in about}}


def _numbers(place: Place) -> Mapping[str, Any]:
    low, high = place.interval or (np.nan, np.nan)
    return {
        "n": place.seeds, "mean": place.mean, "difference": place.difference, "low": low, "high": high,
        "p_value": place.p_value if place.interval else np.nan, "verdict": place.verdict,
    }  # fmt: skip


def _costs(points: AllPoints) -> Mapping[str, str]:
    """What the experiment shows beside its metric where quantizers are compared."""
    comparison = points.declared.experiment.comparison
    shown = named(comparison).costs if comparison else {}
    return {name: heading for name, heading in shown.items() if name in (points.needs.others or ())}


def _title(points: AllPoints, group: pd.DataFrame, held: Sequence[str]) -> str:
    settings = points.settings_text(held, [group[name].iloc[0] for name in held])
    return ", ".join(filter(None, [settings, f"{group[BITS].iloc[0]:,.6g} bits"]))


def _row(
    points: AllPoints, row: Mapping[Any, Any], sizes: Mapping[str, pd.Series[float]], held: Sequence[str]
) -> Sequence[str]:
    its = points.points[points.points["quantizer"] == row["quantizer"]]
    fields = [name for name in points.varied if name not in (*held, *points.declared.conditions)]
    own = [name for name in fields if its[name].nunique() > 1]
    settings = points.settings_text(own, [row[name] for name in own])
    has_interval, is_best = not np.isnan(row["low"]), row["verdict"] == "best"
    return [
        ", ".join(filter(None, [points.declared.label(str(row["quantizer"])), settings])),
        f"{row['mean']:.4g}",
        "–" if is_best or pd.isna(row["difference"]) else f"{row['difference']:+.1%}",
        f"{row['low']:+.1%} to {row['high']:+.1%}" if has_interval else "–",
        row["verdict"], str(row["n"]),
        *(f"{its.get(row['point_id'], np.nan):,.0f}" for its in sizes.values()),
    ]  # fmt: skip
