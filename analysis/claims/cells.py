"""The stored cells as the claims compare them: by point, seed by seed, with a name for what is missing."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence, Set
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ..data.points import floats, points_of, unusable_rows
from ..data.rows import Rows
from ..naming import number
from .claim import Member, Settings
from .declared import DATA_DIGEST, SEEDS_BY, SETTINGS

_NO_ROWS = np.empty(0, np.int64)


class Point(dict[str, Any]):
    """A point's settings by column; a setting that its quantizer does not have is None."""

    def __init__(
        self, values: Mapping[str, Any], rows: npt.NDArray[np.int64] = _NO_ROWS, seeds: Sequence[int] = ()
    ) -> None:
        super().__init__(values)
        self.rows = rows
        """The places of its rows, in the order of `seeds`; none for a point that no store has."""
        self.seeds = seeds
        """Those that have a row, whatever its status, in order."""
        self.others = 0
        """Points with the same settings that differ only in the number of training samples."""


class Cells:
    """The points of one trainable, in the order of their settings, and what their cells measured."""

    def __init__(self, rows: Rows, trainable: str) -> None:
        self.seeds_by = SEEDS_BY[trainable]
        """Points of a comparison with equal values in these columns must have the same seeds."""
        self._store, self._names = rows, SETTINGS[trainable]
        points = points_of(rows.of(trainable), ("point_id",))
        self._rows, seeds = points.rows, points.rows["seed"].to_numpy(np.int64)
        by_point = np.lexsort((seeds, points.of_rows))
        rows_of = np.split(by_point, np.cumsum(np.bincount(points.of_rows))[:-1])
        heads = points.heads.reindex(columns=[*self._names, "point_id"]).reset_index(drop=True)
        heads = heads.sort_values([*self._names, "point_id"])
        self._points: dict[tuple[Any, ...], Point] = {}
        settings = zip(*(_plain_values(heads[name]) for name in self._names), strict=True)
        for key, place in zip(settings, heads.index.tolist(), strict=True):
            if key in self._points:
                self._points[key].others += 1
            else:
                its = rows_of[place]
                self._points[key] = Point(dict(zip(self._names, key, strict=True)), its, seeds[its].tolist())
        self._heads = heads[~heads.duplicated(list(self._names))]
        self._stored = list(self._points.values())
        self._unusable = cache(lambda metrics: unusable_rows(self._rows, metrics))
        self._column = cache(self._floats)

    def points(self, values: Mapping[str, tuple[Any, ...]]) -> list[Point]:
        """Points with these values that have a row of whatever status, in the order of their settings."""
        inside = np.ones(len(self._heads), bool)
        for column, some in values.items():
            inside &= self._heads[column].isin(some).to_numpy(bool)
        return [self._stored[place] for place in np.flatnonzero(inside)]

    def point(self, settings: Settings) -> Point:
        """The point of these settings, whether it is stored or not."""
        key = tuple([settings[name] for name in self._names])
        return self._points.get(key) or Point(dict(zip(self._names, key, strict=True)))

    def group(self, point: Point) -> tuple[Any, ...]:
        """The values of the point within which points are paired."""
        return tuple(point[column] for column in self.seeds_by)

    def _floats(self, name: str) -> npt.NDArray[np.float64]:
        return floats(self._rows[name])

    def holes(self, point: Point, seeds: Set[int], metrics: Sequence[str]) -> dict[str, list[int]]:
        """The seeds that cannot be used, by what is wrong with them.

        `seeds` are all that the point has, or some of them and perhaps others.
        """
        if not point.seeds:
            return {"never run": []}
        if point.others:
            return {f"stored with {point.others + 1} numbers of train_samples; keep one with --only": []}
        unusable, held = self._unusable(tuple(metrics)), dict(zip(point.seeds, point.rows.tolist(), strict=True))
        found: dict[str, list[int]] = {}
        if unusable or not seeds <= held.keys():
            for seed in sorted(seeds):
                state = unusable.get(held[seed], "") if seed in held else "missing"
                if state:
                    found.setdefault(state, []).append(seed)
        return found

    def data_digests(self, point: Point, seeds: Collection[int]) -> set[str]:
        """Digests of the data that these repetitions saw, where the trainable stores them."""
        return set(self._rows[DATA_DIGEST].iloc[_at(point, seeds)].dropna()) if DATA_DIGEST in self._rows else set()

    def member(self, point: Point, seeds: Collection[int], metrics: Sequence[str], curve: str | None) -> Member:
        """What these repetitions, which must all be there, measured. Raises `StoreError` for unreadable curves."""
        at = _at(point, seeds)
        assert len(at) == len(seeds)
        curves = []
        if curve is not None:
            ids = self._rows["cell_id"].iloc[at].tolist()
            logged = self._store.load_curves(ids, [curve])
            logged = logged[np.isfinite(logged[curve].astype(float))]
            for cell_id in ids:
                own = logged[logged["cell_id"] == cell_id]
                curves.append((own["step"].to_numpy(np.int64), own[curve].to_numpy(np.float64)))
        return Member(metrics={name: self._column(name)[at] for name in metrics}, curves=curves)


def _at(point: Point, seeds: Collection[int]) -> npt.NDArray[np.int64]:
    """Rows of these repetitions, in the order of their seeds."""
    return point.rows if len(seeds) == len(point.rows) else point.rows[np.isin(point.seeds, list(seeds))]


def differing(points: Sequence[Settings]) -> list[str]:
    """Columns in which settings are not all equal, in their order. All settings must have the same columns."""
    values = zip(*(point.values() for point in points), strict=True)
    return [column for column, its in zip(points[0] if points else (), values, strict=True) if len({*its}) > 1]


def words(point: Settings, columns: Collection[str]) -> str:
    """`dimension=64 slices=4`."""
    return " ".join(f"{name}={number(point[name])}" for name in point if name in columns and point[name] is not None)


def _plain_values(column: pd.Series[Any]) -> list[Any]:
    """Each value as Python has it; there are few of them, and many rows."""
    places, held = pd.factorize(column, use_na_sentinel=False)
    plain = [_plain(value) for value in held.tolist()]
    return [plain[place] for place in places.tolist()]


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return value
    if value is None or value != value:
        return None
    return int(value) if float(value).is_integer() else float(value)
