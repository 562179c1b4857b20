"""The cells that a sweep wants, without an object for each: a million of them are numbers in a few arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import overload

import numpy as np
import numpy.typing as npt
import pandas as pd

from dvq_ray.process.garbage import no_garbage_collection
from dvq_ray.sweep.cells import Cell, Point
from dvq_ray.sweep.grids import Grid

Places = npt.NDArray[np.int64]
"""Places of cells among all that are wanted; -1 stands for none of them."""
_CHECKED = 1000
"""Rows whose ids are held against their points and seeds."""


class WantedCells(Sequence[Cell]):
    """The repetitions of points of grids, each once, point by point, the repetitions of a point side by side."""

    def __init__(self, points: Iterable[tuple[Grid, Point]], seeds: Callable[[Grid, Point], Sequence[int]]) -> None:
        named: dict[str, tuple[Point, Sequence[int]]] = {}
        by_grid: dict[str, list[tuple[str, Sequence[int]]]] = {}
        with no_garbage_collection():
            for grid, point in points:
                own = seeds(grid, point)
                first, before = named.setdefault(point.point_id, (point, own))
                if before != own:
                    named[point.point_id] = first, tuple(dict.fromkeys([*before, *own]))
                by_grid.setdefault(grid.name, []).append((point.point_id, own))
        self._points = [point for point, _ in named.values()]
        self._kinds = _Kinds([its for _, its in named.values()])
        self._ids = pd.Index([*named], dtype=object)
        self._starts = np.concatenate([[0], np.cumsum(self._kinds.counts)])
        self._by_grid = by_grid

    def __len__(self) -> int:
        return int(self._starts[-1])

    @overload
    def __getitem__(self, place: int) -> Cell: ...
    @overload
    def __getitem__(self, place: slice) -> list[Cell]: ...
    def __getitem__(self, place: int | slice) -> Cell | list[Cell]:
        if isinstance(place, slice):
            return self.at(np.arange(len(self))[place])
        return self.at(np.array([range(len(self))[place]]))[0]

    def __iter__(self) -> Iterator[Cell]:
        for place, point in enumerate(self._points):
            yield from map(point.cell, self._kinds.seeds(place))

    def at(self, places: Places) -> list[Cell]:
        """The cells at these places."""
        seeds = self._kinds.seeds
        with no_garbage_collection():
            return [
                self._points[point].cell(seeds(point)[repetition])
                for point, repetition in zip(self._points_at(places).tolist(), self.repetitions(places), strict=True)
            ]

    def points(self, places: Places) -> Iterator[Point]:
        """The points of the cells at these places."""
        return (self._points[point] for point in self._points_at(places).tolist())

    def repetitions(self, places: Places) -> list[int]:
        """Which of the repetitions of its point each of these cells is, from 0."""
        found: list[int] = (places - self._starts[self._points_at(places)]).tolist()
        return found

    def _points_at(self, places: Places) -> Places:
        return np.searchsorted(self._starts, places, "right") - 1

    def find(self, rows: pd.DataFrame) -> Places:
        """For each row, the place of its cell. The rows have `cell_id`, `point_id` and `seed`.

        A cell is its id. But a row of this point and this seed has this id, so that ids need not be computed: but for
        a sample of rows, for several rows of one point and seed, and for rows of which these name no wanted cell.
        """
        found = self._find_by_point(rows)
        held = np.flatnonzero(found >= 0)
        sample = held[:: max(len(held) // _CHECKED, 1)]
        if not self._are_of(rows, found, sample).all():
            held, found = held[:0], np.full(len(rows), -1, np.int64)  # whatever wrote these rows
        several = held[(np.bincount(found[held], minlength=1) > 1)[found[held]]]
        found[several[~self._are_of(rows, found, several)]] = -1
        if (left := np.flatnonzero(found < 0)).size:
            found[left] = self._find_by_id(rows["cell_id"].iloc[left], found)
        return found

    def _find_by_point(self, rows: pd.DataFrame) -> Places:
        codes, ids = pd.factorize(rows["point_id"])
        points = np.append(self._ids.get_indexer(pd.Index(np.asarray(ids, object))), -1)[codes]
        found = np.full(len(rows), -1, np.int64)
        some = np.flatnonzero((points >= 0) & rows["seed"].notna().to_numpy())
        repetitions = self._kinds.find(points[some], rows["seed"].to_numpy()[some].astype(np.int64))
        found[some] = np.where(repetitions >= 0, self._starts[points[some]] + repetitions, -1)
        return found

    def _are_of(self, rows: pd.DataFrame, places: Places, some: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Whether some of the rows are of the cells at these places."""
        ids = rows["cell_id"].iloc[some]
        cells = self.at(places[some])
        return np.array([cell.cell_id == cell_id for cell, cell_id in zip(cells, ids, strict=True)], bool)

    def _find_by_id(self, cell_ids: pd.Series[str], taken: Places) -> Places:
        is_open = np.ones(len(self), bool)
        is_open[taken[taken >= 0]] = False
        places = np.flatnonzero(is_open)
        open_places = {cell.cell_id: place for cell, place in zip(self.at(places), places.tolist(), strict=True)}
        return np.array([open_places.get(cell_id, -1) for cell_id in cell_ids], np.int64)

    def by_grid(self) -> Mapping[str, Places]:
        """The places of the cells that each grid names."""
        found: dict[str, Places] = {}
        for name, its in self._by_grid.items():
            points = self._ids.get_indexer(pd.Index([point_id for point_id, _ in its], dtype=object))
            own = _Kinds([seeds for _, seeds in its])
            of_point = np.repeat(points, own.counts)
            places = self._starts[of_point] + self._kinds.find(of_point, own.every_seed())
            found[name] = places if (places[1:] > places[:-1]).all() else np.unique(places)
        return found


class _Kinds:
    """The seeds of points: many points have equal ones."""

    def __init__(self, seeds: Sequence[Sequence[int]]) -> None:
        numbers: dict[Sequence[int], int] = {}
        self._kind_of = np.array([numbers.setdefault(its, len(numbers)) for its in seeds], np.int64)
        self._kinds = [*numbers]
        self.counts = np.array([len(its) for its in self._kinds], np.int64)[self._kind_of]
        """Of each point."""

    def seeds(self, point: int) -> Sequence[int]:
        return self._kinds[int(self._kind_of[point])]

    def every_seed(self) -> npt.NDArray[np.int64]:
        """Of one point after the other."""
        kinds = [np.array(its, np.int64) for its in self._kinds]
        return np.concatenate([np.empty(0, np.int64), *(kinds[kind] for kind in self._kind_of.tolist())])

    def find(self, points: npt.NDArray[np.int64], seeds: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Which of its point's repetitions each seed is; -1 for none."""
        kinds, found = self._kind_of[points], np.full(len(seeds), -1, np.int64)
        for kind, its in enumerate(self._kinds):
            here = slice(None) if len(self._kinds) == 1 else np.flatnonzero(kinds == kind)
            found[here] = pd.Index(its).get_indexer(pd.Index(seeds[here]))
        return found
