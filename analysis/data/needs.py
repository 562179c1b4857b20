"""What an item needs of a store before anything is drawn."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from ..naming import number
from .points import Places

Presence = Literal["required", "if present", "if complete"]
"""`if present`: none of its cells, or all of them. `if complete`: left out, with a note, unless all are there."""

_ALWAYS = ("cell_id", "point_id", "status", "seed", "quantizer", "run_commit")


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Points of one quantizer that must all be there: every combination of its axes."""

    quantizer: str
    label: str = ""
    """Tells it from other grids of the same quantizer in the same item; empty where there are none."""
    axes: Mapping[str, tuple[Any, ...]]
    """Values by column, in the order in which cells are named. They fix every setting except those of training."""
    presence: Presence = "required"
    keep: Callable[[pd.DataFrame], pd.Series[bool]] | None = None
    """Takes points, a column for each axis; false for those that are not part of the grid."""

    @property
    def name(self) -> str:
        """What it is called in lists of cells; no other grid of the item has it."""
        return self.label or self.quantizer

    @property
    def points(self) -> list[dict[str, Any]]:
        """The points, each with its values by column."""
        return [{str(axis): value for axis, value in point.items()} for point in self.table.to_dict("records")]

    @cached_property
    def table(self) -> pd.DataFrame:
        """A row for each of the points, a column for each axis."""
        return self._combinations[self._is_kept].reset_index(drop=True)

    def texts(self) -> list[str]:
        """Each of the points as cells are named: `vq dimension=2 codebook_size=16`, without what all share."""
        texts = np.full(len(self.table), self.name, object)
        for axis, values in self.axes.items():
            if len(values) > 1:
                words = np.array([f" {axis}={number(value)}" for value in values], object)
                texts = texts + words[pd.Index(values).get_indexer(pd.Index(self.table[axis]))]
        return list(texts)

    def rows(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The rows of the points, whatever their status."""
        return frame[self.find(frame) >= 0]

    def find(self, frame: pd.DataFrame) -> Places:
        """For each row, the place of its point in `table`; -1 for a row of none of them."""
        inside = (frame["quantizer"] == self.quantizer).to_numpy(bool, copy=True)
        places = np.zeros(len(frame), np.int64)
        for column, values in self.axes.items():
            found = pd.Index(values).get_indexer(pd.Index(frame[column]))
            inside &= found >= 0
            places = places * len(values) + found
        numbers = np.where(self._is_kept, np.cumsum(self._is_kept) - 1, -1)
        found = np.full(len(frame), -1, np.int64)
        found[inside] = numbers[places[inside]]
        return found

    @cached_property
    def _combinations(self) -> pd.DataFrame:
        """Every combination of the axes, the last of them varying fastest."""
        places = np.indices([len(values) for values in self.axes.values()]).reshape(len(self.axes), -1)
        axes = zip(self.axes.items(), places, strict=True)
        return pd.DataFrame({name: pd.Index(values)[at] for (name, values), at in axes})

    @cached_property
    def _is_kept(self) -> npt.NDArray[np.bool_]:
        if self.keep is None:
            return np.ones(math.prod(map(len, self.axes.values())), bool)
        return np.asarray(self.keep(self._combinations), bool)


@dataclass(frozen=True, kw_only=True)
class Needs:
    """The declaration of an item."""

    trainable: str
    metrics: tuple[str, ...]
    """Columns that are drawn; a cell without one of them counts as failed."""
    grids: tuple[str, ...]
    """A line for each grid, for people; `choose` is the same for the machine."""
    choose: Callable[[pd.DataFrame], Sequence[Grid]]
    """Takes one row of each point, whatever its status: settings, and machine where points ran on several.

    Returns no grid where the store holds nothing for the item.
    """
    sweeps: tuple[str, ...]
    """Sweep files that provide all of it, the smallest first."""
    seeds_by: tuple[str, ...]
    """Points with the same values in these columns must have the same seeds: all those that any of them has."""
    least_repetitions: int = 2
    """Repetitions that each point needs. An interval takes two."""
    lowest_seed_only: bool = False
    """Use one repetition of each point, the same one: the lowest of those seeds."""
    tolerates_holes: bool = False
    """Whether the item is made of the cells that there are, and says which are missing."""
    apart: tuple[str, ...] = ()
    """Points with other values in these columns are not compared: they are in other panels or columns."""
    captioned: tuple[str, ...] = ()
    """Settings that may follow from the data, because the caption has all their values."""
    draws: tuple[str, ...] = ()
    """Columns whose values the item shows apart, though they are no axes of its grids."""
    curves: tuple[str, ...] = ()
    """Columns of the curves that are drawn; a cell whose curve is not whole counts as failed."""
    artifacts: tuple[str, ...] = ()
    """Files of each cell that are drawn; a cell without one counts as failed."""
    others: tuple[str, ...] | None = None
    """All columns that the item reads beside metrics and settings; None where it may read any. A few are faster."""

    def narrow(self, rows: pd.DataFrame, settings: Iterable[str]) -> pd.DataFrame:
        """The rows with no more columns than the item reads."""
        if self.others is None:
            return rows
        named = {*_ALWAYS, *self.metrics, *self.seeds_by, *self.others, *settings}
        return pd.DataFrame({name: rows[name] for name in rows if name in named}, copy=False)


def at(table: pd.DataFrame, **values: Any) -> pd.DataFrame:
    """The rows with these values; a tuple or a list stands for any of several."""
    inside = np.ones(len(table), bool)
    for column, value in values.items():
        several = isinstance(value, tuple | list)
        inside &= table[column].isin(value).to_numpy(bool) if several else (table[column] == value).to_numpy(bool)
    return table[inside]


def distinct(frame: pd.DataFrame, column: str) -> tuple[Any, ...]:
    """The values that a column holds, in order."""
    return tuple(sorted(frame[column].dropna().unique().tolist()))


def axes_of(frame: pd.DataFrame, *columns: str) -> dict[str, tuple[Any, ...]]:
    """The values of several columns, as `Grid.axes` takes them."""
    return {column: distinct(frame, column) for column in columns}


def spread(values: Sequence[Any], most: int) -> tuple[Any, ...]:
    """At most that many of the values, evenly spread from the first to the last."""
    if len(values) <= most:
        return tuple(values)
    return tuple(values[round(i * (len(values) - 1) / (most - 1))] for i in range(most))


def most_held(frame: pd.DataFrame, column: str, by: Sequence[str], *, ties: Literal["largest", "smallest"]) -> Any:
    """The value at which the frame holds most combinations of `by`.

    Rows count whatever their status, so that a failure changes no choice.
    """
    counts = frame.drop_duplicates([column, *by]).groupby(column).size()
    best = counts.index[counts == counts.max()]
    return best.max() if ties == "largest" else best.min()


def ever_run(rows: pd.DataFrame, columns: Sequence[str]) -> Callable[[pd.DataFrame], pd.Series[bool]]:
    """For `Grid.keep`: true for points whose values in these columns some row has, even a failed one."""
    names = list(columns)
    held = pd.MultiIndex.from_frame(rows[names].drop_duplicates())
    return lambda points: pd.Series(pd.MultiIndex.from_frame(points[names]).isin(held), index=points.index)
