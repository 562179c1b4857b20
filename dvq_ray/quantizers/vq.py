"""VQ: one codebook on all features (van den Oord et al., arXiv 1711.00937; the paper's equation 1)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from dvq_ray.declarations.field import Axis
from dvq_ray.declarations.settings import Count
from dvq_ray.quantizer.base import Quantizer
from dvq_ray.quantizer.codebook import CodebookQuantizer, Cut

if TYPE_CHECKING:
    from torch import Tensor

MOST_BITS = 12
"""Of a codebook that a comparison trains."""


@dataclass(frozen=True)
class Whole:
    """Every codebook sees all features of a position; the codes of several are concatenated."""

    codebooks: int

    def split(self, latents: Tensor) -> Tensor:
        """[B, d, P] to [L, B, P, d]"""
        return latents.mT.expand(self.codebooks, -1, -1, -1)

    def join(self, vectors: Tensor) -> Tensor:
        """[L, B, P, d] to [B, L * d, P]"""
        return vectors.permute(1, 0, 3, 2).flatten(1, 2)


class Vq(CodebookQuantizer):
    """One codebook on all features."""

    label: ClassVar[str] = "VQ"
    family: ClassVar[str] = "green"

    @classmethod
    def variant(cls, provided: Set[str]) -> type[Quantizer] | None:
        """With joint codebooks where a decoder can use them."""
        return JointVq if "decoder" in provided else Vq

    @classmethod
    def at_bits(cls, bits: int, features: int) -> Mapping[str, Any] | None:
        """A codebook of up to 4,096 codes: each bit more doubles it."""
        return {"codebook_size": 1 << bits} if bits <= MOST_BITS else None

    def codebooks(self) -> int:
        """One."""
        return 1

    def code_features(self, features: int) -> int:
        """All of them."""
        return features

    def cut(self, features: int) -> Cut:
        """Not at all."""
        return Whole(self.codebooks())

    def bits(self, vectors: int = 1) -> float:
        """log2 of the codebook size for each code."""
        return self.codebooks() * vectors * math.log2(self.codebook_size)


class JointVq(Vq):
    """Codebooks on all features of a position: one is the usual VQ, several are the author's baseline."""

    joint_codebooks: Annotated[Count, Axis(label="joint codebooks", symbol="J", neutral=1)] = 1
    """Codebooks on the same features, their codes concatenated for the decoder."""

    def codebooks(self) -> int:
        """Those on the same features."""
        return self.joint_codebooks

    def out_features(self, features: int) -> int:
        """The codes of all codebooks, concatenated."""
        return features * self.joint_codebooks


QUANTIZER = Vq
