"""OPQ: product quantization of rotated features (Ge, He, Ke and Sun, "Optimized product quantization", CVPR 2013)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from dvq_ray.declarations.field import Axis
from dvq_ray.quantizer.base import Codec, Vectors
from dvq_ray.quantizer.slices import slices_divide
from dvq_ray.quantizers._faiss import all_vectors
from dvq_ray.quantizers.pq import Pq

if TYPE_CHECKING:
    from dvq_ray.fitting.codecs.rotated import RotatedCodec

RotationStart = Literal["random", "components", "features", "best"]
Matrix = npt.NDArray[np.float32]
_LEAST_VARIANCE = 1e-9
"""Share of the largest one; less is rounding."""
_TINY = float(np.finfo(np.float64).tiny)


class Opq(Pq):
    """PQ after a rotation that is learned together with codebooks (faiss's `OPQMatrix`), and codebooks trained anew.

    The rotation is learned for codebooks of this size, where a factory string such as `OPQ8,PQ8x4` learns it for 256
    codes. faiss is needed for the fit alone.
    """

    label: ClassVar[str] = "OPQ"
    added: ClassVar[Mapping[str, Any]] = {"rotation_start": "random", "rotation_rounds": 50}

    rotation_start: Annotated[RotationStart, Axis(label="rotation start", role="training")] = "random"
    """Where the rotation starts: at one that the seed draws, as in faiss; at the principal `components`, dealt out so
    that the product of variances is about the same in all slices (the paper's parametric solution, section 4); at the
    `features` as they are; or `best`: at the last two, of which the one with the least training error is kept.

    No start is best on all data, and rounds hardly make up for a bad one. With 8 slices of 256 codes, a random start
    ends at 0.30 of the variance of SIFT descriptors, the components at 0.26, the features at 0.28; on descriptors of
    another set at 0.24, 0.24 and 0.17."""
    rotation_rounds: Annotated[int, Field(ge=1), Axis(label="rotation rounds", role="training")] = 50
    """Turns of codebooks and rotation, four Lloyd iterations each. On descriptors 10 are enough from the components or
    the features; on text embeddings of 384 features the error still falls after 20."""

    @classmethod
    def at_bits(cls, bits: int, features: int) -> Mapping[str, Any] | None:
        """As PQ, from the better of two starts. None for one slice, to which a rotation does nothing.

        Only 10 rounds, so that a comparison takes minutes. Where features are many, more lower the error further.
        """
        found = super().at_bits(bits, features)
        return {**found, "rotation_start": "best", "rotation_rounds": 10} if found and found["slices"] > 1 else None

    def parameters(self, features: int) -> int:
        """All numbers in the codebooks, and the rotation."""
        return self.codebook_size * features + features**2

    def fit(self, vectors: Vectors, rng: np.random.Generator) -> Codec:
        """The rotation, then PQ of what it gives, from each start; the one with the least training error is kept."""
        if breach := slices_divide(self.slices, vectors.shape[1]):
            raise ValueError(f"slices = {self.slices} {breach}")
        found = [self._fitted(vectors, start, rng) for start in self._starts(vectors, rng)]
        if len(found) == 1:
            return found[0]
        return min(found, key=lambda codec: codec.evaluate(vectors, self.codebook_sizes())[0])

    def _starts(self, vectors: Vectors, rng: np.random.Generator) -> Iterator[Matrix]:
        """Rotations [features, features], whose rows are the directions of the rotated features."""
        from dvq_ray.fitting.with_faiss import one_thread

        features = vectors.shape[1]
        if self.rotation_start == "random":
            with one_thread():
                start, _ = np.linalg.qr(rng.normal(size=(features, features)))
            yield start.astype(np.float32)
        if self.rotation_start in ("components", "best"):
            with one_thread():
                start = dealt_components(vectors, self.slices)
            yield start
        if self.rotation_start in ("features", "best"):
            yield np.eye(features, dtype=np.float32)

    def _fitted(self, vectors: Vectors, start: Matrix, rng: np.random.Generator) -> RotatedCodec:
        import faiss

        from dvq_ray.fitting.codecs.codebooks import CodebookCodec
        from dvq_ray.fitting.codecs.rotated import RotatedCodec
        from dvq_ray.fitting.with_faiss import one_thread, trained

        features = vectors.shape[1]
        codebooks = faiss.ProductQuantizer(features, self.slices, self.index_bits())
        all_vectors(codebooks.cp)

        def rotation_matrix() -> faiss.OPQMatrix:
            matrix = faiss.OPQMatrix(features, self.slices)
            matrix.max_train_points = len(vectors)
            matrix.niter = self.rotation_rounds
            matrix.pq = codebooks  # without it each codebook would have 256 codes
            faiss.copy_array_to_vector(start.ravel(), matrix.A)
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
        """Rounds of four Lloyd iterations and a rotation, then PQ."""
        each = vectors * (4 * sum(self.codebook_sizes()) * 2e-9 + 3 * features**2 * 3.5e-11) + features**3 * 2e-9
        starts = 2 if self.rotation_start == "best" else 1
        return starts * (self.rotation_rounds * each + super().fit_seconds(vectors, features))


def dealt_components(vectors: Vectors, slices: int) -> Matrix:
    """Principal components [features, features], a slice's after the other's.

    From the largest variance on, each goes to the slice whose variances have the least product so far, until that is
    full: eigenvalue allocation (Ge et al., section 4.2), in units in which no variance is below 1.
    """
    covariance = np.cov(vectors, rowvar=False, dtype=np.float64)
    variances, directions = np.linalg.eigh(np.atleast_2d(covariance))
    most = len(variances) // slices
    logs = np.log(variances.clip(min=_LEAST_VARIANCE * variances.max() + _TINY))
    logs -= logs.min()
    dealt: list[list[int]] = [[] for _ in range(slices)]
    for component in np.argsort(-variances, kind="stable"):
        free = (each for each in dealt if len(each) < most)
        min(free, key=lambda each: sum(logs[each])).append(int(component))
    return np.ascontiguousarray(directions[:, np.concatenate(dealt)].T, dtype=np.float32)


QUANTIZER = Opq
