"""What a computation has to yield: its outcomes hold the declared columns, with values of their types.

Arrow drops columns that are not declared, leaves missing ones empty, and cuts fractions off integers, without a word.
"""

from __future__ import annotations

import difflib
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from functools import cache
from numbers import Integral, Real
from typing import Any

from dvq_ray.experiment.experiment import Experiment, Outcome, Underway

_IN_WORDS = {int: "an integer", float: "a number", str: "text", bool: "true or false"}


class ContractError(RuntimeError):
    """A computation did not yield what it has to; see `dvq_ray.experiments.Run`."""


@dataclass(frozen=True, kw_only=True)
class _Column:
    holds: Any
    """A type, or a list of one."""
    required: bool


def check(experiment: Experiment, event: object) -> None:
    """Raises `ContractError` unless this can be an event of the experiment's computation."""
    if isinstance(event, Underway):
        if not isinstance(event.share, Real) or not 0 <= event.share <= 1:
            raise ContractError(f"the share of the work that is done is {event.share!r}, and not between 0 and 1")
        rows = event.logged[-1:]  # the others were checked before
    elif isinstance(event, Outcome):
        rows = event.curve
        if event.diverged_at_step is None:
            _check_values("metric", event.metrics, experiment.metrics)
    else:
        raise ContractError(f"the computation yields {type(event).__name__}; allowed: Outcome, Underway")
    for row in rows:
        _check_values("column of the curve", row, experiment.curve)


def _check_values(kind: str, found: Mapping[str, Any], declared: type) -> None:
    if not isinstance(found, Mapping):
        raise ContractError(f"{found!r} is not a mapping with a value for each {kind}")
    columns = _columns(declared)
    for name, value in found.items():
        column = columns.get(name)
        if column is None:
            near = difflib.get_close_matches(str(name), columns, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ContractError(f"{name!r} is not a {kind} of {declared.__name__}{hint}")
        if value is not None and type(value) is not column.holds and not _fits(value, column.holds):
            wanted = _IN_WORDS.get(column.holds, column.holds)
            raise ContractError(f"the {kind} {name} is {value!r}, which is not {wanted}")
    if missing := [name for name, column in columns.items() if column.required and found.get(name) is None]:
        raise ContractError(f"{declared.__name__} has no value for the {kind} {', '.join(missing)}")


@cache
def _columns(declared: type) -> Mapping[str, _Column]:
    hints = typing.get_type_hints(declared)
    found = {}
    for each in fields(declared):
        hint, kinds = hints[each.name], typing.get_args(hints[each.name])
        optional = type(None) in kinds
        holds = next(kind for kind in kinds if kind is not type(None)) if optional else hint
        found[each.name] = _Column(holds=holds, required=not optional)
    return found


def _fits(value: Any, holds: Any) -> bool:
    if typing.get_origin(holds) is list:
        (kind,) = typing.get_args(holds)
        return isinstance(value, Iterable) and all(type(each) is kind or _fits(each, kind) for each in value)
    if typing.get_origin(holds) is typing.Literal:
        return value in typing.get_args(holds)
    if holds is int:
        return isinstance(value, Integral) or (isinstance(value, float) and value.is_integer())
    return isinstance(value, Real if holds is float else holds)
