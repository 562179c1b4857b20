"""Cells of another store from which an experiment's cells are computed: their parents.

A sweep file names that store under `Parents.key`, and under `Parents.selection` each grid chooses points of it by the
values of its columns. Each of these points fixes some fields of the grid's points; a repetition is computed from the
parent's repetition with the same seed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from dvq_ray.experiment.data_sets import DataSource
from dvq_ray.experiment.named import named


class ParentsError(ValueError):
    """A store that holds no parents; says what it is and what is allowed."""


@dataclass(frozen=True, kw_only=True)
class ParentPoint:
    """A point of the parents' store."""

    name: str
    """The value of `DataSets.field` in the points that are computed from it."""
    fields: Mapping[str, Any]
    """Fields that it fixes, the quantizer included."""
    columns: Mapping[str, Any]
    """Its values by column, of those by which it can be chosen."""


class ParentStore(Protocol):
    """A store that was found to hold parents."""

    source: DataSource
    """Where cells read what their parents kept."""
    points: Sequence[ParentPoint]
    """All that it holds."""

    def problems(self, point: ParentPoint, seeds: Sequence[int]) -> Iterator[str]:
        """What is wrong with these repetitions of a point, each with what to do."""
        ...


@dataclass(frozen=True, kw_only=True)
class Parents:
    """How an experiment's sweep files name their parents."""

    key: str
    """The key of a sweep file that names their store."""
    selection: str
    """The key of a grid that chooses points by their columns; without it all are chosen."""
    open_path: str
    """`module:function` that takes a store's location and gives its `ParentStore`. Raises `ParentsError`."""

    def open(self, location: str) -> ParentStore:
        """The store at a folder or URI. Raises `ParentsError`."""
        store: ParentStore = named(self.open_path)(location)
        return store
