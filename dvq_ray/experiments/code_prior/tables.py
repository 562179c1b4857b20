"""Priors that are tables of probabilities: each code is independent of those before it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

import numpy as np
import numpy.typing as npt

from dvq_ray.experiments.code_prior.prior import Arrays, FittedPrior, Probabilities, Stepper


class TableStepper(Stepper):
    """Looks up what a table has for the next code."""

    def __init__(self, tables: Sequence[Probabilities]) -> None:
        """`tables` has one [1, K] for each code of a sample, in their order."""
        self._tables = tables
        self._place = 0

    def probabilities(self) -> Probabilities:
        """[1, K]"""
        return self._tables[self._place]

    def see(self, codes: npt.NDArray[np.int64]) -> None:
        """Goes on to the next code."""
        self._place += 1


class TablePrior(FittedPrior):
    """A table for each code of a sample."""

    def table(self, position: int, place: int) -> Probabilities:
        """Of a code: [K]."""
        raise NotImplementedError

    def stepper(self, samples: int) -> Stepper:
        """At the first code."""
        layout = self.layout
        return TableStepper([
            self.table(position, place)[None] for position in range(layout.positions) for place in range(layout.codes)
        ])  # fmt: skip


def shares(counts: npt.NDArray[np.integer], added: Probabilities | float) -> Probabilities:
    """Probabilities from how often each code occurs [K], with something above 0 `added` to each."""
    smoothed = np.asarray(counts + added, np.float64)
    # Not numpy's sum, whose order depends on the processor.
    total = float(_sum(smoothed))
    return np.asarray(smoothed / total, np.float64)


def _sum(values: npt.NDArray[np.float64]) -> float:
    total = 0.0
    for value in values.tolist():
        total += value
    return total


def named(prefix: str, arrays: Sequence[npt.NDArray[np.int64]]) -> dict[str, npt.NDArray[np.integer]]:
    """Arrays of counts by name, each of the smallest type that holds them."""
    return {f"{prefix}{place}": array.astype(smallest(array)) for place, array in enumerate(arrays)}


def unnamed(prefix: str, arrays: Arrays) -> list[npt.NDArray[np.int64]]:
    """What `named` named."""
    found: list[npt.NDArray[np.int64]] = []
    for place in count():
        if f"{prefix}{place}" not in arrays:
            return found
        found.append(arrays[f"{prefix}{place}"].astype(np.int64))
    return found


def smallest(array: npt.NDArray[np.integer]) -> type[np.unsignedinteger]:
    """The unsigned type that holds what is there."""
    largest = int(array.max(initial=0))
    return next(kind for kind in (np.uint8, np.uint16, np.uint32, np.uint64) if largest <= np.iinfo(kind).max)
