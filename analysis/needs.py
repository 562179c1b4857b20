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
    keep: Callable[[Mapping[str, Any]], bool] = lambda point: True
    """Takes a point's values by column; false for points that are not part of the grid."""

    @property
    def name(self) -> str:
        """What it is called in lists of cells; no other grid of the item has it."""
        return self.label or self.quantizer

    def points(self) -> Iterator[dict[str, Any]]:
        """The points, by column."""
        for values in itertools.product(*self.axes.values()):
            point = dict(zip(self.axes, values, strict=True))
            if self.keep(point):
                yield point

    def rows(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The rows at these values, whatever `keep` says and their status is."""
        here = frame["quantizer"] == self.quantizer
        for column, values in self.axes.items():
            here &= frame[column].isin(values)
        return frame if here.all() else frame[here]

    def places(self, rows: pd.DataFrame) -> npt.NDArray[np.int64]:
        """Of each of these `rows` of the grid its point's place among `points`; -1 where `keep` leaves it out."""
        if rows.empty:
            return np.zeros(0, np.int64)
        each = [pd.Index(values).get_indexer(pd.Index(rows[column])) for column, values in self.axes.items()]
        places: npt.NDArray[np.int64] = self._places[tuple(each)]
        return places

    @cached_property
    def _places(self) -> npt.NDArray[np.int64]:
        """Of shape [values of each axis]."""
        every = itertools.product(*self.axes.values())
        kept = np.array([self.keep(dict(zip(self.axes, values, strict=True))) for values in every], bool)
        return np.where(kept, np.cumsum(kept) - 1, -1).reshape([len(values) for values in self.axes.values()])


@dataclass(frozen=True, kw_only=True)
class Needs:
    """The declaration of an item."""

    trainable: str
    metrics: tuple[str, ...]
    """Columns that are drawn; a cell that lacks one of them is as good as failed."""
    grids: tuple[str, ...]
    """A line for each grid, for people; `choose` is the same for the machine."""
    choose: Callable[[pd.DataFrame], Sequence[Grid]]
    """Takes all rows of the trainable, failed ones too. Returns no grid where the store holds nothing for the item."""
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
