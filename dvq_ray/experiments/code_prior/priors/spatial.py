"""Each code given all codes at the positions before it in raster order that a masked convolution sees, and those of the
codebooks before it at its own position.

As in PixelCNN (van den Oord, Kalchbrenner and Kavukcuoglu, "Pixel recurrent neural networks", ICML 2016), with the
chain's network for the codes of a position.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from dvq_ray.experiments.code_prior.network_prior import NetworkPrior

if TYPE_CHECKING:
    from dvq_ray.experiments.code_prior.settings import CodePriorSettings


class Spatial(NetworkPrior):
    """A window of 5x5, then `prior_convolutions` - 1 of 3x3 on top of each other, each added to what was there."""

    rank: ClassVar[int] = 4
    takes: ClassVar[Sequence[str]] = (*NetworkPrior.takes, "prior_convolutions")
    needs_positions: ClassVar[bool] = True

    @classmethod
    def convolutions(cls, settings: CodePriorSettings) -> int:
        """As the settings say."""
        return settings.prior_convolutions


PRIOR = Spatial
