"""The rows that an analysis starts from, one store or several as one frame, and what the stores keep beside them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from dvq_ray.experiment.registry import built_in_experiments, find_experiment
from dvq_ray.providers import ProviderError
from dvq_ray.store import FINISHED, STOPPED, SUGGESTION, Store, StoreError, cell_schema
from dvq_ray.store.attempts import standing_of_stores
from dvq_ray.sweep.cells import expand
from dvq_ray.sweep.spec import parse_sweep

from .comparable import with_comparable_settings
from .declared import conditions_of
from .points import Points, plain, plain_numbers, points_of

_Read = TypeVar("_Read")
_SCHEMAS = [cell_schema(experiment) for experiment in built_in_experiments()]
_TEXTS = {field.name for schema in _SCHEMAS for field in schema if pa.types.is_string(field.type)} - {
    "cell_id",
    "error",
}
_NUMBERS = {
    name for experiment in built_in_experiments() for quantizer in experiment.quantizers
    for name in experiment.variant(quantizer).model_fields
    if cell_schema(experiment).field(name).type in (pa.int64(), pa.float64())
}  # fmt: skip
_OFTEN_EQUAL = _TEXTS | _NUMBERS
"""Columns with few different values: text and settings."""


@dataclass(frozen=True, kw_only=True)
class Held:
    """What a store holds, before anything of it is filtered."""

    count: int
    """Cells with a row."""
    failed: pd.DataFrame
    """`cell_id`, `status` and `error` of those that are to be run again."""


@dataclass(frozen=True, kw_only=True)
class Rows:
    """One row for each cell of the given stores, sorted by `cell_id`."""

    frame: pd.DataFrame
    """Text and settings are held as categories, which take a byte each if there are few; `plain` gives numbers back."""
    stores: tuple[str, ...]
    """Locations as the user gave them."""
    origins: Mapping[str, str] | pd.Series[str] = field(default_factory=dict)
    """The store that each row is from, by cell id."""
    held: Mapping[str, Held] = field(default_factory=dict)
    """By store."""
    in_both: Collection[str] = ()
    """Cells that a search suggested, and that a grid names too."""
    only: Mapping[str, str] = field(default_factory=dict)
    """Values that the user kept, by column."""
    levels: Mapping[str, float] = field(default_factory=dict)
    """By id of each point whose repetitions were added until they sufficed, the coverage of the interval of each look
    at it, with which those of all looks hold together."""
    notes: tuple[str, ...] = ()
    """What a reader must know about how the frame came to be."""

    def of(self, trainable: str) -> pd.DataFrame:
        """The rows of one trainable, as in `frame`, without those that only a search suggested: these make no grid."""
        if trainable not in self._by_trainable:
            here = (self.frame["trainable"] == trainable) & self.in_grids(self.frame)
            self._by_trainable[trainable] = self.frame if here.all() else self.frame[here]
        return self._by_trainable[trainable]

    def in_grids(self, frame: pd.DataFrame) -> npt.NDArray[np.bool_]:
        """Which of some of these rows are cells of a grid: a search may have suggested them too."""
        if SUGGESTION not in frame:
            return np.ones(len(frame), bool)
        return (frame[SUGGESTION].isna() | frame["cell_id"].isin(self.in_both)).to_numpy(bool)

    def points(self, trainable: str) -> Points:
        """The points of the rows that `of` gives."""
        if trainable not in self._points:
            self._points[trainable] = points_of(self.of(trainable))
        return self._points[trainable]

    @cached_property
    def _by_trainable(self) -> dict[str, pd.DataFrame]:
        return {}

    @cached_property
    def _points(self) -> dict[str, Points]:
        return {}

    def load_curves(self, cell_ids: Collection[str], columns: Sequence[str]) -> pd.DataFrame:
        """`cell_id`, `step` and these columns of the logged steps of these cells, sorted by cell and step.

        Raises `StoreError` where a store cannot be read.
        """
        names = ["cell_id", "step", *columns]
        origins = {cell_id: self.origins[cell_id] for cell_id in cell_ids if cell_id in self.origins}
        curves = []
        for location in sorted(set(origins.values())):
            curve = _read(location, lambda store: store.load_curves(names))
            curves.append(curve[curve["cell_id"].map(origins) == location])
        found = [curve for curve in curves if len(curve)]
        if not found:
            return pd.DataFrame(columns=names)
        return pd.concat(found).sort_values(["cell_id", "step"], ignore_index=True)

    def read_artifact(self, cell_id: str, name: str) -> bytes | None:
        """A file of a cell; None where there is none. Raises `StoreError` where its store cannot be read."""
        if cell_id not in self.origins:
            return None
        return _read(self.origins[cell_id], lambda store: store.read_artifact(cell_id, name))


def load_rows(
    locations: Sequence[str], only: Mapping[str, str] | None = None, *, without: Collection[str] = ()
) -> Rows:
    """Reads the stores. Of a cell that several hold, a finished row is kept before a failed one, then a later one.

    The columns in `without` are not read, but for those in `only`. Raises `StoreError` where a store is missing, empty
    or unreadable, `ValueError` where `only` names no column or leaves nothing.
    """
    whole = [_load(location, {*without} - {*(only or {})}) for location in locations]
    held = {location: _held(frame) for location, frame in zip(locations, whole, strict=True)}
    frames, notes = whole, list[str]()
    if len(whole) > 1:
        standing = standing_of_stores(whole)
        frames = [part[stands] for part, stands in zip(whole, standing, strict=True)]
        notes = [*_twice(locations, whole, frames)]
    names = np.repeat(np.array(locations, object), [len(part) for part in frames])
    frame = frames[0]
    if len(frames) > 1:
        frame = pd.concat([plain(part) for part in frames if len(part)], ignore_index=True)
    origins = pd.Series(pd.Categorical(names), index=frame["cell_id"])
    frame, rounded = with_comparable_settings(frame)
    if rounded:
        notes.append(f"{rounded} cells have floats that are equal to shorter ones up to their last digits; they count "
                     "as cells of the same point")  # fmt: skip
    for column, value in (only or {}).items():
        frame = _keep(frame, column, value)
    if len(frames) > 1 or only or rounded:
        frame = frame.sort_values("cell_id", ignore_index=True)
    frame = _with_categories(frame)
    in_both = _in_both(locations, whole, frame)
    if SUGGESTION in frame and (count := int(frame[SUGGESTION].notna().sum()) - len(in_both)):
        notes.append(f"cells that a search suggested ({count:,}) are in no grid; only items of searches show them")
    for trainable, why in unknown_experiments(frame).items():
        notes.append(f"no item shows {int((frame['trainable'] == trainable).sum()):,} cells of {trainable}: {why}")
    return Rows(
        frame=frame, stores=tuple(locations), origins=origins, held=held, in_both=in_both, only=dict(only or {}),
        levels=_levels(locations), notes=tuple(notes),
    )  # fmt: skip


def _levels(locations: Sequence[str]) -> dict[str, float]:
    """By id of each point that was looked at again and again, the coverage that each look's interval must have."""
    found: dict[str, float] = {}
    for location in locations:
        looks = _read(location, lambda store: store.load_looks())
        for column in ("point_id", "partner_point_id"):
            for point_id, level in looks[[column, "level"]].dropna().itertuples(index=False, name=None):
                found[point_id] = max(level, found.get(point_id, 0.0))
    return found


