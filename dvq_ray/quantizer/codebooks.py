"""Codebooks, and the ways they learn: by gradient, as moving averages, from clusters, by moving dead codes.

Letters in shapes: L codebooks, K codes, N vectors, d features of a code. All randomness comes from a generator that
the caller hands in; nothing here waits for a GPU.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dvq_ray.quantizer.nearest import count_by_code, nearest_codes, sum_by_code

INITIAL_DEVIATION = 0.1
"""Of the truncated normal distribution that initial codes come from, as in the author's code."""


class Codebooks(nn.Module):
    """Codes [L, K, d], and how they learn from a batch what gradients do not teach them."""

    codes: Tensor

    def update(self, vectors: Tensor, indices: Tensor) -> None:
        """Learns from a batch of `vectors` [L, N, d] with their nearest codes [L, N]."""
        raise NotImplementedError

    @torch.no_grad()
    def move(self, chosen: Tensor, vectors: Tensor) -> None:
        """Sets the codes chosen [L, K] to those of `vectors` [L, K, d]."""
        self.codes.copy_(torch.where(chosen.unsqueeze(-1), vectors, self.codes))


class GradientCodebooks(Codebooks):
    """Codes [L, K, d] that learn by gradient (equation 1)."""

    def __init__(self, codes: Tensor) -> None:
        super().__init__()
        self.codes = nn.Parameter(codes)

    def update(self, vectors: Tensor, indices: Tensor) -> None:
        """Does nothing."""


class EmaCodebooks(Codebooks):
    """Codes [L, K, d] that are moving averages of their vectors (1711.00937, appendix A.1); no gradient reaches them.

    `counts` [L, K] and `sums` [L, K, d] are the averages of how many vectors of a batch have a code nearest, and of
    their sum; a code is the ratio, its count smoothed as if each code had `epsilon` vectors more.
    """

    counts: Tensor
    sums: Tensor

    def __init__(self, codes: Tensor, *, decay: float, epsilon: float = 1e-5) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"decay = {decay}; allowed: at least 0 and below 1")
        super().__init__()
        self.decay = decay
        self.epsilon = epsilon
        self.register_buffer("codes", codes)
        self.register_buffer("counts", torch.ones(codes.shape[:2], dtype=codes.dtype))
        self.register_buffer("sums", codes.clone())

    @torch.no_grad()
    def update(self, vectors: Tensor, indices: Tensor) -> None:
        """Takes a batch of `vectors` [L, N, d] with their nearest codes [L, N] into the averages."""
        size = self.codes.shape[1]
        self.counts.lerp_(count_by_code(indices, size).to(self.counts.dtype), 1 - self.decay)
        self.sums.lerp_(sum_by_code(vectors, indices, size), 1 - self.decay)
        total = self.counts.sum(-1, keepdim=True)
        smoothed = (self.counts + self.epsilon) / (total + size * self.epsilon) * total
        self.codes.copy_(self.sums / smoothed.unsqueeze(-1))

    @torch.no_grad()
    def move(self, chosen: Tensor, vectors: Tensor) -> None:
        """Sets the codes chosen [L, K] to those of `vectors` [L, K, d], each as the average of that one vector."""
        super().move(chosen, vectors)
        self.counts.masked_fill_(chosen, 1)
        self.sums.copy_(torch.where(chosen.unsqueeze(-1), vectors, self.sums))


@dataclass(frozen=True, kw_only=True)
class KMeansStart:
    """Initial codes are clusters of the first batch's vectors (2107.03312)."""

    iterations: int = 10

    def __call__(self, vectors: Tensor, codebook_size: int, generator: torch.Generator) -> Tensor:
        """Means [L, K, d] of clusters of `vectors` [L, N, d]; raises ValueError where N is less than K."""
        return k_means(vectors, codebook_size, generator, iterations=self.iterations)


