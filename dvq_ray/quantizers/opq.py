"""OPQ: product quantization of rotated features (Ge, He, Ke and Sun, "Optimized product quantization", CVPR 2013)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from dvq_ray.quantizer.base import Codec, Vectors
from dvq_ray.quantizer.rules import faiss_is_installed, indexed_by_bits
from dvq_ray.quantizer.slices import slices_at_bits, slices_divide
from dvq_ray.quantizers._faiss import all_vectors
from dvq_ray.quantizers.pq import Pq


class Opq(Pq):
    """PQ after a rotation that is learned together with codebooks (faiss's `OPQMatrix`), and codebooks trained anew.

    The rotation starts at random, as in faiss, and follows from the cell's seed. It is learned for codebooks of this
    size, where a factory string such as `OPQ8,PQ8x4` learns it for 256 codes. faiss is needed for the fit alone.
    """

    label: ClassVar[str] = "OPQ"

    @classmethod
    def at_bits(cls, bits: int, features: int) -> Mapping[str, Any] | None:
        """The fewest slices with a power of 2 of codes, up to 256, each."""
        found = slices_at_bits(bits, features)
        if found is None or faiss_is_installed("opq") or indexed_by_bits(found[1]):
            return None
        return {"slices": found[0], "codebook_size": found[1]}

    def parameters(self, features: int) -> int:
        """All numbers in the codebooks, and the rotation."""
        return self.codebook_size * features + features**2

    def fit(self, vectors: Vectors, rng: np.random.Generator) -> Codec:
        """The rotation, then PQ of what it gives."""
        import faiss

        from dvq_ray.fitting.codecs.codebooks import CodebookCodec
        from dvq_ray.fitting.codecs.rotated import RotatedCodec
        from dvq_ray.fitting.with_faiss import one_thread, trained

        features = vectors.shape[1]
        if breach := slices_divide(self.slices, features):
            raise ValueError(f"slices = {self.slices} {breach}")
        codebooks = faiss.ProductQuantizer(features, self.slices, self.index_bits())
        all_vectors(codebooks.cp)
        with one_thread():
            start, _ = np.linalg.qr(rng.normal(size=(features, features)))

        def rotation_matrix() -> faiss.OPQMatrix:
            matrix = faiss.OPQMatrix(features, self.slices)
            matrix.max_train_points = len(vectors)
            matrix.pq = codebooks  # without it each codebook would have 256 codes
            faiss.copy_array_to_vector(start.astype(np.float32).ravel(), matrix.A)
            return matrix

        found = trained(rotation_matrix, vectors, rng)
        rotation = faiss.vector_to_array(found.A).reshape(features, features)
        with one_thread():
            codec = super().fit(vectors @ rotation.T, rng)
        assert isinstance(codec, CodebookCodec)
        return RotatedCodec(rotation, codec)

    def products(self, features: int) -> float:
        """The rotation, and the distances to all codes."""
        return float(self.parameters(features))

    def fit_seconds(self, vectors: int, features: int) -> float:
        """Fifty turns of four Lloyd iterations and a rotation, then PQ."""
        turns = 50 * vectors * (4 * sum(self.codebook_sizes()) * 2e-9 + 3 * features**2 * 3.5e-11)
        return turns + 50 * features**3 * 2e-9 + super().fit_seconds(vectors, features)


QUANTIZER = Opq
