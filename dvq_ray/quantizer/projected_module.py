"""The torch module of quantizers that round: latents to a few channels, each channel to one of its levels, and back.

Letters in shapes: B images of a batch, F features of a latent, P positions, C channels.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from dvq_ray.quantizer.module import Quantized, QuantizerModule


class Rounding(nn.Module):
    """Channels to levels. It has nothing to learn."""

    @abstractmethod
    def forward(self, channels: Tensor) -> tuple[Tensor, Tensor]:
        """Values of the nearest levels of `channels` [B, P, C], with a gradient that goes straight through; a penalty.

        The penalty is a number that training minimises besides the error.
        """

    @abstractmethod
    def indices(self, values: Tensor) -> Tensor:
        """Levels, counted from 0, of their `values` [B, P, C]."""

    @abstractmethod
    def values(self, indices: Tensor) -> Tensor:
        """Values of the levels at `indices` [B, P, C]."""


class ProjectedModule(QuantizerModule):
    """A linear map to the channels, the rounding, and a linear map back.

    The codebook loss, on latents that are held fixed, teaches the maps to give latents back. What a decoder's gradient
    says reaches the latents through both maps, and the maps too.
    """

    def __init__(self, *, features: int, levels: Sequence[int], rounding: Rounding, generator: torch.Generator) -> None:
        """`levels` of each channel."""
        super().__init__(features=features)
        self.levels = tuple(levels)
        self.rounding = rounding
        self.down, self.up = _linear(features, len(levels), generator), _linear(len(levels), features, generator)

    def forward(self, latents: Tensor) -> Quantized:
        """The levels of `latents` [batch, features, *positions]."""
        with torch.autocast(latents.device.type, enabled=False):
            vectors = self._vectors(latents)
            values, _ = self.rounding(self.down(vectors))
            decoded = self.up(values)
            fixed = vectors.detach()
            if torch.is_grad_enabled():
                own_values, penalty = self.rounding(self.down(fixed))
                codebook_loss = mse_loss(self.up(own_values), fixed) + penalty
            else:
                codebook_loss = mse_loss(decoded, fixed)
            return Quantized(
                latents=self._latents(decoded, latents.shape[2:]),
                indices=self.rounding.indices(values.detach()).mT,
                codebook_loss=codebook_loss,
                commitment_loss=mse_loss(vectors, decoded.detach()),
                codebook_size=max(self.levels),
            )

    def decode(self, indices: Tensor, positions: tuple[int, ...]) -> Tensor:
        """Latents [batch, features, *positions] of the levels at `indices` [batch, channels, positions]."""
        return self._latents(self.up(self.rounding.values(indices.mT)), positions)

    @torch.no_grad()
    def start(self, latents: Tensor, generator: torch.Generator) -> None:
        """Begins at the principal components of `latents` [batch, features, *positions], and what gives them back.

        Where there are more channels than components, the others get random directions. The map back is the best one
        for these latents, by least squares.
        """
        vectors = self._vectors(latents).flatten(0, 1).double().cpu()
        mean = vectors.mean(0)
        _, _, components = torch.linalg.svd(vectors - mean, full_matrices=False)
        channels, features = self.down.weight.shape
        more = torch.randn(max(0, channels - len(components)), features, generator=generator, device=generator.device)
        directions = torch.cat([components, more.double().cpu()])[:channels]
        directions = directions / ((vectors - mean) @ directions.T).std(0, correction=0).clamp(min=1e-6).unsqueeze(1)
        self.down.weight.copy_(directions)
        self.down.bias.copy_(-directions @ mean)
        values, _ = self.rounding(self.down(vectors.to(self.down.weight)).unsqueeze(0))
        known = nn.functional.pad(values[0].double().cpu(), (0, 1), value=1.0)
        # A little ridge, because a channel may have one value on all of them.
        normal = known.T @ known + 1e-6 * len(known) * torch.eye(channels + 1, dtype=known.dtype)
        solved = torch.linalg.solve(normal, known.T @ vectors)
        self.up.weight.copy_(solved[:-1].T)
        self.up.bias.copy_(solved[-1])

    def _vectors(self, latents: Tensor) -> Tensor:
        if latents.ndim < 2 or latents.shape[1] != self.features:
            raise ValueError(f"latents of shape {list(latents.shape)}; allowed: [batch, {self.features}, *positions]")
        positions = math.prod(latents.shape[2:])
        return latents.reshape(len(latents), self.features, positions).mT.to(self.down.weight.dtype)

    def _latents(self, vectors: Tensor, positions: Sequence[int]) -> Tensor:
        return vectors.mT.reshape(len(vectors), self.features, *positions)


def straight_through(values: Tensor, channels: Tensor) -> Tensor:
    """The `values`, their gradient going to the `channels` they were rounded from."""
    return channels + (values - channels).detach()


def projected_parameters(features: int, channels: int) -> int:
    """Numbers of both linear maps."""
    return (features + 1) * channels + (channels + 1) * features


def _linear(inputs: int, outputs: int, generator: torch.Generator) -> nn.Linear:
    linear = nn.Linear(inputs, outputs)
    for tensor in (linear.weight, linear.bias):
        nn.init.uniform_(tensor, -(inputs**-0.5), inputs**-0.5, generator=generator)
    return linear
