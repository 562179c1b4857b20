"""The stored cells as the claims look at them: by point, seed by seed, with what is lacking named."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from itertools import compress
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ..data.rows import Rows
from ..figures.learned_prior.models import COLUMNS
from ..figures.learned_prior.needs import DATA_SET
from ..figures.learned_prior.needs import TRAINING as LEARNED_TRAINING
from ..naming import number
from .claim import Member, Settings
from .intervals import Array

SETTINGS: Mapping[str, tuple[str, ...]] = {
    "static_prior": (
        "quantizer", "dimension", "factors", "codebook_size", "slices", "init_bound", "learning_rate", "schedule",
        "steps", "batch_size", "start", "restarts", "max_iterations", "revision",
    ),
    "factorial_prior": (
        "quantizer", "dimension", "groups", "centres", "dependence", "codebook_size", "slices", "init_bound",
        "learning_rate", "schedule", "steps", "batch_size", "start", "restarts", "max_iterations", "train_samples",
        "revision",
    ),
    "learned_prior": (*DATA_SET, *COLUMNS, *LEARNED_TRAINING),
}  # fmt: skip
"""Columns that tell points apart, by trainable. Points that are compared differ in no other than a claim says.

The training samples of the static prior follow from the factors and are not among them.
"""
SEEDS_BY: Mapping[str, tuple[str, ...]] = {
    "static_prior": ("factors",),
    "factorial_prior": ("groups", "centres", "dependence"),
    "learned_prior": DATA_SET,
}
"""Points of a comparison with equal values here must have the same seeds."""
_DATA = "data_sha256"


class Point(dict[str, Any]):
    """A point's settings by column; a setting that its quantizer does not have is None."""

    def __init__(
        self, values: Mapping[str, Any], point_id: str = "", others: int = 0, seeds: frozenset[int] = frozenset()
    ) -> None:
        super().__init__(values)
        self.point_id = point_id
        """Empty for a point that no store has."""
        self.seeds = seeds
        """Those that have a row, of whatever status."""
        self.others = others
        """Points of equal settings that differ in the number of training samples alone."""

    @property
    def key(self) -> tuple[Any, ...]:
        """All settings; hashable."""
        return tuple(self.values())


