"""The codec of codebooks on equal slices of the features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from dvq_ray.quantizer.base import Codec, Codes, Vectors, blocks, code_type

if TYPE_CHECKING:
    import faiss


class CodebookCodec(Codec):
    """Each slice of a vector to the nearest code of its codebook; equal distances go to the lowest index.

    The compiled kernel searches: the same codes on every processor, whichever vectors are encoded together.
    """

    def __init__(self, codebooks: npt.NDArray[np.float32], half_norms: npt.NDArray[np.float32] | None = None) -> None:
        """`codebooks` is [slices, codes, features of a slice].

        `half_norms` [slices, codes] are half the squared lengths of the codes as training rounded them, where it did:
        with others a vector between two codes might go to the other one.
        """
        self.codebooks = codebooks
        self.half_norms = half_norms

    def encode(self, vectors: Vectors) -> Codes:
        """Codes [samples, slices] of `vectors` [samples, features]."""
        from dvq_ray.fitting import compiled  # takes a second to import

        slices, size, _ = self.codebooks.shape
        codes: Codes = np.empty((len(vectors), slices), code_type([size]))
        searched = compiled.Codebooks(self.codebooks, compiled.BLOCK, self.half_norms)
        for rows in blocks(*vectors.shape):
            nearest = np.empty((rows.stop - rows.start, slices), np.int32)
            searched.evaluate(np.ascontiguousarray(vectors[rows], np.float32), nearest)
            codes[rows] = nearest
        return codes

    def decode(self, codes: Codes) -> Vectors:
        """Vectors [samples, features] of `codes` [samples, slices]."""
        slices, _, part = self.codebooks.shape
        vectors = np.empty((len(codes), slices, part), np.float32)
        for rows in blocks(len(codes), slices * part):
            for place, codebook in enumerate(self.codebooks):
                vectors[rows, place] = codebook[codes[rows, place]]
        return vectors.reshape(len(codes), slices * part)

    def evaluate(self, vectors: Vectors, sizes: tuple[int, ...]) -> tuple[float, list[npt.NDArray[np.int64]]]:
        """As of any codec, by the compiled kernel: the same bytes on every processor."""
        from dvq_ray.fitting import compiled

        mse, counts = compiled.evaluate(self.codebooks, vectors, self.half_norms)
        return mse, list(counts)

    def arrays(self) -> Mapping[str, npt.NDArray[Any]]:
        """The codebooks, and their half norms where training left them."""
        norms = {} if self.half_norms is None else {"half_norms": self.half_norms}
        return {"codebooks": self.codebooks, **norms}

    def to_faiss(self, offset: Vectors, unit: float) -> faiss.Index:
        """An IndexPQ. Raises ValueError where the codes are no power of two."""
        from dvq_ray.fitting.with_faiss import product_index

        # The order of `Preparation.undone`, so that faiss decodes to the same bytes.
        codebooks = self.codebooks * np.float32(unit)
        slices, _, part = codebooks.shape
        codebooks += np.broadcast_to(offset, slices * part).reshape(slices, 1, part)
        return product_index(codebooks)

    @classmethod
    def rebuilt(cls, description: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> Self:
        """The codec of `codebooks` and, where there are any, `half_norms`."""
        codebooks, half_norms = arrays.get("codebooks"), arrays.get("half_norms")
        if codebooks is None or codebooks.dtype != np.float32 or codebooks.ndim != 3 or not codebooks.size:
            raise ValueError(f"{_found('codebooks', codebooks)}; allowed: float32 [slices, codes, features of a slice]")
        if half_norms is not None and (half_norms.dtype != np.float32 or half_norms.shape != codebooks.shape[:2]):
            raise ValueError(f"{_found('half_norms', half_norms)}; allowed: float32 {list(codebooks.shape[:2])}")
        return cls(codebooks, half_norms)


def _found(name: str, array: npt.NDArray[Any] | None) -> str:
    return f"{name} is missing" if array is None else f"{name} is {array.dtype} {list(array.shape)}"


CODEC = CodebookCodec
