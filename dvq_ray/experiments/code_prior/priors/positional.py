"""How often each code occurs at each position: a table for each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

import numpy as np
import numpy.typing as npt

from dvq_ray.experiments.code_prior.layout import Codes, Layout
from dvq_ray.experiments.code_prior.prior import Arrays, Fit, FittedPrior, Prior, Probabilities
from dvq_ray.experiments.code_prior.tables import TablePrior, named, shares, unnamed
from dvq_ray.quantizer.usage import ADDED

WEIGHTS = tuple(2**power for power in range(-2, 21))
"""Occurrences that the codebook's distribution over all positions counts as at each of them."""


class FittedPositional(TablePrior):
    """To the counts at a position, some occurrences are added, dealt out as the codebook's unigram distribution."""

    def __init__(self, layout: Layout, counts: Sequence[npt.NDArray[np.int64]], weight: float) -> None:
        """`counts` has [P, K] for each code of a position."""
        super().__init__(layout)
        self.counts = counts
        self.weight = weight
        self._shares = [_shares(layout, place, each, weight) for place, each in enumerate(counts)]

    def table(self, position: int, place: int) -> Probabilities:
        """[K]"""
        return self._shares[place][position]

    def arrays(self) -> Arrays:
        """The counts, and the weight of the unigram distribution, in quarters of an occurrence."""
        return {**named("counts", self.counts), "weight": np.array([int(4 * self.weight)], np.uint32)}

    @classmethod
    def rebuilt(cls, layout: Layout, arrays: Arrays) -> Self:
        """From its arrays."""
        return cls(layout, unnamed("counts", arrays), int(arrays["weight"][0]) / 4)


class Positional(Prior):
    """Counts the codes at each position.

    How much a position's own counts are trusted is decided by the training codes: the weight of the rest is that with
    which each code is predicted best from all others (leave one out).
    """

    rank: ClassVar[int] = 2
    fitted: ClassVar[type[FittedPrior]] = FittedPositional
    needs_positions: ClassVar[bool] = True

    @classmethod
    def fit(cls, codes: Codes, fit: Fit) -> FittedPositional:
        """Counts."""
        layout = fit.layout
        counts = [_counts(codes[:, :, place], layout, place) for place in range(layout.codes)]
        found = {
            weight: sum(_left_out(layout, place, each, weight) for place, each in enumerate(counts))
            for weight in WEIGHTS
        }
        return FittedPositional(layout, counts, max(found, key=found.__getitem__))


def _counts(codes: npt.NDArray[np.int64], layout: Layout, place: int) -> npt.NDArray[np.int64]:
    """[P, K], of codes [N, P]; where codebooks differ in size, K is the largest."""
    size = max(layout.size(position, place) for position in range(layout.positions))
    return np.stack([np.bincount(column, minlength=size) for column in codes.T])


def _whole(layout: Layout, place: int, counts: npt.NDArray[np.int64]) -> list[Probabilities]:
    """The unigram distribution of the codebook of each position: [P] of [K]."""
    codebooks = [layout.codebook(position, place) for position in range(layout.positions)]
    total = {each: np.zeros(layout.sizes[each], np.int64) for each in dict.fromkeys(codebooks)}
    for codebook, own in zip(codebooks, counts, strict=True):
        total[codebook] += own[: layout.sizes[codebook]]
    tables = {each: shares(own, ADDED) for each, own in total.items()}
    return [tables[each] for each in codebooks]


def _shares(layout: Layout, place: int, counts: npt.NDArray[np.int64], weight: float) -> list[Probabilities]:
    whole = _whole(layout, place, counts)
    return [shares(own[: len(table)], weight * table) for own, table in zip(counts, whole, strict=True)]


def _left_out(layout: Layout, place: int, counts: npt.NDArray[np.int64], weight: float) -> float:
    """Logarithm of the probability of every training code given all others at its position."""
    from scipy.special import xlogy  # here, because reading a sweep file imports this module

    found = 0.0
    for own, table in zip(counts, _whole(layout, place, counts), strict=True):
        own, total = own[: len(table)], int(own.sum())
        found += float(xlogy(own, np.maximum(own - 1, 0) + weight * table).sum() - xlogy(total, total - 1 + weight))
    return found


PRIOR = Positional
