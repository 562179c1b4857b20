"""The best points of a search, with their fields."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from ...data.selection import Selection
from ...naming import number
from ...output.products import Product, table_product
from ...output.tables import Column, Section, Table
from . import words
from .selection import SearchSelection, numbers_of, searched

MOST_POINTS = 10
_EMPTY = "–"


def make_best(selection: Selection) -> Product:
    """The ten best points, or the Pareto front of two objectives; the CSV has the same."""
    found = searched(selection)
    chosen = _chosen(found)
    tables = {metric: _of(found.means(metric), chosen) for metric in found.search.objectives}
    table = _table(found, tables)
    return table_product(table, numbers_of(tables), "tab:search-best")


def _chosen(selection: SearchSelection) -> list[str]:
    """Ids of points, the best first."""
    if len(selection.search.objectives) > 1:
        return selection.best()
    (metric,) = selection.search.objectives
    table = selection.means(metric)
    ranked = table.assign(cost=selection.signs[metric] * table["mean"]).sort_values("cost", kind="stable")
    return [str(point_id) for point_id in ranked["point_id"].head(MOST_POINTS)]


def _of(table: pd.DataFrame, chosen: list[str]) -> pd.DataFrame:
    return table.set_index("point_id").loc[chosen].reset_index()


def _table(selection: SearchSelection, tables: dict[str, pd.DataFrame]) -> Table:
    first = next(iter(tables.values()))
    rows = [
        [
            number(int(first["suggestion"][place])),
            *(_value(first[field][place]) for field in selection.fields),
            str(first["n"][place]),
            *(_mean(table.iloc[place]) for table in tables.values()),
        ]
        for place in range(len(first))
    ]
    several = len(tables) > 1
    what = "Pareto front" if several else "best points" if len(first) > 1 else "best point"
    return Table(
        name="Pareto front" if several else "Best points",
        title=f"The {what} of a search for {words.goals(selection)}.",
        columns=[
            Column(heading="suggestion"),
            *(Column(heading=words.spoken(field)) for field in selection.fields),
            Column(heading="n"),
            *(Column(heading=words.metric(metric)) for metric in tables),
        ],
        sections=[Section(title="", rows=rows)],
        notes=[
            words.CURSE,
            words.note(
                selection,
                "Suggestion: the number of the one that tried the point first. n: repetitions.",
                intervals="± half of the 95% t-interval",
            ),
        ],
    )


def _mean(point: pd.Series[Any]) -> str:
    """`16.69 ± 0.14`, with as many places as the interval has use for."""
    half = float(point["high"] - point["mean"])
    if not half > 0:
        mean = float(point["mean"])
        return number(mean) if mean.is_integer() else f"{mean:.4g}"
    places = min(6, max(2, math.ceil(-math.log10(half))))
    return f"{point['mean']:.{places}f} ± {half:.{places}f}"


def _value(value: Any) -> str:
    if pd.isna(value):
        return _EMPTY
    return f"{value:.4g}" if isinstance(value, float) and not float(value).is_integer() else number(value)
