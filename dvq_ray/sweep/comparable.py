"""Which points of two quantizers can be compared: on equal data, with equal network and training, at an equal size."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from itertools import combinations

from dvq_ray.declarations.field import Role, axes_of, shared_axes
from dvq_ray.sweep.cells import Point
from dvq_ray.sweep.until import At, Comparison

_DIGITS = 6
"""Bits that agree so far are equal: logarithms are rounded."""
_ALIKE: Mapping[At, Collection[Role]] = {
    "equal_bits": ("network", "training"),
    "equal_parameters": ("network", "training"),
    "equal_settings": ("network", "training", "model"),
}
"""Roles of fields that may not differ where both quantizers have them."""


def comparable_pairs(
    points: Iterable[Point], rule: Comparison, parameters: Mapping[str, float]
) -> list[tuple[Point, Point]]:
    """Pairs of points of two of the rule's quantizers, those of the one that it names earlier first.

    `parameters` has the numbers that models hold, by point id. It is only needed at equal parameters, where points that
    it does not have are in no pair.
    """
    alike: dict[Hashable, dict[str, list[Point]]] = {}
    for point in points:
        quantizer = point.settings.quantizer
        size = _size(point, rule.at, parameters)
        if quantizer in rule.quantizers and size is not None:
            alike.setdefault((size, _data(point)), {}).setdefault(quantizer, []).append(point)
    return [
        pair
        for by_quantizer in alike.values()
        for one, other in combinations(rule.quantizers, 2)
        if one in by_quantizer and other in by_quantizer
        for pair in _agreeing(by_quantizer[one], by_quantizer[other], _ALIKE[rule.at])
    ]


def _size(point: Point, at: At, parameters: Mapping[str, float]) -> float | None:
    if at == "equal_bits":
        return round(point.settings.code_bits(), _DIGITS)
    return parameters.get(point.point_id) if at == "equal_parameters" else 0.0


def _data(point: Point) -> Hashable:
    axes = axes_of(type(point.settings))
    return tuple((name, getattr(point.settings, name)) for name in sorted(axes) if axes[name].role == "data")


def _agreeing(ours: Sequence[Point], theirs: Sequence[Point], roles: Collection[Role]) -> Iterator[tuple[Point, Point]]:
    """Pairs whose values are equal in all fields of these roles that both quantizers have, and declare alike."""
    axes = shared_axes(*(type(points[0].settings) for points in (ours, theirs)))
    shared = [name for name, axis in axes.items() if axis.role in roles and name != "quantizer"]
    by_values: dict[Hashable, list[Point]] = {}
    for point in theirs:
        by_values.setdefault(tuple(getattr(point.settings, name) for name in shared), []).append(point)
    for point in ours:
        for other in by_values.get(tuple(getattr(point.settings, name) for name in shared), ()):
            yield point, other
