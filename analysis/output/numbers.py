"""The numbers behind an item in long form, so that no one has to measure a figure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from ..data.needs import Grid
from ..data.selection import Metric, SelectedGrid, Selection

_FORMULA = re.compile(r"(?:^|(?<=[;\t\n]))(?=[=+\-@\t\n＝＋－＠])")
"""Where a formula begins (OWASP, CSV injection): spreadsheets of some countries take a semicolon for the comma, and
some read the full-width forms too."""
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
SUMMARY = ("n", "wanted", "mean", "deviation", "low", "high")
"""What is said about each number: repetitions it is from and those it should be from, mean, sample standard deviation
and 95% t-interval."""


def declared_numbers(selection: Selection) -> pd.DataFrame:
    """A row for each point and declared metric, and for each step of the declared curves.

    Columns: `grid` where grids have labels, `quantizer`, the axes, `metric`, `step` where there are curves, `SUMMARY`.
    A metric that is a list is given by the mean of its entries; one that is text is left out.
    """
    tables = []
    for grid in selection.grids:
        for name in selection.needs.metrics:
            if metric := number_of(selection.rows, name):
                tables.append(metric_of(grid, name, grid.means(metric)))
        for column in selection.needs.curves:
            for point, wanted in zip(grid.points, grid.wanted.tolist(), strict=True):
                varying = {axis: value for axis, value in point.items() if len(grid.axes[axis]) > 1}
                curve = grid.curve(column, **varying)
                tables.append(metric_of(grid, column, curve.assign(**point, wanted=wanted)))
    return long_form(tables, labelled=any(grid.label for grid in selection.grids))


def metric_of(grid: Grid, name: str, table: pd.DataFrame) -> pd.DataFrame:
    """The table of a metric of the grid, with what it is of."""
    who: dict[Any, Any] = {"grid": grid.name, "quantizer": grid.quantizer}
    return pd.DataFrame(who | dict(table.items()) | {"metric": name}, index=table.index)


def numbers_of(grids: Iterable[SelectedGrid], metrics: Mapping[str, Metric], *, labelled: bool = False) -> pd.DataFrame:
    """These numbers of each grid, in long form."""
    tables = (metric_of(grid, name, grid.means(metric)) for grid in grids for name, metric in metrics.items())
    return long_form(tables, labelled=labelled)


def long_form(tables: Iterable[pd.DataFrame], *, labelled: bool = False) -> pd.DataFrame:
    """Tables of numbers as one: what each is of first, then `metric`, `step` and `SUMMARY`."""
    last = ("metric", "step", *SUMMARY)
    held = [table for table in tables if len(table)]
    found = dict.fromkeys(str(key) for table in held for key in table if labelled or key != "grid")
    axes = [key for key in found if key not in last]
    columns = [*axes, *(key for key in last if key in found)]
    frame = pd.concat(held, ignore_index=True)[columns] if held else pd.DataFrame()
    whole = [*axes, *(key for key in ("step", "n", "wanted") if key in found)]
    # Axes that a quantizer does not have leave gaps, and pandas would make floats of the other values.
    return frame.assign(**{column: frame[column].convert_dtypes() for column in whole})


def as_csv(frame: pd.DataFrame) -> bytes:
    """All digits of every number, and no text that a spreadsheet would run as a formula."""
    columns = {}
    for name in frame:
        values = frame[name]
        if not pd.api.types.is_numeric_dtype(values):
            values = pd.Series([_inert(value) for value in values], frame.index, dtype=object)
        columns[_inert(name)] = values
    return pd.DataFrame(columns, frame.index).to_csv(index=False, lineterminator="\n").encode()


def _inert(value: Any) -> Any:
    """Text that begins as a formula does, with the apostrophe before it that spreadsheets take for "this is text".

    A text that is a number stays one. A carriage return would begin a line, and may be followed by a formula.
    """
    return _inert_text(value) if isinstance(value, str) else value


@lru_cache(maxsize=1 << 16)  # columns of text repeat themselves
def _inert_text(value: str) -> str:
    if _NUMBER.fullmatch(value):
        return value
    return _FORMULA.sub("'", value.replace("\r\n", "\n").replace("\r", "\n"))


def number_of(rows: pd.DataFrame, name: str) -> Metric | None:
    """A metric as a number of each cell: the mean of its entries where it is a list; None for text."""
    if pd.api.types.is_numeric_dtype(rows[name]):
        return name
    first = next(iter(rows[name].dropna()), None)
    return (lambda usable: mean_over_entries(usable, name)) if isinstance(first, list | np.ndarray) else None


def mean_over_entries(rows: pd.DataFrame, column: str) -> pd.Series[float]:
    """The mean of the entries of a list column."""
    return rows[column].map(lambda each: float(np.mean(each)))
