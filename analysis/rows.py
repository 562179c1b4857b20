"""The rows that an analysis starts from, one store or several as one frame, and what the stores keep beside them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import pandas as pd

from dvq_ray.store import Store, StoreError

_Read = TypeVar("_Read")


@dataclass(frozen=True, kw_only=True)
class Rows:
    """One row for each cell of the given stores, sorted by `cell_id`."""

    frame: pd.DataFrame
    stores: tuple[str, ...]
    """As the user named them."""
    origins: Mapping[str, str] = field(default_factory=dict)
    """The store that each row is from, by cell id."""
    only: Mapping[str, str] = field(default_factory=dict)
    """Values that the user kept, by column."""
    notes: tuple[str, ...] = ()
    """What a reader must be told about how the frame came to be."""

    def load_curves(self, cell_ids: Collection[str], columns: Sequence[str]) -> pd.DataFrame:
        """`cell_id`, `step` and these columns of the logged steps of these cells, sorted by cell and step.

        Raises `StoreError` where a store cannot be read.
        """
        wanted, names = set(cell_ids), ["cell_id", "step", *columns]
        curves = []
        for location in sorted({self.origins[cell_id] for cell_id in wanted if cell_id in self.origins}):
            curve = _read(location, lambda store: store.load_curves(names))
            here = {cell_id for cell_id in wanted if self.origins.get(cell_id) == location}
            curves.append(curve[curve["cell_id"].isin(here)])
        found = [curve for curve in curves if len(curve)]
        if not found:
            return pd.DataFrame(columns=names)
        return pd.concat(found).sort_values(["cell_id", "step"], ignore_index=True)

    def read_artifact(self, cell_id: str, name: str) -> bytes | None:
        """A file of a cell; None where there is none. Raises `StoreError` where its store cannot be read."""
        if cell_id not in self.origins:
            return None
        return _read(self.origins[cell_id], lambda store: store.read_artifact(cell_id, name))


def load_rows(locations: Sequence[str], only: Mapping[str, str] | None = None) -> Rows:
    """Reads the stores. Where two hold the same cell, the row of the one named first stands.

    Raises `StoreError` where a store is missing, empty or unreadable, `ValueError` where `only` names no column or
    leaves nothing.
    """
    frames, notes, origins = [], [], dict[str, str]()
    for location in locations:
        frame = _load(location)
        again = frame["cell_id"].isin(list(origins))
        for earlier in sorted({origins[cell_id] for cell_id in frame.loc[again, "cell_id"]}):
            twice = sum(origins[cell_id] == earlier for cell_id in frame.loc[again, "cell_id"])
            notes.append(f"{twice} cells of {location} are in {earlier} too; the rows of {earlier} stand")
        frame = frame[~again]
        origins |= dict.fromkeys(frame["cell_id"], location)
        frames.append(frame)
    frame = frames[0] if len(frames) == 1 else pd.concat([part for part in frames if len(part)], ignore_index=True)
    for column, value in (only or {}).items():
        frame = _keep(frame, column, value)
    frame = frame.sort_values("cell_id", ignore_index=True)
    return Rows(frame=frame, stores=tuple(locations), origins=origins, only=dict(only or {}), notes=tuple(notes))


def _load(location: str) -> pd.DataFrame:
    frame = _read(location, Store.load)
    if frame.empty:
        what = "holds no cells yet" if Store(location).exists() else "is no store: there is no cells/*.parquet in it"
        raise StoreError(f"{location} {what}")
    return frame


def _read(location: str, read: Callable[[Store], _Read]) -> _Read:
    try:
        return read(Store(location))
    except (OSError, ValueError) as error:  # pyarrow's own errors about locations are among these
        raise StoreError(f"{location} cannot be read: {error}") from error


def _keep(frame: pd.DataFrame, column: str, value: str) -> pd.DataFrame:
    """Rows with that value, and rows of quantizers that have no such field."""
    if column not in frame:
        raise ValueError(f"--only {column}={value}: there is no column {column!r} in the store")
    values = frame[column]
    try:
        same = values == (float(value) if pd.api.types.is_numeric_dtype(values) else value)
    except ValueError:
        same = pd.Series(False, index=frame.index)
    if not same.any():
        held = ", ".join(f"{v:g}" if isinstance(v, float) else str(v) for v in sorted(values.dropna().unique()))
        raise ValueError(f"--only {column}={value}: no row has it; stored: {held}")
    return frame[same | values.isna()]
