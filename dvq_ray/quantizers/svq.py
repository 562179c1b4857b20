"""SVQ, the paper's baseline: the positions cut into regions, a codebook for each."""

from __future__ import annotations

import math
from collections.abc import Set
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from dvq_ray.declarations.field import Axis
from dvq_ray.declarations.settings import Count
from dvq_ray.quantizer.codebook import CodebookQuantizer, Cut

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Regions:
    """Equal runs of the positions in raster order; a code holds the features of neighbouring positions of a run."""

    regions: int
    joint_positions: int
    features: int

    def split(self, latents: Tensor) -> Tensor:
        """[B, F, L * C * joint_positions] to [L, B, C, joint_positions * F]"""
        batch, features, positions = latents.shape
        if positions % (self.regions * self.joint_positions):
            raise ValueError(
                f"{positions} positions for {self.regions} slices of codes of {self.joint_positions} positions; "
                f"allowed: multiples of {self.regions * self.joint_positions}"
            )
        runs = latents.view(batch, features, self.regions, -1, self.joint_positions)
        return runs.permute(2, 0, 3, 4, 1).flatten(3)

    def join(self, vectors: Tensor) -> Tensor:
        """[L, B, C, joint_positions * F] to [B, F, L * C * joint_positions]"""
        parts = vectors.view(*vectors.shape[:3], self.joint_positions, self.features)
        return parts.permute(1, 4, 0, 2, 3).flatten(2)


class Svq(CodebookQuantizer):
    """The paper's baseline: the positions cut into regions, a codebook for each.

    Regions are runs of positions in raster order: with 8 slices of 8x8 positions each is a row. The paper leaves open
    what a code stands for: the vector of one position (`joint_positions` = 1), or those of several neighbouring ones
    together (with 8 slices and 8 joint positions a code is a whole row).
    """

    label: ClassVar[str] = "SVQ"
    family: ClassVar[str] = "plum"
    shade: ClassVar[str] = "joint_positions"
    needs: ClassVar[Set[str]] = frozenset({"positions"})
    positionwise: ClassVar[bool] = False

    slices: Annotated[Count, Axis(label="slices", symbol="L", neutral=1, example=8)]
    """Regions that the positions are cut into."""
    joint_positions: Annotated[Count, Axis(label="joint positions", symbol="P", neutral=1)] = 1
    """Neighbouring positions of a region whose vectors one code stands for."""

    def codebooks(self) -> int:
        """One for each region."""
        return self.slices

    def code_features(self, features: int) -> int:
        """Those of all positions of a code."""
        return features * self.joint_positions

    def cut(self, features: int) -> Cut:
        """Into regions."""
        return Regions(self.slices, self.joint_positions, features)

    def bits(self, vectors: int = 1) -> float:
        """log2 of the codebook size for each code; a vector has a part of one."""
        return vectors / self.joint_positions * math.log2(self.codebook_size)


QUANTIZER = Svq
