"""How a field of the settings describes itself: captions, axes, tables, searches and reports read this."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from pydantic import BaseModel

Role = Literal["model", "network", "data", "training", "measurement"]
"""What a field belongs to: the quantizer, the network around it, the vectors, how codes are learned from them, or only
what is measured of the result, in which points may differ that are compared."""


@dataclass(frozen=True, kw_only=True)
class Axis:
    """A settings field, as figures and tables show it: `Annotated[int, Axis(symbol="D", label="dimension", ...)]`."""

    label: str
    """What it is called in a sentence: `dimension`."""
    symbol: str = ""
    """What it is called in a legend: `D`. Empty: the label serves."""
    unit: str = ""
    role: Role = "model"
    neutral: Any = None
    """What a quantizer without this field counts as, such as 1 for `slices`; None where it has no such value."""
    example: Any = None
    """A value, or a list of several, for a first sweep; None: the default serves."""
    names: Mapping[str, str] | None = None
    """What values are called that are not shown as they are: `{"cifar10": "CIFAR-10"}`."""
    stands_alone: bool = False
    """Whether a value needs no name before it: `PQ8x8`, and not `factory string = PQ8x8`."""
    is_id: bool = False
    """Whether values only tell things apart: they are shortened, and no figure has them along an axis."""

    def title(self) -> str:
        """For an axis of a figure: `dimension D`."""
        named = f"{self.label} {self.symbol}".strip()
        return f"{named} ({self.unit})" if self.unit else named

    def value(self, value: Any) -> str:
        """A value as a reader sees it."""
        return (self.names or {}).get(str(value), str(value))


@cache
def axes_of(settings: type[BaseModel]) -> Mapping[str, Axis]:
    """The declaration of each field of a settings class; its name stands for one that has none."""
    found = {}
    for name, info in settings.model_fields.items():
        declared = [each for each in info.metadata if isinstance(each, Axis)]
        found[name] = declared[-1] if declared else Axis(label=name.replace("_", " "))
    return found


def shared_axes(one: type[BaseModel], other: type[BaseModel]) -> Mapping[str, Axis]:
    """Declarations of the fields that two settings classes both have, and declare alike.

    Two quantizers may each have a field of a name that is not the same thing, such as where training starts.
    """
    others = axes_of(other)
    return {name: axis for name, axis in axes_of(one).items() if others.get(name) == axis}