@dataclass(frozen=True)
class Cells:
    """The cells of one trainable, those of a point together and in the order of their seeds."""

    rows: Rows
    trainable: str

    @cached_property
    def _order(self) -> npt.NDArray[np.intp]:
        """Places in the store's frame of the rows, those of a point together and in the order of their seeds."""
        rows = self.rows.of(self.trainable)
        points = pd.factorize(rows["point_id"], sort=True)[0]
        return np.lexsort((rows["seed"].to_numpy(), points))

    def _held(self, name: str) -> pd.Series[Any]:
        """A column in that order; empty where the stores do not have it."""
        rows = self.rows.of(self.trainable)
        held = rows[name] if name in rows else pd.Series(np.nan, index=rows.index)
        return held.take(self._order).reset_index(drop=True)

    @cached_property
    def _starts(self) -> npt.NDArray[np.intp]:
        """Where the rows of each point begin."""
        codes = pd.factorize(self.rows.of(self.trainable)["point_id"])[0][self._order]
        return np.flatnonzero(np.diff(codes, prepend=-1))

    @cached_property
    def _places(self) -> dict[str, slice]:
        """Where the rows of each point are; in the order of the points' ids."""
        ids = self.rows.of(self.trainable)["point_id"].take(self._order[self._starts])
        starts = self._starts.tolist()
        ends = [*starts, len(self._order)][1:]
        return {point_id: slice(i, j) for point_id, i, j in zip(ids.tolist(), starts, ends, strict=True)}

    @cached_property
    def _heads(self) -> pd.DataFrame:
        """The settings of each point, in their order; with `point_id` and `others`. The first by id, of equal ones."""
        rows, names = self.rows.of(self.trainable), list(SETTINGS[self.trainable])
        every = rows.reindex(columns=names).take(self._order[self._starts]).assign(point_id=list(self._places))
        every = every.sort_values(names, kind="stable")
        first = ~every.duplicated(names).to_numpy()
        others = np.diff(np.append(np.flatnonzero(first), len(every))) - 1
        return every[first].assign(others=others).reset_index(drop=True)

    @cached_property
    def _settings(self) -> dict[tuple[Any, ...], int]:
        """Of the settings of each point, as they are in Python, the place among `_heads`."""
        columns = [_plain_values(self._heads[name]) for name in SETTINGS[self.trainable]]
        return {settings: place for place, settings in enumerate(zip(*columns, strict=True))}

    @cached_property
    def _stored(self) -> list[tuple[str, int]]:
        """The id of each point among `_heads`, and how many others there are."""
        return list(self._heads[["point_id", "others"]].itertuples(index=False, name=None))

    @cached_property
    def _known(self) -> dict[tuple[Any, ...], Point]:
        """Points that were asked for, by their settings."""
        return {}

    def points(self, values: Mapping[str, tuple[Any, ...]]) -> Iterator[Point]:
        """Points with these values that have a row of whatever status, in the order of their settings."""
        inside = np.ones(len(self._heads), bool)
        for column, some in values.items():
            inside &= self._heads[column].isin(some).to_numpy(bool)
        for settings in compress(self._settings, inside):
            yield self._point(settings)

    def point(self, settings: Settings) -> Point:
        """The point of these settings, whether it is stored or not."""
        return self._point(tuple([settings[name] for name in SETTINGS[self.trainable]]))

    def _point(self, settings: tuple[Any, ...]) -> Point:
        if settings not in self._known:
            values, place = dict(zip(SETTINGS[self.trainable], settings, strict=True)), self._settings.get(settings)
            if place is None:
                self._known[settings] = Point(values)
            else:
                point_id, others = self._stored[place]
                seeds = frozenset(self._seeds[self._places[point_id]].tolist())
                self._known[settings] = Point(values, point_id, others, seeds)
        return self._known[settings]

    @cached_property
    def _seeds(self) -> npt.NDArray[np.int64]:
        return self._held("seed").to_numpy(np.int64)

    @cached_property
    def _status(self) -> npt.NDArray[np.object_]:
        return self._held("status").to_numpy(object)

    @cached_property
    def _columns(self) -> dict[str, Array]:
        return {}

    def _column(self, name: str) -> Array:
        if name not in self._columns:
            self._columns[name] = pd.to_numeric(self._held(name)).to_numpy(np.float64, na_value=np.nan)
        return self._columns[name]

    def holes(self, point: Point, seeds: Set[int], metrics: Sequence[str]) -> dict[str, list[int]]:
        """Seeds of which there is nothing to take, by what became of them.

        `seeds` are all that the point has, or some of them and perhaps others.
        """
        if not point.point_id:
            return {"never run": []}
        if point.others:
            return {f"stored with {point.others + 1} numbers of train_samples; keep one with --only": []}
        place = self._places[point.point_id]
        if point.seeds == seeds and self._usable(tuple(metrics))[place].all():
            return {}
        held = dict(zip(self._seeds[place].tolist(), range(place.start, place.stop), strict=True))
        found: dict[str, list[int]] = {}
        for seed in sorted(seeds):
            state = self._state(held[seed], metrics) if seed in held else "missing"
            if state:
                found.setdefault(state, []).append(seed)
        return found

    def _usable(self, metrics: tuple[str, ...]) -> npt.NDArray[np.bool_]:
        """Rows that finished and have all these metrics."""
        if metrics not in self._masks:
            finite = [np.isfinite(self._column(name)) for name in metrics]
            self._masks[metrics] = np.logical_and.reduce([self._status == "ok", *finite])
        return self._masks[metrics]

    @cached_property
    def _masks(self) -> dict[tuple[str, ...], npt.NDArray[np.bool_]]:
        return {}

    def _state(self, row: int, metrics: Sequence[str]) -> str:
        status = self._status[row]
        if status != "ok":
            return "stopped early" if status == "stopped" else f"failed ({status})"
        empty = [name for name in metrics if not np.isfinite(self._column(name)[row])]
        return f"without a finite {', '.join(empty)}" if empty else ""

    def _at(self, point: Point, seeds: Collection[int]) -> npt.NDArray[np.int64]:
        """Rows of these repetitions, which are the point's own or some of them."""
        place = self._places[point.point_id]
        rows = np.arange(place.start, place.stop)
        return rows if len(seeds) == len(rows) else rows[np.isin(self._seeds[place], list(seeds))]

    def images(self, point: Point, seeds: Collection[int]) -> set[str]:
        """Digests of the data that these repetitions saw, where the trainable keeps them."""
        return set() if self._images is None else set(self._images.iloc[self._at(point, seeds)].dropna())

    @cached_property
    def _images(self) -> pd.Series[str] | None:
        return self._held(_DATA) if _DATA in self.rows.frame else None

    @cached_property
    def _ids(self) -> pd.Series[str]:
        return self._held("cell_id")

    def member(self, point: Point, seeds: Collection[int], metrics: Sequence[str], curve: str | None) -> Member:
        """What these repetitions, which must all be there, measured. Raises `StoreError` for unreadable curves."""
        at = self._at(point, seeds)
        assert len(at) == len(seeds)
        curves = []
        if curve is not None:
            ids = self._ids.iloc[at].tolist()
            logged = self.rows.load_curves(ids, [curve])
            logged = logged[np.isfinite(logged[curve].astype(float))]
            for cell_id in ids:
                own = logged[logged["cell_id"] == cell_id]
                curves.append((own["step"].to_numpy(np.int64), own[curve].to_numpy(np.float64)))
        return Member(metrics={name: self._column(name)[at] for name in metrics}, curves=curves)


def differing(points: Sequence[Settings]) -> list[str]:
    """Columns in which settings are not all equal, in their order. All settings must have the same columns."""
    values = zip(*(point.values() for point in points), strict=True)
    return [column for column, its in zip(points[0] if points else (), values, strict=True) if len({*its}) > 1]


def words(point: Settings, columns: Collection[str]) -> str:
    """`dimension=64 slices=4`."""
    return " ".join(f"{name}={number(point[name])}" for name in point if name in columns and point[name] is not None)


def _plain_values(column: pd.Series[Any]) -> list[Any]:
    """Each value as it is in Python; there are few, and many rows."""
    places, held = pd.factorize(column, use_na_sentinel=False)
    plain = [_plain(value) for value in held.tolist()]
    return [plain[place] for place in places.tolist()]


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return value
    if value is None or value != value:
        return None
    return int(value) if float(value).is_integer() else float(value)
