"""A space as samplers see it: every field for every point, and choices of numbers as ranks.

To a sampler it is of use to know that 4 slices lie between 2 and 8. A field that a point's quantizer does not have is
held at one value, so that equal points look alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial

from dvq_ray.sweep.search import Search
from dvq_ray.sweep.space import Axis, Choices, Params, Space

MOST_STEPS = 1_000_000
"""Values of a range that Optuna is given as steps. More are a continuum to it, and what it draws is rounded."""
_FINEST_STEP = 1e-7
"""Share of the largest value: below it, Optuna finds that the errors of floats lie beside its steps."""


class Rectangle:
    """The space of a search for samplers."""

    def __init__(self, search: Search) -> None:
        self._search = search
        self._axes = search.space.axes
        self._ranked = {
            name: tuple(sorted(axis.choices))
            for name, axis in self._axes.items()
            if isinstance(axis, Choices) and all(_is_number(choice) for choice in axis.choices)
        }

    @cached_property
    def distributions(self) -> Mapping[str, BaseDistribution]:
        """The values of each field."""
        return {
            name: IntDistribution(0, len(self._ranked[name]) - 1) if name in self._ranked else distribution(axis)
            for name, axis in self._axes.items()
        }

    def encoded(self, params: Params) -> dict[str, Any]:
        """Values for every field, of a point's."""
        return {name: self._code(name, params[name]) if name in params else self._idle[name] for name in self._axes}

    def encoded_some(self, params: Params) -> dict[str, Any]:
        """The same of the fields that are given."""
        return {name: self._code(name, value) for name, value in params.items()}

    def decoded(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """A point's values, of values for every field."""
        found = {
            name: self._ranked[name][values[name]] if name in self._ranked else values[name] for name in self._axes
        }
        return self._search.space.snapped({name: found[name] for name in self._search.active(found)})

    def _code(self, name: str, value: Any) -> Any:
        return self._ranked[name].index(value) if name in self._ranked else value

    @cached_property
    def _idle(self) -> Mapping[str, Any]:
        """The value of a field that a point does not have."""
        return {
            name: self._code(name, axis.choices[0]) if isinstance(axis, Choices) else axis.low
            for name, axis in self._axes.items()
        }


def distributions_of(space: Space, trials: Iterable[FrozenTrial] = ()) -> dict[str, BaseDistribution]:
    """The values of each field as a user gave them, with choices in the order that the trials of a study have."""
    found = {name: distribution(axis) for name, axis in space.axes.items()}
    for trial in trials:
        for name, kind in trial.distributions.items():
            if name in found and kind != found[name] and _have_equal_choices(kind, found[name]):
                found[name] = kind
    return found


def _have_equal_choices(one: BaseDistribution, other: BaseDistribution) -> bool:
    if not isinstance(one, CategoricalDistribution) or not isinstance(other, CategoricalDistribution):
        return False
    kinds = [{(type(choice), choice) for choice in each.choices} for each in (one, other)]
    return kinds[0] == kinds[1]


def distribution(axis: Axis) -> BaseDistribution:
    """The values of a field as Optuna knows them."""
    if isinstance(axis, Choices):
        return CategoricalDistribution(axis.choices)
    values = axis.values()
    high = axis.high if values is None else values[-1]  # Optuna warns of bounds between two steps
    if axis.whole:
        return IntDistribution(int(axis.low), int(high), log=axis.log, step=int(axis.step or 1))
    finest = max(_FINEST_STEP * max(abs(axis.low), abs(axis.high)), (high - axis.low) / MOST_STEPS)
    step = axis.step if axis.step and axis.step > finest else None
    return FloatDistribution(axis.low, high, log=axis.log, step=step)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
