"""The points of a space: which values make one, and its id."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import pandas as pd
from optuna.trial import FrozenTrial

from dvq_ray.sweep.cells import Point
from dvq_ray.sweep.search import Search
from dvq_ray.sweep.space import Axis, Choices, Params

_REMEMBERED = 20_000
"""Points that are remembered: a sampler looks at the same ones again and again."""


def point_of(search: Search, params: Params) -> Point:
    """The point that these values make. Raises `ValueError` where there is none."""
    return Point(experiment=search.experiment, settings=search.settings(params))


class Points:
    """The points of a search, each looked at once while it is remembered."""

    def __init__(self, search: Search) -> None:
        self._search = search
        self._ids: OrderedDict[tuple[tuple[str, str, object], ...], str | None] = OrderedDict()

    def id_of(self, params: Params) -> str | None:
        """The id of the point that these values make; None where there is no such point."""
        key = tuple((name, type(params[name]).__name__, params[name]) for name in sorted(params))  # true is not 1
        if key in self._ids:
            return self._ids[key]
        try:
            found: str | None = point_of(self._search, params).point_id
        except ValueError:
            found = None
        self._ids[key] = found
        if len(self._ids) > _REMEMBERED:
            self._ids.popitem(last=False)
        return found


def params_of(trial: FrozenTrial, search: Search) -> dict[str, Any] | None:
    """The values of the fields that a trial's point has; None where some are missing, or where there is no such point.

    Earlier versions gave values to all searched fields, and suggested 0.1 x 3 and not 0.3.
    """
    if not trial.params.keys() <= search.space.axes.keys():
        return None
    try:
        active = search.active(trial.params)
    except KeyError:
        return None
    if not trial.params.keys() >= {*active}:
        return None
    params = {name: trial.params[name] for name in active}
    return params if search.possible(params) else None


def params_of_row(row: pd.Series[Any], search: Search) -> dict[str, Any]:
    """The values of the searched fields of a row's point."""
    active = search.active({"quantizer": row["quantizer"]})
    return {name: _value(search.space.axes[name], row[name]) for name in active}


def _value(axis: Axis, stored: Any) -> Any:
    if isinstance(axis, Choices):
        return next((choice for choice in axis.choices if choice == stored), None)
    return int(stored) if axis.whole else float(stored)
