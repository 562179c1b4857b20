"""The torch module of a quantizer that learns by gradient, and what it makes of a batch.

An auto-encoder holds one between encoder and decoder; the static prior trains one on vectors that do not change.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dvq_ray.quantizer.nearest import count_by_code


@dataclass(frozen=True, kw_only=True)
class Quantized:
    """What a quantizer makes of a batch of latents."""

    latents: Tensor
    """[batch, out_features, *positions], float32: the codes. Their gradient goes to the latents (equation 2)."""
    indices: Tensor
    """[batch, codebooks, codes], int64; `codes` are positions in raster order, or the regions' parts of SVQ."""
    codebook_loss: Tensor
    """Mean squared error of each codebook, summed over codebooks (equations 1 and 4); its gradient reaches codes. On
    vectors that do not change it is what training minimises."""
    commitment_loss: Tensor
    """The same value, its gradient reaching the latents alone; not yet weighted by beta (equation 2)."""
    codebook_size: int
    """Codes of each codebook; of the largest one where they differ."""

    @property
    def counts(self) -> Tensor:
        """How often each code occurs: int64 [codebooks, codebook_size]."""
        return count_by_code(self.indices.transpose(0, 1).flatten(1), self.codebook_size)

    @property
    def perplexity(self) -> Tensor:
        """[codebooks] 2 to the entropy, in bits, of the codes; from 1 to codebook_size."""
        counts = self.counts
        entropies: Tensor = torch.special.entr(counts / counts.sum(-1, keepdim=True)).sum(-1)
        return entropies.exp()

    @property
    def codes_used(self) -> Tensor:
        """[codebooks] codes that occur."""
        return (self.counts > 0).sum(-1)


class QuantizerModule(nn.Module):
    """Latents [batch, features, *positions] to codes and back.

    A training step calls `forward`, and after the optimizer's step `update`; before the first one comes `start`. A
    subclass must have `forward` and `decode`.
    """

    features: int
    """Features of the latents that go in."""
    out_features: int
    """Features of those that come out."""

    def __init__(self, *, features: int, out_features: int | None = None) -> None:
        super().__init__()
        self.features = features
        self.out_features = features if out_features is None else out_features

    def forward(self, latents: Tensor) -> Quantized:
        """The codes of `latents` [batch, features, *positions]."""
        raise NotImplementedError

    @torch.no_grad()
    def encode(self, latents: Tensor) -> Tensor:
        """Indices [batch, codebooks, codes] of the codes of `latents` [batch, features, *positions]."""
        return self(latents).indices  # type: ignore[no-any-return]

    def decode(self, indices: Tensor, positions: tuple[int, ...]) -> Tensor:
        """Latents [batch, out_features, *positions] of the codes at `indices` [batch, codebooks, codes]."""
        raise NotImplementedError

    def code_parameters(self) -> int:
        """All numbers that are learned, however they learn."""
        return sum(parameter.numel() for parameter in self.parameters())

    @property
    def updates(self) -> bool:
        """Whether `update` does anything."""
        return type(self).update is not QuantizerModule.update

    def start(self, latents: Tensor, generator: torch.Generator) -> None:
        """Moves the codes to where they start, given the first `latents` [batch, features, *positions]."""

    def update(self, latents: Tensor, quantized: Quantized, generator: torch.Generator) -> None:
        """Learns from a training batch what gradients do not teach."""
