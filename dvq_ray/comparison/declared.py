"""What an experiment says of itself so that its quantizers can be compared on a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pandas as pd

from dvq_ray.declarations.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a file holds."""

    width: int
    """Numbers in a row."""
    train: int
    """Rows for training."""
    digest: str
    """Of all rows: the value of the experiment's `digest_column`."""


class Comparison(Protocol):
    """Declared by an experiment, under `Experiment.comparison`."""

    costs: Mapping[str, str]
    """Columns that are shown beside the metric, each with a short heading."""

    def description(self, train: str, test: str | None, columns: Sequence[str]) -> Mapping[str, Any]:
        """What `data` says in a sweep file of these files, and columns of tables where any are named.

        Raises ValueError for a name that says no format, and for columns of what is no table.
        """
        ...

    def look(self, source: Any) -> Found:
        """Opens the file. Raises ValueError where that cannot be."""
        ...

    def fields(self, variant: type[Settings], own: Mapping[str, Any]) -> Mapping[str, Any]:
        """All fields of a cell of which the quantizer has named its `own`."""
        ...

    def first_look(self, found: Found) -> Mapping[str, Any] | None:
        """Fields with which cells take seconds; None where all cells do."""
        ...

    def cautions(self, settings: Settings, rows: pd.DataFrame) -> Sequence[str]:
        """What a user should know of a point, from its finished repetitions: a sentence each, without its end."""
        ...
