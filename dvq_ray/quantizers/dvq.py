"""DVQ, the paper's quantizer: the features cut into slices, a codebook for each (equation 3)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from dvq_ray.declarations.field import Axis
from dvq_ray.declarations.settings import Count, Rule
from dvq_ray.quantizer.codebook import CodebookQuantizer, Cut
from dvq_ray.quantizer.slices import slices_at_bits, slices_divide

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Slices:
    """Equal parts of the features, in order."""

    slices: int

    def split(self, latents: Tensor) -> Tensor:
        """[B, L * d, P] to [L, B, P, d]"""
        batch, features, positions = latents.shape
        return latents.view(batch, self.slices, features // self.slices, positions).permute(1, 0, 3, 2)

    def join(self, vectors: Tensor) -> Tensor:
        """[L, B, P, d] to [B, L * d, P]"""
        return vectors.permute(1, 0, 3, 2).flatten(1, 2)


class Dvq(CodebookQuantizer):
    """A codebook for each of several equal parts of the features."""

    label: ClassVar[str] = "DVQ"
    family: ClassVar[str] = "orange"
    shade: ClassVar[str] = "slices"
    rules: ClassVar[tuple[Rule, ...]] = (Rule(fields=("slices", "dimension"), breach=slices_divide),)

    slices: Annotated[Count, Axis(label="slices", symbol="L", neutral=1, example=[2, 4])]
    """Parts that the features are cut into: L in the paper."""

    @classmethod
    def at_bits(cls, bits: int, features: int) -> Mapping[str, Any] | None:
        """The fewest slices with up to 256 codes each. None where one is enough: that is VQ."""
        found = slices_at_bits(bits, features)
        return {"slices": found[0], "codebook_size": found[1]} if found and found[0] > 1 else None

    def codebooks(self) -> int:
        """One for each slice."""
        return self.slices

    def feature_slices(self) -> int:
        """The slices."""
        return self.slices

    def code_features(self, features: int) -> int:
        """Those of a slice."""
        if breach := slices_divide(self.slices, features):
            raise ValueError(f"slices = {self.slices} {breach}")
        return features // self.slices

    def cut(self, features: int) -> Cut:
        """Into slices."""
        return Slices(self.slices)

    def bits(self, vectors: int = 1) -> float:
        """log2 of the codebook size for each code."""
        return self.slices * vectors * math.log2(self.codebook_size)


QUANTIZER = Dvq
