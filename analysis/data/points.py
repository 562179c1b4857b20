"""The points of some rows: which rows repeat each other, and which of them numbers can be taken from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

if TYPE_CHECKING:
    from .declared import Declared

Places = npt.NDArray[np.int64]
"""For each row, the place of what it belongs to."""
RAN_ON = ("run_device", "run_versions")
"""What the cost of a cell depends on and its result does not."""
ON_ONE_MACHINE = ("point_id", *RAN_ON)
"""Rows that are equal in these differ only in their seed, in what they measured, and in when and where that was."""


@dataclass(frozen=True, kw_only=True)
class Points:
    """The points of rows. There are many times more rows than points, so settings are read from `heads`."""

    rows: pd.DataFrame
    heads: pd.DataFrame
    """One row of each point, with settings as plain numbers."""
    of_rows: Places
    """For each row, the place of its point in `heads`."""


def points_of(rows: pd.DataFrame, by: Sequence[str] = ON_ONE_MACHINE) -> Points:
    """The points of the rows; rows that are equal in the columns `by` are one point."""
    firsts, kinds = kinds_of(rows, [name for name in by if name in rows])
    return Points(rows=rows, heads=plain(rows.iloc[firsts]), of_rows=kinds)


def plain(table: pd.DataFrame) -> pd.DataFrame:
    """The table with each column of numbers that `Rows.frame` holds as categories turned back into numbers."""
    held = {str(name): values for name, values in table.items() if _has_number_categories(values)}
    return table.assign(**{name: plain_numbers(values) for name, values in held.items()})


def plain_numbers(values: pd.Series[Any]) -> pd.Series[Any]:
    """The values, turned back into numbers if they are categories of numbers."""
    if not _has_number_categories(values):
        return values
    return pd.Series(np.asarray(values), values.index, name=values.name)


def kind_of(values: pd.Series[Any]) -> Any:
    """The dtype of the values themselves, whether or not they are held as categories."""
    return values.dtype.categories.dtype if isinstance(values.dtype, pd.CategoricalDtype) else values.dtype


def _has_number_categories(values: pd.Series[Any]) -> bool:
    return isinstance(values.dtype, pd.CategoricalDtype) and pd.api.types.is_numeric_dtype(kind_of(values))


def kinds_of(frame: pd.DataFrame, columns: Sequence[str]) -> tuple[Places, Places]:
    """Numbers the combinations of values in these columns: the first row of each, and the number of every row."""
    kinds = np.zeros(len(frame), np.int64)
    for name in columns:
        codes, held = pd.factorize(frame[name], use_na_sentinel=False)
        kinds = pd.factorize(kinds * len(held) + codes)[0]
    return np.flatnonzero(~pd.Series(kinds).duplicated().to_numpy()), kinds


def groups_of(table: pd.DataFrame, columns: Sequence[str]) -> tuple[list[tuple[Any, ...]], Places]:
    """The combinations of values in these columns, and the place of each row's own among them."""
    firsts, kinds = kinds_of(table, columns)
    return list(table[list(columns)].iloc[firsts].itertuples(index=False, name=None)), kinds


def unusable_rows(
    rows: pd.DataFrame,
    metrics: Sequence[str],
    incomplete: Mapping[str, str] | None = None,
    declared: Declared | None = None,
) -> dict[int, str]:
    """What is wrong with each row that no number can be taken from, by its place.

    `incomplete` says by cell id what is missing beside a row, such as `without a curve`.
    """
    incomplete = incomplete or {}
    finite = {metric: _is_finite(rows[metric]) for metric in metrics}
    whole = {metric: declared.is_whole(rows, metric) for metric in metrics} if declared else {}
    is_ok = (rows["status"] == "ok").to_numpy(bool)
    suspect = ~np.logical_and.reduce([is_ok, *finite.values(), *whole.values()])
    if incomplete:
        suspect |= rows["cell_id"].isin(list(incomplete)).to_numpy(bool)
    states, places = {}, np.flatnonzero(suspect)
    statuses, ids = (rows[name].iloc[places].tolist() for name in ("status", "cell_id"))
    for place, status, cell_id in zip(places.tolist(), statuses, ids, strict=True):
        if status != "ok":
            states[place] = "stopped early" if status == "stopped" else f"failed ({status})"
        elif empty := [metric for metric, is_finite in finite.items() if not is_finite[place]]:
            states[place] = f"without a finite {', '.join(empty)}"
        elif short := [metric for metric, is_whole in whole.items() if not is_whole[place]]:
            states[place] = f"without an entry of {', '.join(short)} for each codebook"
        else:
            states[place] = incomplete[cell_id]
    return states


def floats(values: pd.Series[Any]) -> npt.NDArray[np.float64]:
    """The values as numbers; NaN where there is none."""
    return pd.to_numeric(plain_numbers(values)).to_numpy(np.float64, na_value=np.nan)


def _is_finite(values: pd.Series[Any]) -> npt.NDArray[np.bool_]:
    """For each value, whether it is finite; a list is if all its entries are."""
    held = values.notna().to_numpy(copy=True)
    if not any(isinstance(value, list | np.ndarray) for value in values[held].head(1)):
        return np.isfinite(floats(values))
    held[held] = [len(value) > 0 and bool(np.isfinite(value).all()) for value in values[held]]
    return held
