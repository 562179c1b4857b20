"""What one cell computes: the scientific fields of a trainable, without the seed.

A trainable has one `Settings` class for each of its quantizers, so that a field which a quantizer does not have
(slices of a plain VQ, the learning rate of k-means) cannot be given to it, and is no part of its identity.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, model_validator


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
    divisors = [n for n in range(1, dimension + 1) if dimension % n == 0]
    return f"does not divide dimension = {dimension}; allowed: {', '.join(map(str, divisors))}"
