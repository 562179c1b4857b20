"""Residual VQ in one file: each stage quantizes what the stages before it left over (Juang and Gray, 1982).

    PYTHONPATH=examples python -m dvq_ray.sweep examples/residual_vq.yaml

A quantizer says what its fields are and what its codes cost, and builds the module that learns. Nothing else is needed:
sweeps, searches, status, figures and the report take it from here.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from dvq_ray.declarations.field import Axis
from dvq_ray.quantizer.base import CodebookSize, Quantizer
from dvq_ray.quantizer.module import Quantized, QuantizerModule


class ResidualVq(Quantizer):
    """A codebook for each of several stages; a vector's code is one index for each."""

    label: ClassVar[str] = "RVQ"
    shade: ClassVar[str] = "stages"

    stages: Annotated[int, Field(ge=1), Axis(label="stages", symbol="M", neutral=1)]
    codebook_size: CodebookSize

    def codebook_sizes(self) -> tuple[int, ...]:
        """[stages]"""
        return (self.codebook_size,) * self.stages

    def parameters(self, features: int) -> int:
        """All numbers in the codebooks."""
        return self.stages * self.codebook_size * features

    def build(self, features: int, generator: torch.Generator) -> QuantizerModule:
        """Stages whose codes start near zero, each a little nearer than the one before."""
        codes = torch.randn(self.stages, self.codebook_size, features, generator=generator)
        return Stages(codes * 0.5 ** torch.arange(self.stages).view(-1, 1, 1))


class Stages(QuantizerModule):
    """The module of `codes` [stages, codes, features]."""

    def __init__(self, codes: Tensor) -> None:
        super().__init__(features=codes.shape[2])
        self.codes = nn.Parameter(codes)

    def forward(self, latents: Tensor) -> Quantized:
        """`latents` [batch, features, *positions] to the sum of their stages' codes."""
        vectors = latents.flatten(2).mT if latents.ndim > 2 else latents.unsqueeze(1)  # [batch, positions, features]
        rest, indices, loss = vectors, [], vectors.new_zeros(())
        for codebook in self.codes:
            nearest = torch.cdist(rest.detach(), codebook).argmin(-1)
            loss = loss + (rest.detach() - codebook[nearest]).square().mean()
            rest = rest - codebook[nearest].detach()
            indices.append(nearest)
        decoded = (vectors - rest).mT.reshape(latents.shape)
        return Quantized(
            latents=latents + (decoded - latents).detach(),  # the gradient goes straight through
            indices=torch.stack(indices, dim=1),
            codebook_loss=loss,
            commitment_loss=(latents - decoded.detach()).square().mean(),
            codebook_size=self.codes.shape[1],
        )

    def decode(self, indices: Tensor, positions: tuple[int, ...]) -> Tensor:
        """Codes `indices` [batch, stages, positions] to latents [batch, features, *positions]."""
        found = [codebook[column] for codebook, column in zip(self.codes, indices.unbind(1), strict=True)]
        return torch.stack(found).sum(0).mT.reshape(len(indices), self.features, *positions)
