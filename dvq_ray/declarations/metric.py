"""How a metric column describes itself: what it is called, its unit, and which way is better."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A metric column: `Annotated[float, Metric(label="test loss", better="lower")]`."""

    label: str
    """What it is called in a sentence and along an axis."""
    unit: str = ""
    better: Literal["lower", "higher"] | None = None
    """None for what describes a cell and does not rank it."""
    is_result: bool = True
    """Whether equal cells have equal values; false for speed and memory."""
    is_size: bool = False
    """Whether it counts the numbers that a model holds: cells that agree in it have equally many parameters."""
    is_condition: bool = False
    """Whether it says on what, or how, a cell was computed: cells that differ in it are not compared."""
    is_per_codebook: bool = False
    """Whether it is a list with an entry for each codebook."""
    is_rate: bool = False
    """Whether it is what the codes of a vector or image take in bits: a rate beside the nominal one."""
    yardstick_for: str = ""
    """The metric that this one is a reference level of, such as `test_mse` for the error of predicting the mean."""

    def title(self) -> str:
        """For an axis of a figure: `test loss (mean squared error)`."""
        return f"{self.label} ({self.unit})" if self.unit else self.label


@cache
def metrics_of(columns: type) -> Mapping[str, Metric]:
    """The declaration of each field of a dataclass of metrics or of curve columns; its name stands for one without."""
    hints = typing.get_type_hints(columns, include_extras=True)
    found = {}
    for column in fields(columns):
        declared = [each for each in getattr(hints[column.name], "__metadata__", ()) if isinstance(each, Metric)]
        found[column.name] = declared[-1] if declared else Metric(label=column.name.replace("_", " "))
    return found
