"""Priors that are causal networks, trained by gradient."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, ClassVar

from dvq_ray.experiments.code_prior.integer_network import IntegerNetwork
from dvq_ray.experiments.code_prior.layout import Codes
from dvq_ray.experiments.code_prior.prior import Fit, FittedPrior, Prior

if TYPE_CHECKING:
    from dvq_ray.experiments.code_prior.settings import CodePriorSettings


class NetworkPrior(Prior):
    """How many convolutions there are is all in which these differ."""

    takes: ClassVar[Sequence[str]] = ("prior_width", "prior_steps", "prior_learning_rate", "prior_batch_positions")
    fitted: ClassVar[type[FittedPrior]] = IntegerNetwork

    @classmethod
    def convolutions(cls, settings: CodePriorSettings) -> int:
        """Over the positions before."""
        raise NotImplementedError

    @classmethod
    def fit(cls, codes: Codes, fit: Fit) -> FittedPrior:
        """Trains to the end."""
        steps = cls.fitting(codes, fit)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                prior: FittedPrior = end.value
                return prior

    @classmethod
    def fitting(cls, codes: Codes, fit: Fit) -> Generator[float, None, FittedPrior]:
        """Trains."""
        from dvq_ray.experiments.code_prior.training import trained  # with torch, which other priors do without

        return (yield from trained(codes, fit, cls.convolutions(fit.settings)))
