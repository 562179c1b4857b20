"""The codec of codebooks on equal slices of the rotated features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from dvq_ray.fitting.codecs.codebooks import CodebookCodec
from dvq_ray.process.blas_threads import one_blas_thread
from dvq_ray.quantizer.base import Codec, Codes, Vectors, blocks, code_type

if TYPE_CHECKING:
    import faiss


class RotatedCodec(Codec):
    """A rotation, and codes of each slice of what it gives.

    One thread rotates, always in the same blocks: rounding depends on the other vectors of a block, and may decide
    between two codes that are equally near.
    """

    def __init__(self, rotation: npt.NDArray[np.float32], codebooks: CodebookCodec) -> None:
        """`rotation` [features, features] times a vector is what `codebooks` encode."""
        self.rotation = rotation
        self.codebooks = codebooks

    def encode(self, vectors: Vectors) -> Codes:
        """Codes [samples, slices] of `vectors` [samples, features]."""
        slices, size, _ = self.codebooks.codebooks.shape
        codes: Codes = np.empty((len(vectors), slices), code_type([size]))
        with one_blas_thread():
            for rows in blocks(*vectors.shape):
                codes[rows] = self.codebooks.encode(np.asarray(vectors[rows], np.float32) @ self.rotation.T)
        return codes

    def decode(self, codes: Codes) -> Vectors:
        """Vectors [samples, features] of `codes` [samples, slices]."""
        vectors = np.empty((len(codes), len(self.rotation)), np.float32)
        with one_blas_thread():
            for rows in blocks(*vectors.shape):
                np.matmul(self.codebooks.decode(codes[rows]), self.rotation, out=vectors[rows])
        return vectors

    def arrays(self) -> Mapping[str, npt.NDArray[Any]]:
        """The rotation and the codebooks."""
        return {"rotation": self.rotation, **self.codebooks.arrays()}

    def to_faiss(self, offset: Vectors, unit: float) -> faiss.Index:
        """A rotation about `offset` before an IndexPQ. Raises ValueError where the codes are no power of two."""
        import faiss

        from dvq_ray.fitting.with_faiss import product_index

        features = len(self.rotation)
        rotation = faiss.LinearTransform(features, features, True)
        faiss.copy_array_to_vector(np.ascontiguousarray(self.rotation).ravel(), rotation.A)
        faiss.copy_array_to_vector(-self.rotation @ np.broadcast_to(offset, features), rotation.b)
        rotation.is_orthonormal = rotation.is_trained = True
        index = faiss.IndexPreTransform(rotation, product_index(self.codebooks.codebooks * np.float32(unit)))
        index.is_trained = True
        return index

    @classmethod
    def rebuilt(cls, description: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> Self:
        """The codec of a `rotation` and `codebooks`."""
        codebooks, rotation = CodebookCodec.rebuilt({}, arrays), arrays.get("rotation")
        features = codebooks.codebooks.shape[0] * codebooks.codebooks.shape[2]
        if rotation is None or rotation.dtype != np.float32 or rotation.shape != (features, features):
            found = "is missing" if rotation is None else f"is {rotation.dtype} {list(rotation.shape)}"
            raise ValueError(f"rotation {found}; allowed: float32 {[features, features]}")
        return cls(rotation, codebooks)


CODEC = RotatedCodec
