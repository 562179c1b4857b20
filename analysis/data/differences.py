"""What differs between points that an item compares, and that it does not show: the one rule for all items."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ..naming import box_text, boxes, number
from .declared import Declared
from .points import Places, kinds_of, plain

if TYPE_CHECKING:
    from .selection import SelectedGrid, Selection

NOT_RECORDED = "not recorded"
_MOST_NAMES = 3
"""Boxes of points that a line names for each value of a column in which they differ."""


def differences(selection: Selection) -> Iterator[str]:
    """A line for each column in which points that are compared differ, and that the item does not show.

    Only declared columns are looked at: others, such as the machine, do not change a result.
    """
    points, declared, needs = _stored_points(selection), selection.declared, selection.needs
    shown = {*needs.draws}.union(*(grid.axes for grid in selection.grids))
    data = {name for name, axis in declared.axes.items() if axis.role == "data" and name in shown}
    explained = set[tuple[int, int]]()
    is_ok = (points["status"] == "ok").to_numpy(bool)
    for column, axis in declared.axes.items():
        if column not in points or column in needs.draws or axis.role == "measurement":
            continue
        by_data = column in needs.captioned or column == declared.digest
        counts = points[column].notna().to_numpy(bool) | is_ok
        for open_in in _open_in(selection, column):
            is_here = counts & points["grid"].isin(open_in).to_numpy(bool)
            if column != declared.digest and points[column][is_here].nunique(dropna=False) < 2:
                continue  # as for most columns: groups need not be formed
            here = points[is_here]
            here = here[_is_mixed(here, column, [*needs.apart, *sorted(data if by_data else ())], declared)]
            if len(here):
                explained |= {*here[["grid", "place"]].itertuples(index=False, name=None)}
                yield _difference(selection.grids, column, here)
    for i, grid in enumerate(() if needs.draws else selection.grids):
        if unknown := [grid.table.iloc[place] for place in grid.unequal if (i, place) not in explained]:
            names = "; ".join(box_text(grid.name, grid.axes, box) for box in boxes(map(tuple, unknown)))
            yield f"{names}: several stored points, which differ in no column that this version declares"


def _open_in(selection: Selection, column: str) -> list[list[int]]:
    """Grids that leave a column open, those together whose quantizers declare it alike.

    Two quantizers may each have a field of that name that is not the same thing, such as where training starts.
    """
    declared = selection.declared
    axes = [
        declared.axis(grid.quantizer, column)
        if column not in grid.axes and declared.has(grid.quantizer, column) else None
        for grid in selection.grids
    ]  # fmt: skip
    firsts = [axis for i, axis in enumerate(axes) if axis is not None and axis not in axes[:i]]
    return [[i for i, axis in enumerate(axes) if axis == first] for first in firsts]


def _stored_points(selection: Selection) -> pd.DataFrame:
    """The declared columns of each stored point in each grid that has it, with its `grid` and its `place` there."""
    by = ["point_id", *(name for name in selection.declared.conditions if name in selection.rows), "status"]
    rows = selection.rows[
        [*dict.fromkeys([*by, "quantizer", *(n for n in selection.declared.axes if n in selection.rows)])]
    ]
    found = []
    for i, grid in enumerate(selection.grids):
        inside = np.flatnonzero(grid.places >= 0)
        firsts, _ = kinds_of(rows.iloc[inside], by)
        found.append(plain(rows.iloc[inside[firsts]]).assign(grid=i, place=grid.places[inside[firsts]]))
    return pd.concat(found, ignore_index=True)


def _difference(grids: Sequence[SelectedGrid], column: str, points: pd.DataFrame) -> str:
    """Which points have which value of the column, and how to keep one of them."""
    texts, parts = points[column].map(_text), []
    for value in sorted(points[column].dropna().unique()) + [None] * bool(points[column].isna().any()):
        its = points[texts == _text(value)]
        names = []
        for i, places in ((i, its.loc[its["grid"] == i, "place"].unique()) for i in its["grid"].unique().tolist()):
            grid = grids[i]
            some = boxes(grid.table.iloc[places].itertuples(index=False, name=None))
            names += [box_text(grid.name, grid.axes, box) for box in some]
        more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
        parts.append(f"{_text(value)} ({', '.join(names[:_MOST_NAMES])}{more})")
    counts = points[column].value_counts().sort_index().sort_values(ascending=False, kind="stable")
    advice = f"; keep one with --only {column}={_text(counts.index[0])}" if len(counts) else ""
    return f"unequal {column}: {'; '.join(parts)}{advice}"


def _is_mixed(points: pd.DataFrame, column: str, by: Sequence[str], declared: Declared) -> npt.NDArray[np.bool_]:
    """For each point, whether those with equal values in the columns `by` have several values of this one.

    Defaults that follow from other fields are equal to each other.
    """
    texts = np.array([_text(value) for value in points[column]], object)
    kinds, quantizers = texts.copy(), points["quantizer"].to_numpy(object)
    for quantizer in set(quantizers.tolist()):
        its = quantizers == quantizer
        kinds[its] = np.where(declared.follows(str(quantizer), column, points[its]), "follows", texts[its])
    _, groups = kinds_of(points, by)
    is_mixed = (_counts(texts, groups) > 1) & (_counts(kinds, groups) > 1)
    if column == declared.digest:  # data of which nothing is known are not equal to others
        is_mixed |= (np.bincount(groups) > 1) & (np.bincount(groups, texts == NOT_RECORDED) > 0)
    return is_mixed[groups]


def _counts(values: npt.NDArray[np.object_], groups: Places) -> npt.NDArray[np.int64]:
    """How many different values each group has."""
    codes, held = pd.factorize(values)
    return np.bincount(np.unique(groups * len(held) + codes) // len(held))


def _text(value: Any) -> str:
    """A value as `--only` takes it."""
    return NOT_RECORDED if pd.isna(value) else number(value)
