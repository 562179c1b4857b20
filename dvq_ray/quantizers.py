"""Quantizers: latents to the nearest codes of their codebooks. They differ in how latents are cut into vectors.

Letters in shapes: B images of a batch, L codebooks, K codes, d features of a code, P positions of an image, C codes of
an image in each codebook.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dvq_ray.codebooks import Codebooks, DeadCodeRestart, GradientCodebooks, Learning, initial_codes
from dvq_ray.nearest import StraightThrough, count_by_code, look_up, nearest_codes

__all__ = ["Dvq", "Learning", "Quantized", "Quantizer", "Svq", "Vq", "nearest_codes"]


@dataclass(frozen=True, kw_only=True)
class Quantized:
    """What a quantizer makes of a batch of latents."""

    latents: Tensor
    """[batch, out_features, *positions], float32: the codes. Their gradient goes to the latents (equation 2)."""
    indices: Tensor
    """[batch, codebooks, codes], int64; `codes` are positions in raster order, or the regions' parts of SVQ."""
    codebook_loss: Tensor
    """Mean squared error of each codebook, summed over codebooks (equations 1 and 4); its gradient reaches codes."""
    commitment_loss: Tensor
    """The same value, its gradient reaching the latents alone; not yet weighted by beta (equation 2)."""
    codebook_size: int

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


class Quantizer(nn.Module):
    """Latents [batch, features, *positions] to codes and back.

    A training step calls `forward`, and after the optimizer's step `update`; before the first one comes `start`.
    Computes in the type of its codes, float32, under autocast too.
    """

    features: int
    """Features of the latents that go in."""
    out_features: int
    """Features of those that come out."""
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
        learning: Learning | None,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        learning = learning or Learning()
        codes = initial_codes(*shape, generator)
        self.features = features
        self.out_features = out_features
        self.codebook_size = shape[1]
        self.codebooks = learning.codebooks(codes)
        self.start_with = learning.start
        self.restart = learning.restart(codes)

    def split(self, latents: Tensor) -> Tensor:
        """Latents [B, features, P] as the vectors [L, B, C, d] that are looked up."""
        raise NotImplementedError

    def join(self, vectors: Tensor) -> Tensor:
        """Codes [L, B, C, d] as latents [B, out_features, P]."""
        raise NotImplementedError

    def forward(self, latents: Tensor) -> Quantized:
        """The nearest codes of `latents` [batch, features, *positions]."""
        with torch.autocast(latents.device.type, enabled=False):
            found = StraightThrough.apply(self._vectors(latents), self.codebooks.codes)  # type: ignore[no-untyped-call]
            codes, indices, codebook_loss, commitment_loss = found
            return Quantized(
                latents=self.join(codes).reshape(len(latents), self.out_features, *latents.shape[2:]),
                indices=indices.transpose(0, 1),
                codebook_loss=codebook_loss,
                commitment_loss=commitment_loss,
                codebook_size=self.codebook_size,
            )

    @torch.no_grad()
    def encode(self, latents: Tensor) -> Tensor:
        """Indices [batch, codebooks, codes] of the nearest codes of `latents` [batch, features, *positions]."""
        return self(latents).indices  # type: ignore[no-any-return]

    def decode(self, indices: Tensor, positions: tuple[int, ...]) -> Tensor:
        """Latents [batch, out_features, *positions] of the codes at `indices` [batch, codebooks, codes]."""
        latents = self.join(look_up(self.codebooks.codes, indices.transpose(0, 1)))
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
        self.codebooks.move(torch.ones_like(means[..., 0], dtype=torch.bool), means)

    @torch.no_grad()
    def update(self, latents: Tensor, quantized: Quantized, generator: torch.Generator) -> None:
        """Learns from a training batch what gradients do not teach: moving averages, then moves of dead codes.

        `latents` [batch, features, *positions] are those that `forward` made `quantized` of. Does nothing where codes
        learn by gradient and never move.
        """
        if self.restart is None and isinstance(self.codebooks, GradientCodebooks):
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
        return self.split(latents.reshape(len(latents), self.features, positions).to(self.codebooks.codes.dtype))


