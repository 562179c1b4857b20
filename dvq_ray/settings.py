"""What one cell computes: the scientific fields of a trainable, without the seed.

A trainable has one `Settings` class for each of its quantizers, so that a field which a quantizer does not have
(slices of a plain VQ, the learning rate of k-means) cannot be given to it, and is no part of its identity.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

Count = Annotated[int, Field(ge=1, le=10**15)]
"""At most more than can be computed, and little enough that a default of a few times as many fits into a column."""
_LARGEST_DIVISOR_TRIED = 10_000
_SHOWN_DIVISORS = 40


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A relation that several fields of a settings class must keep."""

    fields: tuple[str, ...]
    """The fields that the rule reads. A breach is reported at the first of them."""

    breach: Callable[..., str | None]
    """Takes the values of `fields`, in their order; says what is wrong and what is allowed, or None."""


class Settings(BaseModel):
    """Every scientific field of a cell but its seed, defaults filled in.

    Anything that cannot change the result (paths, resources, device, packing) has no place here, because all of
    it goes into the cell's id. Values are taken as they are: "4" is no number and 4.0 no count.
    """

    model_config = ConfigDict(
        strict=True, extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    rules: ClassVar[tuple[Rule, ...]] = ()
    logs_curve: ClassVar[bool] = True
    """Whether every cell that is done has logged steps."""

    quantizer: str
    """Which settings class this is; each class allows one value."""

    @model_validator(mode="after")
    def _keeps_rules(self) -> Settings:
        for rule in self.rules:
            breach = rule.breach(*(getattr(self, field) for field in rule.fields))
            if breach:
                raise ValueError(f"{rule.fields[0]} {breach}")
        return self

    def nominal_seconds(self) -> float:
        """About how long one cell takes on one core of a 2026 server.

        Used to fill packs, to order them and, scaled by what was measured, to foretell durations.
        """
        raise NotImplementedError

    def code_bits(self) -> float:
        """Bits of the codes of one thing that is quantized, a vector or an image, all codes being equally likely."""
        raise NotImplementedError

    def columns(self) -> Mapping[str, Any]:
        """The configuration columns of the cell's row in the store."""
        return self.model_dump()


def slices_divide(slices: int, dimension: int) -> str | None:
    """The breach of a rule that slices are equal parts of the features."""
    if dimension % slices == 0:
        return None
    return f"does not divide dimension = {dimension}; allowed: {_divisors(dimension)}"


def _divisors(number: int) -> str:
    """The divisors of the number, the smaller ones where there are many or where looking for all would take long."""
    small = [n for n in range(1, min(math.isqrt(number), _LARGEST_DIVISOR_TRIED) + 1) if number % n == 0]
    is_complete = number <= _LARGEST_DIVISOR_TRIED**2
    divisors = sorted({*small, *(number // n for n in small)}) if is_complete else small
    shown = ", ".join(map(str, divisors[:_SHOWN_DIVISORS]))
    return shown if is_complete and len(divisors) <= _SHOWN_DIVISORS else f"{shown}, ..."
