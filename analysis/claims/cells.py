"""The stored cells as the claims look at them: by point, seed by seed, with what is lacking named."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from analysis.claims.claim import Member, Settings
from analysis.claims.intervals import Array
from analysis.learned_prior.models import COLUMNS
from analysis.learned_prior.needs import DATA_SET
from analysis.learned_prior.needs import TRAINING as LEARNED_TRAINING
from analysis.naming import number
from analysis.rows import Rows

SETTINGS: Mapping[str, tuple[str, ...]] = {
    "static_prior": (
        "quantizer", "dimension", "factors", "codebook_size", "slices", "init_bound", "learning_rate", "schedule",
        "steps", "batch_size", "start", "restarts", "max_iterations", "revision",
    ),
    "learned_prior": (*DATA_SET, *COLUMNS, *LEARNED_TRAINING),
}  # fmt: skip
"""Columns that tell points apart, by trainable. Points that are compared differ in no other than a claim says.

The training samples of the static prior follow from the factors and are not among them.
"""
SEEDS_BY: Mapping[str, tuple[str, ...]] = {"static_prior": ("factors",), "learned_prior": DATA_SET}
"""Points of a comparison with equal values here must have the same seeds."""
_DATA = "data_sha256"


class Point(dict[str, Any]):
    """A point's settings by column; a setting that its quantizer does not have is None."""

    def __init__(self, values: Mapping[str, Any], point_id: str = "", others: int = 0) -> None:
        super().__init__(values)
        self.point_id = point_id
        """Empty for a point that no store has."""
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
    def _heads(self) -> pd.DataFrame:
        """The settings of each point, in the order of their ids; their index is the place of their first row."""
        ids = self._held("point_id")
        first = ~ids.duplicated()
        return pd.DataFrame(
            {"point_id": ids[first]} | {name: self._held(name)[first] for name in SETTINGS[self.trainable]}
        )

    @cached_property
    def _settings(self) -> dict[int, tuple[Any, ...]]:
        """The settings by place, as they are in Python."""
        columns = [[_plain(value) for value in self._heads[name].tolist()] for name in SETTINGS[self.trainable]]
        return dict(zip(self._heads.index.tolist(), zip(*columns, strict=True), strict=True))

    @cached_property
    def _places(self) -> dict[str, slice]:
        """Where the rows of each point are."""
        starts = self._heads.index.tolist()
        ends = [*starts[1:], len(self._order)]
        return {p: slice(i, j) for p, i, j in zip(self._heads["point_id"], starts, ends, strict=True)}

    @cached_property
    def _by_settings(self) -> dict[tuple[Any, ...], list[str]]:
        found: dict[tuple[Any, ...], list[str]] = {}
        for point_id, settings in zip(self._heads["point_id"].tolist(), self._settings.values(), strict=True):
            found.setdefault(settings, []).append(point_id)
        return found

    def points(self, values: Mapping[str, tuple[Any, ...]]) -> Iterator[Point]:
        """Points with these values that have a row of whatever status, in the order of their settings."""
        heads, names = self._heads, SETTINGS[self.trainable]
        for column, some in values.items():
            heads = heads[heads[column].isin(some)]
        heads = heads.sort_values(list(names), kind="stable").drop_duplicates(list(names))
        for place in heads.index.tolist():
            yield self.point(dict(zip(names, self._settings[place], strict=True)))

    def point(self, settings: Settings) -> Point:
        """The point of these settings, whether it is stored or not."""
        settings = {name: settings[name] for name in SETTINGS[self.trainable]}
        ids = self._by_settings.get(tuple(settings.values()), [])
        return Point(settings, ids[0] if ids else "", len(ids) - 1 if ids else 0)

    def seeds(self, point: Point) -> Sequence[int]:
        """Seeds that have a row, of whatever status."""
        if not point.point_id:
            return ()
        seeds: Sequence[int] = self._seeds[self._places[point.point_id]].tolist()
        return seeds

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

    def holes(self, point: Point, seeds: Collection[int], metrics: Sequence[str]) -> dict[str, list[int]]:
        """Seeds of which there is nothing to take, by what became of them.

        `seeds` are all that the point has, or some of them and perhaps others.
        """
        if not point.point_id:
            return {"never run": []}
        if point.others:
            return {f"stored with {point.others + 1} numbers of train_samples; keep one with --only": []}
        place = self._places[point.point_id]
        if set(seeds) == set(self.seeds(point)) and self._usable(tuple(metrics))[place].all():
            return {}
        held = dict(zip(self.seeds(point), range(place.start, place.stop), strict=True))
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
        if _DATA not in self.rows.frame:
            return set()
        return set(self._images.iloc[self._at(point, seeds)].dropna())

    @cached_property
    def _images(self) -> pd.Series[str]:
        return self._held(_DATA)

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
    """Columns in which settings are not all equal, in their order."""
    return [column for column in (points[0] if points else ()) if len({point[column] for point in points}) > 1]


def words(point: Settings, columns: Collection[str]) -> str:
    """`dimension=64 slices=4`."""
    return " ".join(f"{name}={number(point[name])}" for name in point if name in columns and point[name] is not None)


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return value
    if value is None or value != value:
        return None
    return int(value) if float(value).is_integer() else float(value)
