"""The best points of a search, with their fields."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from ...data.selection import Selection
from ...items import table
from ...naming import number, plus_minus
from ...output.numbers import long_form
from ...output.product import Product, table_product
from ...output.tables import Section, Table, columns_of
from . import _words as words
from ._selection import SearchSelection, search_needs, searched, select_search

MOST_POINTS = 10
_EMPTY = "–"


@table("The best points of a search, or its Pareto front, with their fields", search_needs(), select=select_search)
def search_best(selection: Selection) -> Product:
    """The ten best points, or the Pareto front of two objectives; the CSV has the same."""
    found = searched(selection)
    chosen = _chosen(found)
    tables = {metric: found.means(metric).set_index("point_id").loc[chosen].reset_index()
              for metric in found.search.objectives}  # fmt: skip
    numbers = long_form(table.assign(metric=metric) for metric, table in tables.items())
    return table_product(_table(found, tables), numbers, "tab:search-best")


def _chosen(selection: SearchSelection) -> list[str]:
    """Ids of points, the best first."""
    if len(selection.search.objectives) > 1:
        return selection.best()
    (metric,) = selection.search.objectives
    table = selection.means(metric)
    ranked = table.assign(cost=selection.search.signs[metric] * table["mean"]).sort_values("cost", kind="stable")
    return [str(point_id) for point_id in ranked["point_id"].head(MOST_POINTS)]


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
        columns=columns_of(numbers=["suggestion", *map(words.spoken, selection.fields), "n",
                                    *map(selection.title, tables)]),
        sections=[Section(rows=rows)],
        notes=[
            words.CURSE,
            words.note(
                selection,
                "Suggestion: the number of the one that tried the point first. n: repetitions.",
                intervals="± half of the 95% t-interval",
            ),
        ],
    )  # fmt: skip


def _mean(point: pd.Series[Any]) -> str:
    """`16.69 ± 0.14`, with as many places as the interval has use for."""
    half = float(point["high"] - point["mean"])
    if not half > 0:
        mean = float(point["mean"])
        return number(mean) if mean.is_integer() else f"{mean:.4g}"
    places = min(6, max(2, math.ceil(-math.log10(half))))
    return plus_minus(float(point["mean"]), half, places)


def _value(value: Any) -> str:
    if pd.isna(value):
        return _EMPTY
    return f"{value:.4g}" if isinstance(value, float) and not float(value).is_integer() else number(value)
