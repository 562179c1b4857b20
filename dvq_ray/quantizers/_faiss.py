"""What the quantizers share that faiss trains."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from dvq_ray.declarations.settings import Rule
from dvq_ray.quantizer.base import CodebookSize, Codec, Quantizer, Vectors
from dvq_ray.quantizer.rules import enough_samples, faiss_is_installed, indexed_by_bits

if TYPE_CHECKING:
    import faiss

NEEDS_FAISS = Rule(fields=("quantizer",), breach=faiss_is_installed)


class FaissTrained(Quantizer):
    """Codebooks of one size, a power of 2, that faiss trains on all training vectors.

    Every fit starts from rows that follow from the cell's seed, and runs on one thread. faiss has code for several
    processors and may round differently on another one.
    """

    stream: ClassVar[str] = "faiss"
    rules: ClassVar[tuple[Rule, ...]] = (
        NEEDS_FAISS,
        Rule(fields=("codebook_size",), breach=indexed_by_bits),
        Rule(fields=("codebook_size", "train_samples"), breach=enough_samples),
    )

    codebook_size: CodebookSize
    """Codes in each codebook: K in the paper."""

    def index_bits(self) -> int:
        """Bits of a code in one codebook."""
        return self.codebook_size.bit_length() - 1


class FaissIndexed(FaissTrained):
    """Those whose codec is a faiss index."""

    @abstractmethod
    def index(self, features: int) -> faiss.Index:
        """What is trained, for vectors of so many features."""

    def parameters(self, features: int) -> int:
        """All numbers in the codebooks, each of which holds codes of a vector's or its slice's length."""
        return sum(self.codebook_sizes()) * features // self.feature_slices()

    def fit(self, vectors: Vectors, rng: np.random.Generator) -> Codec:
        """The codec of the trained index."""
        from dvq_ray.fitting.codecs.faiss import FaissCodec
        from dvq_ray.fitting.with_faiss import trained

        return FaissCodec(trained(lambda: self.index(vectors.shape[1]), vectors, rng))


def all_vectors(clustering: faiss.ClusteringParameters) -> None:
    """Makes k-means take all vectors, where faiss takes 256 for each code, and none too few to cluster."""
    clustering.max_points_per_centroid = np.iinfo(np.int32).max
    clustering.min_points_per_centroid = 1
