"""FSQ: a few channels, each rounded to one of its levels (Mentzer, Minnen, Agustsson and Tschannen, "Finite scalar
quantization: VQ-VAE made simple", arXiv 2309.15505)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from dvq_ray.declarations.field import Axis
from dvq_ray.declarations.settings import Rule
from dvq_ray.quantizer.base import Quantizer

if TYPE_CHECKING:
    import torch

    from dvq_ray.quantizer.module import QuantizerModule

_FEWEST, _MOST = 3, 256


def _counts(levels: str) -> tuple[int, ...]:
    return tuple(int(count) for count in levels.split("x"))


def _in_range(levels: str) -> str | None:
    if all(_FEWEST <= count <= _MOST for count in _counts(levels)):
        return None
    return f"has a channel out of range; allowed: {_FEWEST} to {_MOST} levels of each channel"


class Fsq(Quantizer):
    """Channels are bounded by a tanh and rounded, with the gradient going straight through.

    The channels are linear maps of the features, and features of the channels, as the paper has where there are more
    features than channels. Each channel counts as a codebook. The paper wants no commitment loss.
    """

    label: ClassVar[str] = "FSQ"
    family: ClassVar[str] = ""
    rules: ClassVar[tuple[Rule, ...]] = (Rule(fields=("levels",), breach=_in_range),)

    levels: Annotated[str, Field(pattern=r"^\d{1,3}(x\d{1,3})*$"), Axis(label="levels", example=["8x6x5", "8x5x5x5"])]
    """Levels of each channel, such as `8x5x5x5`: 1000 codes, nearly 10 bits. The paper advises at least 5."""

    def codebook_sizes(self) -> tuple[int, ...]:
        """[channels]"""
        return _counts(self.levels)

    def parameters(self, features: int) -> int:
        """All numbers of the linear maps."""
        from dvq_ray.quantizer.projected_module import projected_parameters

        return projected_parameters(features, len(self.codebook_sizes()))

    def build(self, features: int, generator: torch.Generator) -> QuantizerModule:
        """Linear maps that start at random."""
        from dvq_ray.quantizer.projected_module import ProjectedModule
        from dvq_ray.quantizer.roundings import Levels

        levels = self.codebook_sizes()
        return ProjectedModule(features=features, levels=levels, rounding=Levels(levels), generator=generator)


QUANTIZER = Fsq
