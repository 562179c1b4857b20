"""The space of a search: the values that each searched field may take."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Params = Mapping[str, Any]
"""A value for every searched field."""


@dataclass(frozen=True, kw_only=True)
class Choices:
    """A field that takes one of some values."""

    choices: tuple[Any, ...]

    def values(self) -> tuple[Any, ...] | None:
        """All values."""
        return self.choices

    def __str__(self) -> str:
        return ", ".join(map(str, self.choices))


@dataclass(frozen=True, kw_only=True)
class Range:
    """A field that takes a number between two bounds, both included."""

    low: float
    high: float
    log: bool
    """Whether equal ratios are equally likely, and not equal differences."""
    step: float | None
    """Between neighbouring values, from `low` on."""
    whole: bool
    """Whether the field takes whole numbers alone."""

    def values(self) -> tuple[Any, ...] | None:
        """All values; None where there is a continuum of them."""
        if self.whole:
            return tuple(range(int(self.low), int(self.high) + 1, int(self.step or 1)))
        if self.step is None:
            return (self.low,) if self.low == self.high else None
        count = math.floor((self.high - self.low) / self.step * (1 + 1e-12)) + 1
        return tuple(self.low + i * self.step for i in range(count))

    def __str__(self) -> str:
        notes = [f"in steps of {self.step:g}"] if self.step else ["whole numbers"] if self.whole else []
        notes += ["log scale"] if self.log else []
        return " ".join([f"{self.low:g} to {self.high:g}", *([f"({', '.join(notes)})"] if notes else [])])


Axis = Choices | Range


@dataclass(frozen=True)
class Space:
    """The fields that are searched."""

    axes: Mapping[str, Axis]

    def size(self) -> int | None:
        """Number of combinations; None where there is a continuum of them."""
        counts = [axis.values() for axis in self.axes.values()]
        return None if None in counts else math.prod(len(values) for values in counts if values is not None)

    def combinations(self) -> Iterator[dict[str, Any]]:
        """All of them, the last field changing fastest. The space must be finite."""
        values = [axis.values() for axis in self.axes.values()]
        assert None not in values
        for combination in itertools.product(*(each for each in values if each is not None)):
            yield dict(zip(self.axes, combination, strict=True))
