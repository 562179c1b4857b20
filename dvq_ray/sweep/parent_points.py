"""The points of another store that a grid is computed from, and every error in how a sweep file chooses them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dvq_ray.experiment.parents import ParentPoint, Parents, ParentStore
from dvq_ray.problems import Path, listed, shown, unknown

Add = Callable[[Path, str], None]


class ParentPoints:
    """Chooses points for grids, and checks their repetitions."""

    def __init__(self, declared: Parents, store: ParentStore, add: Add) -> None:
        """`add` takes what is wrong, and where."""
        self.declared = declared
        self.store = store
        self.chosen: dict[str, ParentPoint] = {}
        """All that grids have chosen so far, by name."""
        self._add = add

    def of(self, path: Path, fields: Mapping[str, Any], seeds: Sequence[int]) -> list[ParentPoint]:
        """Those of the grid at `path` with whose repetitions nothing is wrong."""
        key = self.declared.selection
        path = (*path, key) if key in fields else path
        wanted = fields.get(key, {})
        if not isinstance(wanted, dict):
            self._add(path, f"found {shown(wanted)}; allowed: a mapping of columns to values or lists of values")
            return []
        points = list(self.store.points)
        for column, value in wanted.items():
            points = self._with(points, (*path, column), column, value if isinstance(value, list) else [value])
        found = {point.name: [*self.store.problems(point, seeds)] for point in points}
        for problem in itertools.chain(*found.values()):
            self._add(path, problem)
        usable = [point for point in points if not found[point.name]]
        self.chosen |= {point.name: point for point in usable}
        return usable

    def _with(self, points: Sequence[ParentPoint], path: Path, column: str, values: Sequence[Any]) -> list[ParentPoint]:
        known = {name for point in self.store.points for name in point.columns}
        if column not in known:
            self._add(path, unknown(str(column), known))
            return []
        there = [_plain(point.columns.get(column)) for point in points]
        for value in values:
            if points and value not in there:
                found = sorted({shown(each) for each in there if each is not None})
                self._add(path, f"found {shown(value)}, which no cell there has; allowed: {listed(found)}")
        return [point for point, has in zip(points, there, strict=True) if has in values]


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value
