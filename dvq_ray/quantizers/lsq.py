"""LSQ: codebooks whose codes are added up (Martinez, Zakhmi, Hoos and Little, "LSQ++: lower running time and higher
recall in multi-codebook quantization", ECCV 2018)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from dvq_ray.declarations.field import Axis
from dvq_ray.quantizers._faiss import FaissIndexed

if TYPE_CHECKING:
    import faiss


class Lsq(FaissIndexed):
    """faiss's local search quantizer: all codes of a vector are searched together, by iterated conditional modes.

    The search is random, with a seed of its own. Equal arrays get equal codes; a vector may get other ones, of about
    the same error, where other vectors come before it.
    """

    label: ClassVar[str] = "LSQ"
    family: ClassVar[str] = "plum"
    shade: ClassVar[str] = "additive_codebooks"

    additive_codebooks: Annotated[
        int, Field(ge=1, le=64), Axis(label="additive codebooks", symbol="M", neutral=1, example=[2, 4])
    ]
    """Codebooks on all features, of each of which one code is added."""
    training_rounds: Annotated[int, Field(ge=1), Axis(label="training rounds", role="training")] = 25
    """Turns of codes and codebooks in training."""

    def codebook_sizes(self) -> tuple[int, ...]:
        """[additive_codebooks]"""
        return (self.codebook_size,) * self.additive_codebooks

    def index(self, features: int) -> faiss.Index:
        """A local search quantizer with its own codec."""
        import faiss

        index = faiss.IndexLocalSearchQuantizer(features, self.additive_codebooks, self.index_bits())
        index.lsq.train_iters = self.training_rounds
        return index

    def products(self, features: int) -> float:
        """Distances to all codes, and sixteen searches of four passes over pairs of codebooks."""
        pairs = 16 * 4 * self.additive_codebooks**2 * self.codebook_size
        return float(self.parameters(features) + pairs)

    def fit_seconds(self, vectors: int, features: int) -> float:
        """Searches over pairs of codebooks in each round."""
        pairs = self.additive_codebooks**2 * self.codebook_size
        return self.training_rounds * vectors * pairs * 1e-8 + 0.1


QUANTIZER = Lsq
