"""The codec of a trained faiss index that has one on its own (`sa_encode` and `sa_decode`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import faiss
import numpy as np
import numpy.typing as npt

from dvq_ray.fitting.with_faiss import errors_for_people, one_thread
from dvq_ray.quantizer.base import Codec, Codes, Vectors, code_type

ROWS_AT_ONCE = 4096
"""Vectors that faiss sees at once. Its rounding may depend on them, so this stays as it is."""
_SWIG: Any = faiss
"""The same; its type stubs are not complete."""
_MOST_BITS = 16
"""Of a codebook that is counted as one; longer codes are taken as bytes."""


class FaissCodec(Codec):
    """Codes as faiss packs them, one column for each codebook.

    Any other than a product or additive quantizer has a column for each byte of its code. One thread computes, always
    in the same blocks: rounding depends on the other vectors of a block, and may decide between two codes that are
    equally near. An export holds the index as faiss writes it; read only those that you trust.
    """

    def __init__(self, index: faiss.Index) -> None:
        self.index = index
        self._bits = code_bits(index)

    def encode(self, vectors: Vectors) -> Codes:
        """Codes [samples, codebooks] of `vectors` [samples, features]."""
        codes: Codes = np.empty((len(vectors), len(self._bits)), code_type(sizes(self.index)))
        with one_thread():
            for start in range(0, len(vectors), ROWS_AT_ONCE):
                rows = slice(start, start + ROWS_AT_ONCE)
                packed = self.index.sa_encode(np.ascontiguousarray(vectors[rows], np.float32))
                codes[rows] = _SWIG.unpack_bitstrings(packed, self._bits)
        return codes

    def decode(self, codes: Codes) -> Vectors:
        """Vectors [samples, features] of `codes` [samples, codebooks]."""
        vectors = np.empty((len(codes), self.index.d), np.float32)
        with one_thread():
            for start in range(0, len(codes), ROWS_AT_ONCE):
                rows = slice(start, start + ROWS_AT_ONCE)
                vectors[rows] = self.index.sa_decode(_SWIG.pack_bitstrings(codes[rows], self._bits))
        return vectors

    def arrays(self) -> Mapping[str, npt.NDArray[Any]]:
        """The index, as faiss writes it: bytes."""
        return {"index": faiss.serialize_index(self.index)}

    def to_faiss(self, offset: Vectors, unit: float) -> faiss.Index:
        """A copy of the index, behind a shift where there is an offset.

        Raises ValueError for a unit other than 1 where the index is no product or residual quantizer.
        """
        index = faiss.clone_index(self.index)
        if unit != 1:
            _stretch(index, unit)
        if not offset.any():
            return index
        shift = faiss.CenteringTransform(index.d)
        faiss.copy_array_to_vector(np.ascontiguousarray(np.broadcast_to(offset, index.d), np.float32), shift.mean)
        shift.is_trained = True
        return faiss.IndexPreTransform(shift, index)

    @classmethod
    def rebuilt(cls, description: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> Self:
        """The codec of an `index` that faiss wrote."""
        written = arrays.get("index")
        if written is None or written.dtype != np.uint8 or written.ndim != 1:
            found = "is missing" if written is None else f"is {written.dtype} {list(written.shape)}"
            raise ValueError(f"index {found}; allowed: uint8 [bytes], as faiss writes an index")
        with errors_for_people():
            return cls(faiss.deserialize_index(np.ascontiguousarray(written)))


def code_bits(index: faiss.Index) -> list[int]:
    """Bits of the codes of each codebook, in the order in which faiss packs them: [codebooks].

    Raises ValueError where the index has no codec of its own.
    """
    if any(isinstance(each, faiss.ITQTransform) for each in _transforms(index)):
        raise ValueError("faiss: reverse transform not implemented")
    with errors_for_people():
        size = index.sa_code_size()
    quantizer = _quantizer(index)
    if isinstance(quantizer, faiss.ProductQuantizer):
        bits = [quantizer.nbits] * quantizer.M
    elif isinstance(quantizer, faiss.AdditiveQuantizer):
        bits = faiss.vector_to_array(quantizer.nbits).tolist()
        bits += [quantizer.norm_bits] if quantizer.norm_bits else []
    else:
        bits = []
    whole = bool(bits) and max(bits) <= _MOST_BITS and (sum(bits) + 7) // 8 == size
    return [int(each) for each in bits] if whole else [8] * size


def sizes(index: faiss.Index) -> tuple[int, ...]:
    """Codes of each codebook: [codebooks]."""
    return tuple(1 << bits for bits in code_bits(index))


def numbers(index: Any) -> int:
    """Numbers that the codec holds: centroids, codebooks, rotations and ranges. None of other kinds are counted."""
    if isinstance(index, faiss.IndexPreTransform):
        linear = (each for each in _transforms(index) if isinstance(each, faiss.LinearTransform))
        return sum(each.d_in * each.d_out + each.have_bias * each.d_out for each in linear) + numbers(_inner(index))
    quantizer = _quantizer(index)
    centroids = index.nlist * index.d if isinstance(index, faiss.IndexIVF) else 0
    if isinstance(quantizer, faiss.ProductQuantizer):
        return int(centroids + quantizer.ksub * quantizer.d)
    if isinstance(quantizer, faiss.ProductAdditiveQuantizer):
        return int(quantizer.total_codebook_size * quantizer.d // quantizer.nsplits)
    if isinstance(quantizer, faiss.AdditiveQuantizer):
        return int(centroids + quantizer.total_codebook_size * quantizer.d)
    if isinstance(index, faiss.IndexScalarQuantizer):
        return 2 * int(index.d)
    return int(centroids + (index.d if isinstance(index, faiss.IndexRaBitQ) else 0))


def _stretch(index: faiss.Index, unit: float) -> None:
    """Makes an index that was trained on vectors quantize these vectors times `unit`, with the same codes."""
    quantizer = _quantizer(index)
    if isinstance(quantizer, faiss.ProductQuantizer):
        numbers = [quantizer.centroids]
    elif isinstance(quantizer, faiss.ResidualQuantizer | faiss.LocalSearchQuantizer):
        numbers = [quantizer.codebooks]
    else:
        kind = type(_inner(index)).__name__
        raise ValueError(f"{kind} of faiss cannot be given another scale; allowed: cells with scale: none")
    numbers += [each.b for each in _transforms(index) if isinstance(each, faiss.LinearTransform) and each.have_bias]
    for each in numbers:
        faiss.copy_array_to_vector(faiss.vector_to_array(each) * np.float32(unit), each)
    if hasattr(quantizer, "compute_codebook_tables"):  # products of codes, with which some searches are faster
        quantizer.compute_codebook_tables()


def _transforms(index: Any) -> list[Any]:
    """What vectors go through before they are quantized; empty where they are as they come."""
    if not isinstance(index, faiss.IndexPreTransform):
        return []
    chain: Any = index.chain
    return [_SWIG.downcast_VectorTransform(chain.at(place)) for place in range(chain.size())]


def _inner(index: faiss.Index) -> faiss.Index:
    """The index behind transforms of the vectors."""
    return _inner(faiss.downcast_index(index.index)) if isinstance(index, faiss.IndexPreTransform) else index


def _quantizer(index: faiss.Index) -> Any:
    """The product or additive quantizer that makes the codes; None where there is another one."""
    inner = _inner(index)
    return next((getattr(inner, name) for name in ("pq", "rq", "lsq", "prq", "plsq") if hasattr(inner, name)), None)


CODEC = FaissCodec
