"""Codebooks on slices of the features as an index of faiss."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from dvq_ray.models.files import ModelError


def product_index(codebooks: npt.NDArray[np.float32]) -> Any:
    """A trained faiss.IndexPQ without rows, with these codebooks [slices, codes, features of a slice].

    Raises `ModelError` where faiss is not installed, or packs no codes of that size.
    """
    try:
        import faiss
    except ImportError as error:
        raise ModelError("faiss is not installed; install it with: pip install faiss-cpu") from error
    slices, size, part = codebooks.shape
    bits = (size - 1).bit_length()
    if size != 1 << bits:
        raise ModelError(f"found codebooks of {size} codes; allowed in faiss: a power of two")
    index = faiss.IndexPQ(slices * part, slices, bits)
    faiss.copy_array_to_vector(np.ascontiguousarray(codebooks).ravel(), index.pq.centroids)
    index.is_trained = True
    return index
