"""How often each code of a codebook occurs, the same at all positions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

import numpy as np
import numpy.typing as npt

from dvq_ray.experiments.code_prior.layout import Codes, Layout
from dvq_ray.experiments.code_prior.prior import Arrays, Fit, FittedPrior, Prior, Probabilities
from dvq_ray.experiments.code_prior.tables import TablePrior, named, shares, unnamed
from dvq_ray.quantizer.usage import ADDED


class FittedUnigram(TablePrior):
    """Half an occurrence is added to each code (Krichevsky and Trofimov), as in the rows of the experiments."""

    def __init__(self, layout: Layout, counts: Sequence[npt.NDArray[np.int64]]) -> None:
        """`counts` has for each codebook how often its codes occur: [K]."""
        super().__init__(layout)
        self.counts = counts
        self._shares = [shares(each, ADDED) for each in counts]

    def table(self, position: int, place: int) -> Probabilities:
        """[K]"""
        return self._shares[self.layout.codebook(position, place)]

    def arrays(self) -> Arrays:
        """The counts of each codebook."""
        return named("counts", self.counts)

    @classmethod
    def rebuilt(cls, layout: Layout, arrays: Arrays) -> Self:
        """From the counts."""
        return cls(layout, unnamed("counts", arrays))


class Unigram(Prior):
    """Counts the codes of each codebook."""

    rank: ClassVar[int] = 1
    fitted: ClassVar[type[FittedPrior]] = FittedUnigram

    @classmethod
    def fit(cls, codes: Codes, fit: Fit) -> FittedUnigram:
        """Counts."""
        columns = zip(fit.layout.pooled(codes), fit.layout.sizes, strict=True)
        return FittedUnigram(fit.layout, [np.bincount(column, minlength=size) for column, size in columns])


PRIOR = Unigram
