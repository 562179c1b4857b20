"""What an item needs of a store before anything is drawn."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from ..naming import number

Presence = Literal["required", "if present", "if complete"]
"""`if present`: none of its cells, or all of them. `if complete`: left out, and said so, unless all are there."""

_ALWAYS = ("cell_id", "point_id", "status", "seed", "quantizer", "run_commit")
"""Columns that every selection has."""


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Points of one quantizer that must all be there: every combination of its axes."""

    quantizer: str
    label: str = ""
    """Tells it from other grids of the same quantizer in the same item; empty where there are none."""
    axes: Mapping[str, tuple[Any, ...]]
    """Values by column, in the order in which cells are named. They pin every setting but those of training."""
    presence: Presence = "required"
    keep: Callable[[pd.DataFrame], pd.Series[bool]] | None = None
    """Takes points, a column for each axis; false for those that are not part of the grid."""

    @property
    def name(self) -> str:
        """What it is called in lists of cells; no other grid of the item has it."""
        return self.label or self.quantizer

    def points(self) -> Iterator[dict[str, Any]]:
        """The points, by column."""
        for values in itertools.compress(itertools.product(*self.axes.values()), self._kept):
            yield dict(zip(self.axes, values, strict=True))

    @cached_property
    def table(self) -> pd.DataFrame:
        """A row for each of the points, a column for each axis."""
        return self._every[self._kept].reset_index(drop=True)

    def texts(self) -> list[str]:
        """Each of the points as cells are named: `vq dimension=2 codebook_size=16`, without what is common to all."""
        texts = np.full(len(self.table), self.name, object)
        for axis, values in self.axes.items():
            if len(values) > 1:
                words = np.array([f" {axis}={number(value)}" for value in values], object)
                texts = texts + words[pd.Index(values).get_indexer(pd.Index(self.table[axis]))]
        return list(texts)

    def rows(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The rows of the points, whatever their status is."""
        return frame[self.places(frame) >= 0]

    def places(self, frame: pd.DataFrame) -> npt.NDArray[np.int64]:
        """Of each row its point's place among `points`; -1 for a row of none of them."""
        inside = (frame["quantizer"] == self.quantizer).to_numpy(bool, copy=True)
        places = np.zeros(len(frame), np.int64)
        for column, values in self.axes.items():
            found = pd.Index(values).get_indexer(pd.Index(frame[column]))
            inside &= found >= 0
            places = places * len(values) + found
        numbers = np.where(self._kept, np.cumsum(self._kept) - 1, -1)
        found = np.full(len(frame), -1, np.int64)
        found[inside] = numbers[places[inside]]
        return found

    @cached_property
    def _every(self) -> pd.DataFrame:
        """Every combination of the axes, the last of them varying fastest."""
        places = np.indices([len(values) for values in self.axes.values()]).reshape(len(self.axes), -1)
        columns = zip(self.axes.items(), places, strict=True)
        return pd.DataFrame({axis: pd.Series(list(values)).take(place).array for (axis, values), place in columns})

    @cached_property
    def _kept(self) -> npt.NDArray[np.bool_]:
        """Of every combination whether it is one of the points."""
        if self.keep is None:
            return np.ones(len(self._every), bool)
        return np.asarray(self.keep(self._every), bool)


@dataclass(frozen=True, kw_only=True)
class Needs:
    """The declaration of an item."""

    trainable: str
    metrics: tuple[str, ...]
    """Columns that are drawn; a cell that lacks one of them is as good as failed."""
    grids: tuple[str, ...]
    """A line for each grid, for people; `choose` is the same for the machine."""
    choose: Callable[[pd.DataFrame], Sequence[Grid]]
    """Takes one row of each point, whatever became of it: settings, and machine where points ran on several.

    Returns no grid where the store holds nothing for the item.
    """
    sweeps: tuple[str, ...]
    """Sweep files that provide all of it, the smallest first."""
    seeds_by: tuple[str, ...]
    """Points with the same values in these columns must have the same seeds: all those that any of them has."""
    least_repetitions: int = 2
    """Of each point. An interval takes two."""
    lowest_seed_only: bool = False
    """Look at one repetition of each point, the same one: the lowest of those seeds."""
    training: tuple[str, ...] = ()
    """Columns that axes leave open, of which a point must have one value: unequal trainings are no repetitions."""
    alike: tuple[str, ...] = ()
    """Columns of which all points with equal `seeds_by` must have one value, so that only axes differ."""
    curves: tuple[str, ...] = ()
    """Columns of the curves that are drawn; a cell whose curve is not whole is as good as failed."""
    artifacts: tuple[str, ...] = ()
    """Files of each cell that are drawn; a cell that lacks one is as good as failed."""
    others: tuple[str, ...] | None = None
    """All other columns that `choose` and the item look at; None where it may look at any. A few are faster."""

    def narrowed(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The frame with no more columns than that, as far as it has them."""
        if self.others is None:
            return frame
        named = {*_ALWAYS, *self.metrics, *self.seeds_by, *self.training, *self.alike, *self.others}
        return pd.DataFrame({name: frame[name] for name in frame if name in named}, copy=False)


def distinct(frame: pd.DataFrame, column: str) -> tuple[Any, ...]:
    """The values that a column holds, in order."""
    return tuple(sorted(frame[column].dropna().unique().tolist()))


def most_held(frame: pd.DataFrame, column: str, by: Sequence[str], *, ties: Literal["largest", "smallest"]) -> Any:
    """The value at which the frame holds most combinations of `by`.

    Rows count whatever their status, so that a failure moves no choice.
    """
    counts = frame.drop_duplicates([column, *by]).groupby(column).size()
    best = counts.index[counts == counts.max()]
    return best.max() if ties == "largest" else best.min()


def ever_run(rows: pd.DataFrame, columns: Sequence[str]) -> Callable[[pd.DataFrame], pd.Series[bool]]:
    """For `Grid.keep`: true for points whose values in these columns some row has, a failed one too."""
    names = list(columns)
    held = pd.MultiIndex.from_frame(rows[names].drop_duplicates())
    return lambda points: pd.Series(pd.MultiIndex.from_frame(points[names]).isin(held), index=points.index)