def _twice(locations: Sequence[str], whole: Sequence[pd.DataFrame], kept: Sequence[pd.DataFrame]) -> Iterator[str]:
    """A note for each two stores that hold the same cells."""
    for (earlier, first, stood), (later, second, stand) in combinations(zip(locations, whole, kept, strict=True), 2):
        both = pd.Index(first["cell_id"]).intersection(pd.Index(second["cell_id"]))
        for store, frame in ((earlier, stood), (later, stand)):
            if (count := int(frame["cell_id"].isin(both).sum())) and len(both):
                some = f", {count} of them" if count < len(both) else ""
                yield f"{len(both)} cells of {later} are in {earlier} too; the rows of {store} stand{some}"


def _in_both(locations: Sequence[str], whole: Sequence[pd.DataFrame], frame: pd.DataFrame) -> frozenset[str]:
    """Cells that a search suggested, and that a grid of a stored sweep file names, or another store without a search.

    A sweep computes no cell that its store holds already, whoever asked for it first.
    """
    if SUGGESTION not in frame or not frame[SUGGESTION].notna().any():
        return frozenset()
    found = set[str]()
    for location, part in zip(locations, whole, strict=True):
        found.update(part.loc[part[SUGGESTION].isna(), "cell_id"] if SUGGESTION in part else part["cell_id"])
        with contextlib.suppress(OSError, ValueError):  # of a sweep file that is not valid in this version
            text = Store(location).sweep_text()
            if text is not None and not (spec := parse_sweep(text, f"{location}/sweep.yaml")).search:
                found.update(cell.cell_id for cell in expand(spec)[0])
    return frozenset(found & {*frame.loc[frame[SUGGESTION].notna(), "cell_id"]})


