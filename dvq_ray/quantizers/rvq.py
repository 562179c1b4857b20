"""RVQ: each stage quantizes what the stages before it left over (Juang and Gray, "Multiple stage vector quantization
for speech coding", ICASSP 1982)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from dvq_ray.declarations.field import Axis
from dvq_ray.quantizers._faiss import FaissIndexed, all_vectors

if TYPE_CHECKING:
    import faiss

BEAM = Axis(label="beam", role="model", example=[1, 5])


class Rvq(FaissIndexed):
    """faiss's residual quantizer: k-means for each stage, and a beam search for the codes.

    The stages are trained one after the other, on what the beam search leaves of each vector.
    """

    label: ClassVar[str] = "RVQ"
    family: ClassVar[str] = "olive"
    shade: ClassVar[str] = "stages"

    stages: Annotated[int, Field(ge=1, le=64), Axis(label="stages", symbol="M", neutral=1, example=[2, 4])]
    """Codebooks on all features, one after the other."""
    beam: Annotated[int, Field(ge=1, le=256), BEAM] = 5
    """Candidates that the search keeps after each stage, in training too; 1 takes the nearest code of each stage."""

    def codebook_sizes(self) -> tuple[int, ...]:
        """[stages]"""
        return (self.codebook_size,) * self.stages

    def index(self, features: int) -> faiss.Index:
        """A residual quantizer with its own codec."""
        import faiss

        index = faiss.IndexResidualQuantizer(features, self.stages, self.index_bits())
        configure(index.rq, self.beam)
        return index

    def products(self, features: int) -> float:
        """Distances of all candidates of a stage to its codes."""
        return float((1 + (self.stages - 1) * self.beam) * self.codebook_size * features)

    def fit_seconds(self, vectors: int, features: int) -> float:
        """Lloyd's iterations of each stage, for ever more features, and the search for codes."""
        passes = 50 * self.stages + 4 * self.stages * self.beam
        return passes * self.beam * vectors * self.codebook_size * (features + 2) * 3.5e-11 + 0.05


def configure(quantizer: faiss.ResidualQuantizer, beam: int) -> None:
    """Sets the beam, and lets every vector count."""
    quantizer.max_beam_size = beam
    all_vectors(quantizer.cp)


QUANTIZER = Rvq
