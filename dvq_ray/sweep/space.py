"""The space of a search: the values that each searched field may take."""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, overload

if TYPE_CHECKING:
    import pandas as pd

Params = Mapping[str, Any]
"""A value for every searched field."""


@dataclass(frozen=True, kw_only=True)
class Choices:
    """A field that takes one of some values."""

    choices: tuple[Any, ...]

    def values(self) -> Sequence[Any]:
        """All values."""
        return self.choices

    def snapped(self, value: Any) -> Any:
        """The value itself: choices have nothing between them."""
        return value

    def holds(self, value: Any) -> bool:
        """Whether it is one of the choices. `true` is not 1."""
        return any(value == choice and isinstance(value, bool) == isinstance(choice, bool) for choice in self.choices)

    def within(self, column: pd.Series[Any]) -> pd.Series[bool]:
        """Which values of a column are choices."""
        return column.isin(self.choices)

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
    """Difference of neighbouring values, from `low` on."""
    whole: bool
    """Whether the field takes whole numbers alone."""

    def values(self) -> Sequence[Any] | None:
        """All values; None where there is a continuum of them. Takes no memory, however many there are."""
        if self.whole:
            return range(int(self.low), int(self.high) + 1, int(self.step or 1))
        if self.step is None:
            return (self.low,) if self.low == self.high else None
        low, step = (Decimal(repr(number)) for number in (self.low, self.step))
        return _Steps(low, step, int((Decimal(repr(self.high)) - low) / step) + 1)

    def snapped(self, value: Any) -> Any:
        """The nearest value of the range: 0.3 for the 0.30000000000000004 that three steps of 0.1 add up to."""
        values = self.values()
        if values is None:
            return value
        place = round((value - self.low) / (self.step or 1))
        nearest = values[min(max(place, 0), len(values) - 1)]
        return value if value == nearest and not self.whole else nearest  # 1 stays 1 where 1.0 is meant

    def holds(self, value: Any) -> bool:
        """Whether it is a value of the range, the last digits of a float aside. `true` is not 1, and 4.0 no count."""
        if isinstance(value, bool) or not isinstance(value, int if self.whole else int | float):
            return False
        if not self.low - self._tolerance() <= value <= self.high + self._tolerance():
            return False
        return math.isclose(value, self.snapped(value), rel_tol=1e-15, abs_tol=self._tolerance())

    def within(self, column: pd.Series[Any]) -> pd.Series[bool]:
        """Which values of a column lie between the bounds, the last digits of a float aside."""
        return column.between(self.low - self._tolerance(), self.high + self._tolerance())

    def _tolerance(self) -> float:
        return 0 if self.whole else 1e-9 * (self.step or 0)

    def __str__(self) -> str:
        notes = [f"in steps of {_text(self.step)}"] if self.step else ["whole numbers"] if self.whole else []
        notes += ["log scale"] if self.log else []
        return " ".join([f"{_text(self.low)} to {_text(self.high)}", *([f"({', '.join(notes)})"] if notes else [])])


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

    def snapped(self, params: Params) -> dict[str, Any]:
        """The nearest values of the axes."""
        return {field: self.axes[field].snapped(value) for field, value in params.items()}


def _text(number: float) -> str:
    return str(number) if isinstance(number, int) else f"{number:.15g}"


@dataclass(frozen=True)
class _Steps(Sequence[float]):
    """`low`, `low + step` and so on, each the float that a user would write for it."""

    low: Decimal
    step: Decimal
    length: int

    def __len__(self) -> int:
        return self.length

    @overload
    def __getitem__(self, index: int) -> float: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[float]: ...
    def __getitem__(self, index: int | slice) -> float | Sequence[float]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(self.length))]
        return float(self.low + range(self.length)[operator.index(index)] * self.step)
