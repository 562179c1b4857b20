"""GRVQ: RVQ for each slice of the features (Yang et al., "HiFi-Codec: group-residual vector quantization for high
fidelity audio codec", arXiv 2305.02765)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from dvq_ray.declarations.field import Axis
from dvq_ray.declarations.settings import Count, Rule
from dvq_ray.quantizer.slices import slices_divide
from dvq_ray.quantizers._faiss import FaissIndexed
from dvq_ray.quantizers.rvq import BEAM, TRAINED_ON, Candidates, configure

if TYPE_CHECKING:
    import faiss


class Grvq(FaissIndexed):
    """faiss's product residual quantizer: `rvq` on each of several equal parts of the features.

    The codebooks of a slice follow each other; those of the first slice come first.
    """

    label: ClassVar[str] = "GRVQ"
    family: ClassVar[str] = "olive"
    shade: ClassVar[str] = "slices"
    rules: ClassVar[tuple[Rule, ...]] = (
        *FaissIndexed.rules,
        Rule(fields=("slices", "dimension"), breach=slices_divide),
    )

    slices: Annotated[Count, Axis(label="slices", symbol="L", neutral=1, example=[2, 4])]
    """Parts that the features are cut into, each with stages of its own."""
    stages: Annotated[int, Field(ge=1, le=64), Axis(label="stages", symbol="M", neutral=1, example=[2, 4])]
    """Codebooks of a slice, one after the other."""
    beam: Annotated[int, Field(ge=1, le=256), BEAM] = 5
    """Candidates that the search keeps after each stage, in training too; 1 takes the nearest code of each stage."""
    trained_on: Annotated[Candidates, TRAINED_ON] = "best"
    """What a stage's codebook is trained on: as of RVQ."""

    def codebook_sizes(self) -> tuple[int, ...]:
        """[slices * stages]"""
        return (self.codebook_size,) * (self.slices * self.stages)

    def feature_slices(self) -> int:
        """The slices."""
        return self.slices

    def index(self, features: int) -> faiss.Index:
        """A product residual quantizer with its own codec."""
        import faiss

        if breach := slices_divide(self.slices, features):
            raise ValueError(f"slices = {self.slices} {breach}")
        swig: Any = faiss  # its type stubs are not complete
        index = faiss.IndexProductResidualQuantizer(features, self.slices, self.stages, self.index_bits())
        for place in range(self.slices):
            configure(swig.downcast_AdditiveQuantizer(index.prq.subquantizer(place)), self.beam, self.trained_on)
        return index

    def products(self, features: int) -> float:
        """Distances of all candidates of a stage to its codes."""
        return float((1 + (self.stages - 1) * self.beam) * self.codebook_size * features)

    def fit_seconds(self, vectors: int, features: int) -> float:
        """As of RVQ, for each slice."""
        each = self.beam if self.trained_on == "all" else 1
        return each * vectors * sum(self.codebook_sizes()) * 3e-7 + 0.05


QUANTIZER = Grvq
