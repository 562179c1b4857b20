"""Each codebook's code given those of the codebooks before it at the same position.

A network with one hidden layer for each codebook, trained by gradient: a code before adds a vector of
`prior_width` numbers to its input. Tables of joint counts would need K^(L-1) contexts, far more than there are training
codes. The network shares what contexts have in common, and starts from the unigram distribution.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from dvq_ray.experiments.code_prior.network_prior import NetworkPrior

if TYPE_CHECKING:
    from dvq_ray.experiments.code_prior.settings import CodePriorSettings


class Chain(NetworkPrior):
    """All positions are alike and independent of each other."""

    rank: ClassVar[int] = 3

    @classmethod
    def convolutions(cls, settings: CodePriorSettings) -> int:
        """None."""
        return 0


PRIOR = Chain
