"""How quantizers without codebooks round a channel: to evenly spaced levels, or to its sign."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize

from dvq_ray.quantizer.projected_module import Rounding, straight_through

_BEYOND = 1e-3
"""By how much the bound of a channel goes beyond its outermost levels, as in the paper's code."""
INVERSE_TEMPERATURE = 100.0
"""Of the soft assignment whose entropy is penalised, as in vector-quantize-pytorch and in the code of BSQ."""


class Levels(Rounding):
    """Whole numbers between bounds, over half the levels: from -1 to 1 (Mentzer et al., arXiv 2309.15505, section 3.1).

    With an even number of levels they lie lower by a half before, so that the lowest one is -1.
    """

    counts: Tensor

    def __init__(self, counts: Sequence[int]) -> None:
        super().__init__()
        self.register_buffer("counts", torch.tensor(counts, dtype=torch.float32))

    def forward(self, channels: Tensor) -> tuple[Tensor, Tensor]:
        """See `Rounding`; without a penalty."""
        half = (self.counts - 1) * (1 + _BEYOND) / 2
        offset = 0.5 * (self.counts % 2 == 0)
        bounded = (channels + (offset / half).atanh()).tanh() * half - offset
        return straight_through(bounded.round(), bounded) / self._half_width(), channels.new_zeros(())

    def indices(self, values: Tensor) -> Tensor:
        """See `Rounding`."""
        return ((values + 1) * self._half_width()).round().long()

    def values(self, indices: Tensor) -> Tensor:
        """See `Rounding`."""
        return indices / self._half_width() - 1

    def _half_width(self) -> Tensor:
        return self.counts.div(2, rounding_mode="floor")


class Signs(Rounding):
    """One bit of each channel: 1 where it is above 0, else -1 (Yu et al., arXiv 2310.05737, section 3.1).

    On the sphere (Zhao et al., arXiv 2406.07548) channels are first divided by their length, and so are the signs.
    The penalty is the entropy of the soft assignment of each vector, less that of their mean over all vectors. Both are
    sums over channels: exact of a vector, an upper bound of the mean (Zhao et al., section 3.3).
    """

    def __init__(self, *, sphere: bool, entropy_weight: float) -> None:
        super().__init__()
        self.sphere = sphere
        self.entropy_weight = entropy_weight

    def forward(self, channels: Tensor) -> tuple[Tensor, Tensor]:
        """See `Rounding`."""
        placed = normalize(channels, dim=-1) if self.sphere else channels
        size = channels.shape[-1] ** -0.5 if self.sphere else 1.0
        signs = torch.where(placed > 0, size, -size).to(placed.dtype)
        if not self.entropy_weight:
            return straight_through(signs, placed), channels.new_zeros(())
        log_odds = 4 * INVERSE_TEMPERATURE * size * placed
        of_each = _entropy(log_odds).sum(-1).mean()
        mean = log_odds.sigmoid().flatten(0, -2).mean(0)
        # Where all vectors are sure of one sign, a mean of exactly 0 or 1 would have an infinite gradient.
        precision = torch.finfo(mean.dtype)
        mean = mean.clamp(precision.tiny, 1 - precision.eps / 2)
        of_mean = (torch.special.entr(mean) + torch.special.entr(1 - mean)).sum()
        return straight_through(signs, placed), self.entropy_weight * (of_each - of_mean)

    def indices(self, values: Tensor) -> Tensor:
        """See `Rounding`."""
        return (values > 0).long()

    def values(self, indices: Tensor) -> Tensor:
        """See `Rounding`."""
        signs = indices.to(torch.get_default_dtype()) * 2 - 1
        return normalize(signs, dim=-1) if self.sphere else signs


def _entropy(log_odds: Tensor) -> Tensor:
    """In nats, of a bit with these log odds; finite where one value is all but certain."""
    size = log_odds.abs()
    return torch.nn.functional.softplus(-size) + size * torch.sigmoid(-size)
