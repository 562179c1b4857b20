"""All codes are equally likely: the nominal rate."""

from __future__ import annotations

from typing import ClassVar, Self

import numpy as np

from dvq_ray.experiments.code_prior.layout import Codes, Layout
from dvq_ray.experiments.code_prior.prior import Arrays, Fit, FittedPrior, Prior, Probabilities
from dvq_ray.experiments.code_prior.tables import TablePrior


class FittedUniform(TablePrior):
    """Knows nothing but the sizes of the codebooks."""

    def table(self, position: int, place: int) -> Probabilities:
        """[K]"""
        size = self.layout.size(position, place)
        return np.full(size, 1 / size)

    def arrays(self) -> Arrays:
        """None."""
        return {}

    @classmethod
    def rebuilt(cls, layout: Layout, arrays: Arrays) -> Self:
        """From nothing."""
        return cls(layout)


class Uniform(Prior):
    """Learns nothing."""

    rank: ClassVar[int] = 0
    fitted: ClassVar[type[FittedPrior]] = FittedUniform

    @classmethod
    def fit(cls, codes: Codes, fit: Fit) -> FittedUniform:
        """Looks at no code."""
        return FittedUniform(fit.layout)


PRIOR = Uniform