def known_experiments(frame: pd.DataFrame) -> list[str]:
    """The experiments of the rows that this Python can import."""
    return sorted({str(name) for name in frame["trainable"].dropna().unique()} - {*unknown_experiments(frame)})


def unknown_experiments(frame: pd.DataFrame) -> dict[str, str]:
    """Experiments of the rows that this Python cannot import, and why."""
    unknown = {}
    for trainable in sorted(frame["trainable"].dropna().unique()):
        try:
            find_experiment(trainable)
        except ProviderError as error:
            unknown[str(trainable)] = str(error)
    return unknown


def _load(location: str, without: Collection[str]) -> pd.DataFrame:
    frame = _read(location, lambda store: store.load(categories=_OFTEN_EQUAL, without=without))
    if frame.empty:
        what = "holds no cells yet" if Store(location).exists() else "is not a store: there is no cells/*.parquet in it"
        raise StoreError(f"{location} {what}")
    # A store of an earlier version does not have what was added since; its cells are then without it.
    trainables = set(frame["trainable"].unique())
    known = {name for experiment in built_in_experiments() if experiment.name in trainables
             for name in cell_schema(experiment).names}  # fmt: skip
    missing = sorted(known - {*frame.columns, *without})
    return frame.assign(**dict.fromkeys(missing, np.nan)) if missing else frame


def _held(frame: pd.DataFrame) -> Held:
    failed = frame.loc[~frame["status"].isin([*FINISHED, STOPPED]), ["cell_id", "status", "error"]]
    return Held(count=len(frame), failed=failed.astype({"status": "str"}))


def _with_categories(frame: pd.DataFrame) -> pd.DataFrame:
    """With columns of few values as categories, which are those that it has, in order.

    Integers become floats if some are missing, as in an ordinary column.
    """
    columns = {}
    for name in _OFTEN_EQUAL & {*frame.columns}:
        values = frame[name].astype("category")
        counts = np.bincount(values.cat.codes + 1, minlength=len(values.cat.categories) + 1)[1:]
        held = sorted(values.cat.categories[counts > 0])
        values = values if held == [*values.cat.categories] else values.cat.set_categories(held)
        if name in _NUMBERS and values.cat.categories.dtype != np.float64 and counts.sum() < len(values):
            values = values.cat.rename_categories([*map(float, held)])
        columns[name] = values
    return frame.assign(**columns)


def _read(location: str, read: Callable[[Store], _Read]) -> _Read:
    try:
        return read(Store(location))
    except (OSError, ValueError) as error:  # pyarrow's own errors about locations are among these
        raise StoreError(f"{location} cannot be read: {error}") from error


def _keep(frame: pd.DataFrame, column: str, value: str) -> pd.DataFrame:
    """Rows with that value, and rows without one: of quantizers that have no such field, and of failed cells."""
    if column not in frame:
        raise ValueError(f"--only {column}={value}: there is no column {column!r} in the store")
    values = plain_numbers(frame[column])
    try:
        same = values == (float(value) if pd.api.types.is_numeric_dtype(values) else value)
    except ValueError:
        same = pd.Series(False, index=frame.index)
    if not same.any():
        held = ", ".join(f"{v:g}" if isinstance(v, float) else str(v) for v in sorted(values.dropna().unique()))
        raise ValueError(f"--only {column}={value}: no row has it; stored: {held}")
    is_unknown = (frame["status"] == "ok") & (column in conditions_of(frame))
    return frame[same | (values.isna() & ~is_unknown)]
