"""PQ: k-means for each slice of the features (Jégou, Douze and Schmid, "Product quantization for nearest neighbor
search", IEEE TPAMI 33, 2011)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field

from dvq_ray.declarations.field import Axis
from dvq_ray.declarations.settings import Count, Rule
from dvq_ray.quantizer.base import Codec, Vectors
from dvq_ray.quantizer.rules import faiss_is_installed, indexed_by_bits
from dvq_ray.quantizer.slices import slices_at_bits, slices_divide
from dvq_ray.quantizers._faiss import FaissTrained, all_vectors


class Pq(FaissTrained):
    """faiss's product quantizer: 25 Lloyd iterations from random vectors in each slice.

    It minimises what `kmeans` does with as many slices. faiss takes a third of scikit-learn's time on one core, and
    gives a cluster that loses its vectors a part of the largest one. faiss is needed for the fit alone: the codec is
    that of codebooks on slices.
    """

    label: ClassVar[str] = "PQ"
    family: ClassVar[str] = "grey"
    shade: ClassVar[str] = "slices"
    rules: ClassVar[tuple[Rule, ...]] = (
        *FaissTrained.rules,
        Rule(fields=("slices", "dimension"), breach=slices_divide),
    )

    slices: Annotated[Count, Axis(label="slices", symbol="L", neutral=1, example=[2, 4])]
    """Parts that the features are cut into, each clustered on its own."""
    restarts: Annotated[int, Field(ge=1), Axis(label="restarts", role="training")] = 1
    """Random starts, of which the one with the least training error is kept."""

    @classmethod
    def at_bits(cls, bits: int, features: int) -> Mapping[str, Any] | None:
        """The fewest slices with a power of 2 of codes, up to 256, each."""
        found = slices_at_bits(bits, features)
        if found is None or faiss_is_installed("pq") or indexed_by_bits(found[1]):
            return None
        return {"slices": found[0], "codebook_size": found[1]}

    def codebook_sizes(self) -> tuple[int, ...]:
        """[slices]"""
        return (self.codebook_size,) * self.slices

    def parameters(self, features: int) -> int:
        """All numbers in the codebooks."""
        return self.codebook_size * features

    def feature_slices(self) -> int:
        """The slices."""
        return self.slices

    def fit(self, vectors: Vectors, rng: np.random.Generator) -> Codec:
        """Lloyd's algorithm for each slice."""
        import faiss

        from dvq_ray.fitting.codecs.codebooks import CodebookCodec
        from dvq_ray.fitting.with_faiss import trained

        features = vectors.shape[1]
        if breach := slices_divide(self.slices, features):
            raise ValueError(f"slices = {self.slices} {breach}")

        def product_quantizer() -> faiss.ProductQuantizer:
            quantizer = faiss.ProductQuantizer(features, self.slices, self.index_bits())
            all_vectors(quantizer.cp)
            quantizer.cp.nredo = self.restarts
            return quantizer

        found = trained(product_quantizer, vectors, rng)
        centroids = faiss.vector_to_array(found.centroids)
        return CodebookCodec(centroids.reshape(self.slices, self.codebook_size, features // self.slices))

    def fit_seconds(self, vectors: int, features: int) -> float:
        """Distances of Lloyd's iterations, which hardly depend on how many features a slice has."""
        return 25 * self.restarts * vectors * sum(self.codebook_sizes()) * 1e-9 + 0.03


QUANTIZER = Pq
