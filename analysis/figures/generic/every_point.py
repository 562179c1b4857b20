"""A table of every point: what was set, its rate, and the main metric with its interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from ...data.selection import Selection
from ...naming import number
from ...output.numbers import as_csv
from ...output.product import Product
from ...output.tables import Section, Table, columns_of
from ._points import BITS, AllPoints, numbers, points_of

MOST = 1000
"""Points in the table; the `.csv` has all."""
_MISSING = "–"
_DIGEST_LETTERS = 8


def every_point(selection: Selection) -> Product:
    """A row for each point; points of equal data stand together, the best of them first."""
    points = points_of(selection)
    table, metric = points.means(), points.declared.metrics[points.metric]
    order = table.sort_values(
        [*points.data_fields, "mean"], ascending=[*[True] * len(points.data_fields), metric.better != "higher"],
        kind="stable",
    )  # fmt: skip
    fields = [name for name in points.varied if table[name].notna().any()]
    constant = [name for name in points.declared.axes if name in table and table[name].nunique(dropna=False) == 1]
    shown = order.head(MOST)
    rows = [_row(points, fields, row) for row in shown.to_dict("records")]
    headings = [*(_heading(points, name) for name in fields), "bits", metric.label, "95% interval", "n"]
    held = points.settings_text(constant, [table[name].iloc[0] for name in constant])
    note = points.note(
        f"The first {MOST:,} of {len(table):,} points; the .csv has all." if len(table) > MOST else "",
        "Points of equal data stand together, the best first. Bits: of the code of one vector or image, all codes "
        "being equally likely.",
        f"All points: {held}." if held else "",
    )
    content = Table(
        title=f"{len(table):,} points: {metric.title()}.", columns=columns_of(["quantizer"], headings),
        sections=[Section(rows=rows)], notes=[note], is_long=True,
    )  # fmt: skip
    return Product(files={".csv": as_csv(numbers(selection))}, caption=f"{content.title} {note}", table=content)


def _heading(points: AllPoints, name: str) -> str:
    axis = points.declared.axes[name]
    return f"{axis.label} {axis.symbol}" if axis.symbol else axis.label


def _row(points: AllPoints, fields: Sequence[str], row: dict[Any, Any]) -> list[str]:
    values = [_value(points, name, row[name]) for name in fields]
    low, high = (_short(row[end]) for end in ("low", "high"))
    interval = f"{low} to {high}" if _MISSING not in (low, high) else _MISSING
    bits = _MISSING if pd.isna(row[BITS]) else f"{row[BITS]:,.6g}"
    return [points.declared.label(str(row["quantizer"])), *values, bits, _short(row["mean"]), interval, str(row["n"])]


def _value(points: AllPoints, name: str, value: Any) -> str:
    if pd.isna(value):
        return _MISSING
    shown = points.declared.axes[name].value(number(value))
    return shown[:_DIGEST_LETTERS] if name == points.declared.digest else shown


def _short(value: float) -> str:
    return f"{value:.4g}" if math.isfinite(value) else _MISSING
