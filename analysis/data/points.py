"""The points of some rows: what repeats what, found once for all items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd

from .needs import Grid

_APART = ("point_id", "run_device", "run_versions")
"""Rows that are equal in these are equal in all but their seed, what they measured, and when and where that was."""


@dataclass(frozen=True, kw_only=True)
class Points:
    """The points of rows, those of several machines on each of them.

    There are many times more rows than points, so that settings are looked at here.
    """

    heads: pd.DataFrame
    """One row of each."""
    of_rows: npt.NDArray[np.int64]
    """Of each row the place of its point among `heads`."""

    def places(self, grid: Grid) -> npt.NDArray[np.int64]:
        """Of each point its place among those of the grid, which no other of this name is; -1 where it is in none."""
        if grid.name not in self._places:
            self._places[grid.name] = grid.places(self.heads)
        return self._places[grid.name]

    @cached_property
    def _places(self) -> dict[str, npt.NDArray[np.int64]]:
        return {}

    def taken(self, rows: npt.NDArray[np.int64]) -> Points:
        """The points of the rows at these places."""
        of_rows, held = pd.factorize(self.of_rows[rows])
        return Points(heads=self.heads.iloc[held], of_rows=of_rows)


def points_of(frame: pd.DataFrame) -> Points:
    """The points of all rows of the frame."""
    heads, of_rows = told_apart(frame, [name for name in _APART if name in frame])
    return Points(heads=frame.iloc[heads], of_rows=of_rows)


def told_apart(frame: pd.DataFrame, columns: Sequence[str]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Kinds of rows by their values in these columns: places of the first row of each, and of each row its kind."""
    kinds = np.zeros(len(frame), np.int64)
    for name in columns:
        codes, held = pd.factorize(frame[name], use_na_sentinel=False)
        kinds = pd.factorize(kinds * len(held) + codes)[0]
    return np.flatnonzero(~pd.Series(kinds).duplicated().to_numpy()), kinds
