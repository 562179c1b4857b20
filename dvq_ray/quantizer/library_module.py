"""A module of vector-quantize-pytorch as one of ours.

Letters in shapes: B images of a batch, F features of a latent, P positions, L codebooks.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from dvq_ray.quantizer.module import Quantized, QuantizerModule

_CODES = ("embed", "frozen_codebook")
"""What the library calls buffers that hold codes."""


class LibraryModule(QuantizerModule):
    """Latents to the codes of the library's module `inner`, and back.

    A module with moving averages learns in `update` alone, so that looking at it changes nothing.
    """

    def __init__(self, inner: nn.Module, *, features: int, sizes: Sequence[int]) -> None:
        """`sizes` of the codebooks."""
        super().__init__(features=features)
        self.inner = inner.eval()
        self.sizes = tuple(sizes)
        self.groups = len(getattr(inner, "rvqs", ())) or 1
        self.moves = any(getattr(each, "ema_update", False) for each in inner.modules())

    def forward(self, latents: Tensor) -> Quantized:
        """The codes of `latents` [batch, features, *positions]."""
        with torch.autocast(latents.device.type, enabled=False):
            vectors = self._vectors(latents)
            fixed = vectors.detach()
            learns = torch.is_grad_enabled()
            with self._training(learns):  # what teaches the library's maps and codes by gradient it does in training
                decoded, indices, *losses = self.inner(fixed, **({"freeze_codebook": True} if self.moves else {}))
            loss = mse_loss(decoded, fixed) + (sum(each.sum() for each in losses) if learns else 0)
            passed = vectors + (decoded - vectors).detach()  # straight through
            return Quantized(
                latents=passed.mT.reshape(latents.shape),
                indices=self._columns(indices),
                codebook_loss=loss,
                commitment_loss=mse_loss(vectors, decoded.detach()),
                codebook_size=max(self.sizes),
            )

    def decode(self, indices: Tensor, positions: tuple[int, ...]) -> Tensor:
        """Latents [batch, features, *positions] of the codes at `indices` [batch, codebooks, positions]."""
        inner: Any = self.inner
        own = indices.mT
        if hasattr(inner, "rvqs"):
            own = own.reshape(*own.shape[:2], self.groups, -1).movedim(-2, 0)
        elif len(self.sizes) == 1 and not hasattr(inner, "num_quantizers"):
            own = own.squeeze(-1)
        look_up = getattr(inner, "get_output_from_indices", None) or inner.indices_to_codes
        vectors: Tensor = look_up(own)
        return vectors.mT.reshape(len(indices), self.features, *positions)

    def code_parameters(self) -> int:
        """Numbers that are learned, and codes that are moving averages or stay as they are."""
        codes = sum(each.numel() for name, each in self.inner.named_buffers() if name.rpartition(".")[2] in _CODES)
        return super().code_parameters() + codes

    @property
    def updates(self) -> bool:
        """Whether codes are moving averages."""
        return self.moves

    @torch.no_grad()
    def start(self, latents: Tensor, generator: torch.Generator) -> None:
        """Lets the library place codes at `latents` [batch, features, *positions], where its arguments say so."""
        with _seeded(latents, generator):
            self(latents)

    @torch.no_grad()
    def update(self, latents: Tensor, quantized: Quantized, generator: torch.Generator) -> None:
        """Takes the batch into the moving averages, and lets the library move codes that are not used."""
        if self.moves:
            with _seeded(latents, generator), self._training(True):
                self.inner(self._vectors(latents))

    @contextmanager
    def _training(self, on: bool) -> Iterator[None]:
        self.inner.train(on)
        try:
            yield
        finally:
            self.inner.eval()

    def _vectors(self, latents: Tensor) -> Tensor:
        if latents.ndim < 2 or latents.shape[1] != self.features:
            raise ValueError(f"latents of shape {list(latents.shape)}; allowed: [batch, {self.features}, *positions]")
        return latents.reshape(len(latents), self.features, math.prod(latents.shape[2:])).mT.float()

    def _columns(self, indices: Tensor) -> Tensor:
        """[B, P], [B, P, L] or [groups, B, P, stages] to [B, L, P]"""
        if indices.ndim == 4:
            indices = indices.movedim(0, -2).flatten(-2)
        elif indices.ndim == 2:
            indices = indices.unsqueeze(-1)
        return indices.mT.long()


@contextmanager
def _seeded(latents: Tensor, generator: torch.Generator) -> Iterator[None]:
    """Seeds torch's global state, which the library draws from, by `generator`; restores it afterwards."""
    devices = [latents.device] if latents.is_cuda else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(int(torch.randint(2**62, (), generator=generator, device=generator.device)))
        yield
