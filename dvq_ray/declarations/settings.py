"""What one cell computes: the scientific fields of an experiment and of its quantizer, without the seed.

Each pair of an experiment and a quantizer has a settings class of its own, so that a field which a quantizer does not
have (slices of a plain VQ, the learning rate of k-means) cannot be given to it, and is not part of its identity.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from dvq_ray.declarations.attribute_docstrings import attribute_docstrings
from dvq_ray.providers import Providers

Count = Annotated[int, Field(ge=1, le=10**15)]
"""At most more than can be computed, and little enough that a default of a few times as many fits into a column."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A relation that several fields of a settings class must keep."""

    fields: tuple[str, ...]
    """The fields that the rule reads. A breach is reported at the first of them."""

    breach: Callable[..., str | None]
    """Takes the values of `fields`, in their order; says what is wrong and what is allowed, or None."""


@dataclass(frozen=True, kw_only=True)
class Owner:
    """What decides whether a point has a field."""

    field: str
    """Another field."""
    has: Callable[[Any], bool]
    """Takes a value of that one."""


class Settings(BaseModel):
    """Every scientific field of a cell but its seed, defaults filled in.

    Anything that cannot change the result (paths, resources, device, packing) has no place here, because all of
    it goes into the cell's id. Values are not converted: "4" is not a number, and 4.0 is not a count.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)

    rules: ClassVar[tuple[Rule, ...]] = ()
    logs_curve: ClassVar[bool] = True
    """Whether every cell that is done has logged steps."""

    added: ClassVar[Mapping[str, Any]] = {}
    """Fields that were added after cells had been stored, with the value that those cells had. A field with that value
    is left out of a cell's identity, so that stored ids stay as they are. Entries are never removed."""

    provided: ClassVar[Mapping[str, Providers[Any]]] = {}
    """Fields, beside the quantizer, that name something a package of the user's own can provide. Their values are full
    names."""

    owned: ClassVar[Mapping[str, Owner]] = {}
    """Fields that points have only where another field says so. Rows of the other points leave them empty."""

    neutral: ClassVar[Mapping[str, Any]] = {}
    """By column, what a quantizer without a field counts as in the rows of this experiment (`Axis.neutral`)."""

    quantizer: str
    """Which settings class this is; each class allows one value."""

    @classmethod
    def __pydantic_init_subclass__(cls, **options: Any) -> None:
        """Takes the text below each field as its description."""
        for name, text in attribute_docstrings(cls).items():
            if name in cls.model_fields:
                cls.model_fields[name].description = text

    @model_validator(mode="after")
    def _keeps_rules(self) -> Settings:
        values = vars(self)
        for rule in _rules_of(type(self)):
            breach = rule.breach(*[values[field] for field in rule.fields])
            if breach:
                raise ValueError(f"{rule.fields[0]} {breach}")
        return self

    def nominal_seconds(self) -> float:
        """About how long one cell takes on one core of a 2026 server.

        Used to fill packs, to order them and, scaled by what was measured, to predict durations.
        """
        raise NotImplementedError

    def code_bits(self) -> float:
        """Bits of the codes of one thing that is quantized, a vector or an image, all codes being equally likely."""
        raise NotImplementedError

    def missing_here(self, device: str) -> str | None:
        """What this machine does not have that a cell needs on `device`, `cpu` or `cuda`, and what is allowed."""
        return None

    def identity(self) -> Mapping[str, Any]:
        """The fields that go into a cell's id."""
        fields = vars(self)  # model_dump would copy each value first
        if not self.added:
            return fields
        return {name: value for name, value in fields.items() if name not in self.added or value != self.added[name]}

    def columns(self) -> Mapping[str, Any]:
        """The configuration columns of the cell's row in the store."""
        empty = [name for name, owner in self.owned.items() if not owner.has(getattr(self, owner.field))]
        return {**self.neutral, **self.model_dump(), **dict.fromkeys(empty)}


@cache
def _rules_of(settings: type[Settings]) -> list[Rule]:
    """The rules of which a class has all fields: a quantizer on its own has none of an experiment's."""
    return [rule for rule in settings.rules if settings.model_fields.keys() >= {*rule.fields}]