class Vq(Quantizer):
    """Every codebook sees all features of a position; their codes are concatenated for the decoder.

    One codebook is the usual VQ (1711.00937), several are the author's baseline.
    """

    def __init__(
        self,
        features: int,
        codebook_size: int,
        joint_codebooks: int = 1,
        *,
        learning: Learning | None = None,
        generator: torch.Generator,
    ) -> None:
        _at_least_one(features=features, codebook_size=codebook_size, joint_codebooks=joint_codebooks)
        super().__init__(
            features=features,
            out_features=features * joint_codebooks,
            shape=(joint_codebooks, codebook_size, features),
            learning=learning,
            generator=generator,
        )

    def split(self, latents: Tensor) -> Tensor:
        """[B, d, P] to [L, B, P, d]"""
        return latents.mT.expand(len(self.codebooks.codes), -1, -1, -1)

    def join(self, vectors: Tensor) -> Tensor:
        """[L, B, P, d] to [B, L * d, P]"""
        return vectors.permute(1, 0, 3, 2).flatten(1, 2)


class Dvq(Quantizer):
    """The paper's quantizer: the features of a position cut into slices, a codebook for each (equation 3)."""

    def __init__(
        self,
        features: int,
        codebook_size: int,
        slices: int,
        *,
        learning: Learning | None = None,
        generator: torch.Generator,
    ) -> None:
        _at_least_one(features=features, codebook_size=codebook_size, slices=slices)
        if features % slices:
            divisors = ", ".join(str(n) for n in range(1, features + 1) if features % n == 0)
            raise ValueError(f"slices = {slices} does not divide features = {features}; allowed: {divisors}")
        super().__init__(
            features=features,
            out_features=features,
            shape=(slices, codebook_size, features // slices),
            learning=learning,
            generator=generator,
        )

    def split(self, latents: Tensor) -> Tensor:
        """[B, L * d, P] to [L, B, P, d]"""
        batch, features, positions = latents.shape
        slices = len(self.codebooks.codes)
        return latents.view(batch, slices, features // slices, positions).permute(1, 0, 3, 2)

    def join(self, vectors: Tensor) -> Tensor:
        """[L, B, P, d] to [B, L * d, P]"""
        return vectors.permute(1, 0, 3, 2).flatten(1, 2)


class Svq(Quantizer):
    """The paper's baseline: the positions, in raster order, cut into as many equal runs as slices, a codebook for each.

    A code stands for `joint_positions` neighbouring positions of a run, its features theirs one after the other.
    """

    def __init__(
        self,
        features: int,
        codebook_size: int,
        slices: int,
        joint_positions: int = 1,
        *,
        learning: Learning | None = None,
        generator: torch.Generator,
    ) -> None:
        _at_least_one(features=features, codebook_size=codebook_size, slices=slices, joint_positions=joint_positions)
        self.joint_positions = joint_positions
        super().__init__(
            features=features,
            out_features=features,
            shape=(slices, codebook_size, features * joint_positions),
            learning=learning,
            generator=generator,
        )

    def split(self, latents: Tensor) -> Tensor:
        """[B, F, L * C * joint_positions] to [L, B, C, joint_positions * F]"""
        (batch, features, positions), slices = latents.shape, len(self.codebooks.codes)
        if positions % (slices * self.joint_positions):
            raise ValueError(
                f"{positions} positions for {slices} slices of codes of {self.joint_positions} positions; "
                f"allowed: multiples of {slices * self.joint_positions}"
            )
        runs = latents.view(batch, features, slices, -1, self.joint_positions)
        return runs.permute(2, 0, 3, 4, 1).flatten(3)

    def join(self, vectors: Tensor) -> Tensor:
        """[L, B, C, joint_positions * F] to [B, F, L * C * joint_positions]"""
        parts = vectors.view(*vectors.shape[:3], self.joint_positions, self.features)
        return parts.permute(1, 4, 0, 2, 3).flatten(2)


def _at_least_one(**counts: int) -> None:
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"{name} = {count}; allowed: at least 1")
