"""What a new study learns from: points of its space that its store, or others, already hold.

Samplers see them as values that are known. None of them is a suggestion: one that is suggested too is answered from the
store where its cells are there, and computed where they are not.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from dvq_ray.search.points import Points, params_of_row
from dvq_ray.store import Store, StoreError
from dvq_ray.sweep.coverage import rows_of_space
from dvq_ray.sweep.search import Search, SearchError

MOST_LEARNED = 2_000
"""Points that a study keeps: the best, and a sample of the rest that their ids decide."""
_BEST = 200
THIS_STORE = "this store"


def learned_from(search: Search, store: Store, known: Collection[str] = ()) -> dict[str, Any]:
    """The points, in plain values, with the stores that the search names and how many are from where.

    Those of `known` ids, which are suggestions of the study, are left out. Raises `SearchError` where a store cannot be
    read.
    """
    found: dict[str, tuple[dict[str, Any], list[float]]] = {}
    counts: dict[str, int] = {}
    for name, frame in {THIS_STORE: store.load(), **{each: load_store(each) for each in search.learn_from}}.items():
        fresh = {
            point_id: point
            for point_id, point in _points(frame, search)
            if point_id not in found and point_id not in known
        }
        found |= fresh
        counts |= {name: len(fresh)}
    return {
        "stores": list(search.learn_from),
        "counts": {name: count for name, count in counts.items() if count},
        "points": [{"params": params, "values": values} for params, values in _some(found, search)],
    }


def in_words(learned: Mapping[str, Any]) -> str:
    """How many points, and from where; empty for none."""
    return ", ".join(f"{count:,} points of {name}" for name, count in learned.get("counts", {}).items())


def load_store(location: str) -> pd.DataFrame:
    """All rows of a store to learn from. Raises `SearchError`."""
    other = Store(location)
    try:
        if not other.exists():
            raise StoreError("there is no store")
        return other.load()
    except (StoreError, OSError, ValueError) as error:
        raise SearchError(f"learn_from: {location} cannot be read: {error}") from error


def _points(frame: pd.DataFrame, search: Search) -> Iterator[tuple[str, tuple[dict[str, Any], list[float]]]]:
    """Points of the space with a value for every objective: their means over all repetitions."""
    rows = frame[rows_of_space(frame, search)] if len(frame) else frame
    if rows.empty or not {*search.objectives} <= {*rows.columns}:
        return
    values = rows[[*search.objectives]].apply(pd.to_numeric).to_numpy(np.float64, na_value=np.nan)
    rows = rows[(rows["status"] == "ok").to_numpy(bool) & np.isfinite(values).all(axis=1)]
    points = Points(search)
    for point_id, here in rows.groupby("point_id", sort=True):
        first = here.iloc[0]
        params = search.space.snapped(params_of_row(first, search))
        if points.id_of(params) == point_id:  # else it lies between the values of the space
            yield str(point_id), (params, [float(here[metric].mean()) for metric in search.objectives])


def _some(
    found: Mapping[str, tuple[dict[str, Any], list[float]]], search: Search
) -> list[tuple[dict[str, Any], list[float]]]:
    if len(found) <= MOST_LEARNED:
        return [*found.values()]
    sign = next(iter(search.signs.values()))
    ranked = sorted(found, key=lambda point_id: sign * found[point_id][1][0])
    rest = sorted(ranked[_BEST:])[: MOST_LEARNED - _BEST]  # ids are digests: their order is as good as random
    return [found[point_id] for point_id in [*ranked[:_BEST], *rest]]
