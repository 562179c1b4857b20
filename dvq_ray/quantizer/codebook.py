"""Quantizers whose codes are the nearest entries of codebooks: they differ in how latents are cut into vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol

from dvq_ray.quantizer.base import CodebookSize, Quantizer

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from dvq_ray.quantizer.codebooks import Learning
    from dvq_ray.quantizer.module import QuantizerModule


class Cut(Protocol):
    """How latents become the vectors that codebooks hold, and codes become latents again.

    Letters in shapes: B images of a batch, F features of a latent, P positions, L codebooks, C codes of an image in
    each codebook, d features of a code.
    """

    def split(self, latents: Tensor) -> Tensor:
        """Latents [B, F, P] as the vectors [L, B, C, d] that are looked up."""
        ...

    def join(self, vectors: Tensor) -> Tensor:
        """Codes [L, B, C, d] as latents [B, out_features, P]."""
        ...


class CodebookQuantizer(Quantizer):
    """Codebooks of one size. They learn by gradient, or in one of the ways that `Learning` names."""

    shade: ClassVar[str] = "codebook_size"

    codebook_size: CodebookSize
    """Codes in each codebook: K in the paper."""

    def codebooks(self) -> int:
        """Number of codebooks."""
        raise NotImplementedError

    def code_features(self, features: int) -> int:
        """Features of a code. Raises ValueError where latents of so many features cannot be cut."""
        raise NotImplementedError

    def cut(self, features: int) -> Cut:
        """How latents of so many features are cut into vectors."""
        raise NotImplementedError

    def lies_on_slices(self) -> bool:
        """Whether its codebooks lie on as many equal slices of the features, in order: what fast fits take."""
        return self.codebooks() == self.feature_slices()

    def codebook_sizes(self) -> tuple[int, ...]:
        """[codebooks]"""
        return (self.codebook_size,) * self.codebooks()

    def parameters(self, features: int) -> int:
        """All numbers in the codebooks."""
        return self.codebooks() * self.codebook_size * self.code_features(features)

    def build(self, features: int, generator: torch.Generator, learning: Learning | None = None) -> QuantizerModule:
        """A module whose initial codes are drawn by `generator`; codes learn as `learning` says, or by gradient."""
        from dvq_ray.quantizer.codebook_module import CodebookModule

        return CodebookModule(
            features=features,
            out_features=self.out_features(features),
            shape=(self.codebooks(), self.codebook_size, self.code_features(features)),
            cut=self.cut(features),
            learning=learning,
            generator=generator,
        )
