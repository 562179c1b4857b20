"""The torch module of a quantizer whose codes are the nearest entries of codebooks.

Letters in shapes: B images of a batch, L codebooks, K codes, d features of a code, P positions of an image, C codes of
an image in each codebook.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from dvq_ray.quantizer.codebook import Cut
from dvq_ray.quantizer.codebooks import Codebooks, DeadCodeRestart, GradientCodebooks, Learning, initial_codes
from dvq_ray.quantizer.module import Quantized, QuantizerModule
from dvq_ray.quantizer.nearest import StraightThrough, look_up
from dvq_ray.quantizer.rotation import turned


class CodebookModule(QuantizerModule):
    """Latents [batch, features, *positions] to codes and back.

    Computes in the type of its codes, float32, under autocast too.
    """

    codebook_size: int
    """Codes of each codebook: K."""
    codebooks: Codebooks
    restart: DeadCodeRestart | None

    def __init__(
        self,
        *,
        features: int,
        out_features: int,
        shape: tuple[int, int, int],
        cut: Cut,
        learning: Learning | None,
        generator: torch.Generator,
    ) -> None:
        """`shape` is [codebooks, codes, features of a code]."""
        if features < 1 or min(shape) < 1:
            raise ValueError(f"features = {features}, codebooks of shape {list(shape)}; allowed: at least 1 each")
        super().__init__(features=features, out_features=out_features)
        learning = learning or Learning()
        codes = initial_codes(*shape, generator)
        self.cut = cut
        self.codebook_size = shape[1]
        self.codebooks = learning.codebooks(codes)
        self.start_with = learning.start
        self.rotates_gradients = learning.rotates_gradients
        self.restart = learning.restart(codes)

    def forward(self, latents: Tensor) -> Quantized:
        """The nearest codes of `latents` [batch, features, *positions]."""
        with torch.autocast(latents.device.type, enabled=False):
            vectors = self._vectors(latents)
            found = StraightThrough.apply(vectors, self.codebooks.codes)  # type: ignore[no-untyped-call]
            codes, indices, codebook_loss, commitment_loss = found
            if self.rotates_gradients:
                codes = turned(vectors, codes)
            return Quantized(
                latents=self.cut.join(codes).reshape(len(latents), self.out_features, *latents.shape[2:]),
                indices=indices.transpose(0, 1),
                codebook_loss=codebook_loss,
                commitment_loss=commitment_loss,
                codebook_size=self.codebook_size,
            )

    def code_parameters(self) -> int:
        """Numbers in the codebooks."""
        return int(self.codebooks.codes.numel())

    @property
    def updates(self) -> bool:
        """Whether codes are moving averages, or dead ones are moved."""
        return self.restart is not None or not isinstance(self.codebooks, GradientCodebooks)

    def decode(self, indices: Tensor, positions: tuple[int, ...]) -> Tensor:
        """Latents [batch, out_features, *positions] of the codes at `indices` [batch, codebooks, codes]."""
        latents = self.cut.join(look_up(self.codebooks.codes, indices.transpose(0, 1)))
        if latents.shape[2] != math.prod(positions):
            raise ValueError(f"positions = {positions}; allowed: those whose product is {latents.shape[2]}")
        return latents.reshape(len(indices), self.out_features, *positions)

    @torch.no_grad()
    def start(self, latents: Tensor, generator: torch.Generator) -> None:
        """Moves the codes to clusters of `latents` [batch, features, *positions], where that is how they start."""
        if self.start_with is None:
            return
        with torch.autocast(latents.device.type, enabled=False):
            means = self.start_with(self._vectors(latents).flatten(1, 2), self.codebook_size, generator)
        self.start_at(means)

    @torch.no_grad()
    def start_at(self, codes: Tensor) -> None:
        """Moves the codes to `codes` [codebooks, codes, features of a code]."""
        self.codebooks.move(torch.ones_like(codes[..., 0], dtype=torch.bool), codes)

    @torch.no_grad()
    def update(self, latents: Tensor, quantized: Quantized, generator: torch.Generator) -> None:
        """Learns from a training batch what gradients do not teach: moving averages, then moves of dead codes.

        `latents` [batch, features, *positions] are those that `forward` made `quantized` of. Does nothing where codes
        learn by gradient and never move.
        """
        if not self.updates:
            return
        vectors, indices = self._vectors(latents).flatten(1, 2), quantized.indices.transpose(0, 1).flatten(1)
        self.codebooks.update(vectors, indices)
        if self.restart is not None:
            self.restart(self.codebooks, vectors, indices, generator)

    def _vectors(self, latents: Tensor) -> Tensor:
        if latents.ndim < 2 or latents.shape[1] != self.features:
            shape = list(latents.shape)
            raise ValueError(f"latents of shape {shape}; allowed: [batch, {self.features}, *positions]")
        positions = math.prod(latents.shape[2:])
        return self.cut.split(latents.reshape(len(latents), self.features, positions).to(self.codebooks.codes.dtype))