class DeadCodeRestart(nn.Module):
    """Moves codes that hardly any vector is nearest to onto vectors of the batch (2005.00341).

    `usage` [L, K] is a moving average of the share of a batch's vectors that each code has. It starts at an equal
    share, 1 / K, and so does a code that was moved, so that it has time to gather vectors.
    """

    usage: Tensor

    def __init__(self, codebooks: int, codebook_size: int, *, below: float, decay: float = 0.99) -> None:
        if below <= 0:
            raise ValueError(f"below = {below}; allowed: above 0")
        super().__init__()
        self.below = below
        self.decay = decay
        self.register_buffer("usage", torch.full((codebooks, codebook_size), 1 / codebook_size))

    @torch.no_grad()
    def forward(self, codebooks: Codebooks, vectors: Tensor, indices: Tensor, generator: torch.Generator) -> None:
        """Moves codes to which fewer than `below` vectors of a batch are nearest, on average.

        `vectors` [L, N, d] are a batch, `indices` [L, N] their nearest codes.
        """
        (count, size), number = self.usage.shape, vectors.shape[1]
        self.usage.lerp_(count_by_code(indices, size).to(self.usage.dtype) / number, 1 - self.decay)
        dead = self.usage * number < self.below
        # One order for all codebooks: two that share their vectors should not move to the same ones.
        order = torch.randperm(number, generator=generator, device=generator.device).to(vectors.device)
        picks = order[torch.arange(count * size, device=vectors.device) % number].view(count, size, 1)
        codebooks.move(dead, vectors.gather(1, picks.expand(-1, -1, vectors.shape[-1])))
        self.usage.masked_fill_(dead, 1 / size)


@dataclass(frozen=True, kw_only=True)
class Learning:
    """How codebooks learn: by default by gradient, from codes of a truncated normal distribution."""

    ema_decay: float | None = None
    """Codes are moving averages of their latents with this decay, see `EmaCodebooks`; None: they take gradients."""
    start: KMeansStart | None = None
    restart_below: float | None = None
    """Codes with fewer latents of a batch, on average, are moved, see `DeadCodeRestart`; None: never."""
    rotates_gradients: bool = False
    """Whether the gradient of the codes goes to the latents turned as these are, see `dvq_ray/quantizer/rotation.py`;
    else it goes straight through."""

    def codebooks(self, codes: Tensor) -> Codebooks:
        """Codebooks that begin at `codes` [L, K, d]."""
        return GradientCodebooks(codes) if self.ema_decay is None else EmaCodebooks(codes, decay=self.ema_decay)

    def restart(self, codes: Tensor) -> DeadCodeRestart | None:
        """What moves dead ones of the `codes` [L, K, d]."""
        return None if self.restart_below is None else DeadCodeRestart(*codes.shape[:2], below=self.restart_below)


@torch.no_grad()
def k_means(vectors: Tensor, codebook_size: int, generator: torch.Generator, *, iterations: int = 10) -> Tensor:
    """Means [L, K, d] of K clusters of the `vectors` [L, N, d] of each codebook, after Lloyd's iterations.

    Begins at K different vectors drawn by `generator`. A cluster that loses all its vectors stays where it is. Raises
    ValueError where N is less than K.
    """
    number = vectors.shape[1]
    if number < codebook_size:
        raise ValueError(f"{number} vectors for {codebook_size} clusters; allowed: at least {codebook_size}")
    order = torch.randperm(number, generator=generator, device=generator.device).to(vectors.device)
    means = vectors[:, order[:codebook_size]].contiguous()
    for _ in range(iterations):
        indices = nearest_codes(vectors, means)
        counts = count_by_code(indices, codebook_size).unsqueeze(-1)
        means = torch.where(counts > 0, sum_by_code(vectors, indices, codebook_size) / counts.clamp(min=1), means)
    return means


def initial_codes(codebooks: int, codebook_size: int, features: int, generator: torch.Generator) -> Tensor:
    """Codes [L, K, d] of a normal distribution, cut off at two deviations, drawn on the CPU."""
    codes = torch.empty(codebooks, codebook_size, features)
    bound = 2 * INITIAL_DEVIATION
    return nn.init.trunc_normal_(codes, std=INITIAL_DEVIATION, a=-bound, b=bound, generator=generator)
