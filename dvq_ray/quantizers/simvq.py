"""SimVQ: one codebook that learns as a whole (Zhu et al., "Addressing representation collapse in vector quantized
models with one linear layer", arXiv 2411.02038)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from dvq_ray.quantizer.base import CodebookSize, Quantizer

if TYPE_CHECKING:
    import torch

    from dvq_ray.quantizer.module import QuantizerModule


class SimVq(Quantizer):
    """Random codes that stay as they are, times a matrix that learns by gradient: every step moves all codes."""

    label: ClassVar[str] = "SimVQ"
    family: ClassVar[str] = "green"
    shade: ClassVar[str] = "codebook_size"

    codebook_size: CodebookSize
    """Codes: K in the paper."""

    def codebook_sizes(self) -> tuple[int, ...]:
        """[1]"""
        return (self.codebook_size,)

    def parameters(self, features: int) -> int:
        """All numbers in the codebook, which is the product: it is all that a codec needs."""
        return self.codebook_size * features

    def build(self, features: int, generator: torch.Generator) -> QuantizerModule:
        """Codes of a normal distribution, drawn by `generator`, times the identity."""
        from dvq_ray.quantizer.codebook_module import CodebookModule
        from dvq_ray.quantizer.linear_codebooks import LinearLearning
        from dvq_ray.quantizers.vq import Whole

        return CodebookModule(
            features=features,
            out_features=features,
            shape=(1, self.codebook_size, features),
            cut=Whole(1),
            learning=LinearLearning(),
            generator=generator,
        )


QUANTIZER = SimVq
