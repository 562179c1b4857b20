"""Training by faiss: one thread, starts that follow from the cell, and errors for people; and indexes of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt

from dvq_ray.quantizer.base import Vectors

if TYPE_CHECKING:
    import faiss

Trained = TypeVar("Trained", bound="faiss.Index | faiss.ProductQuantizer | faiss.VectorTransform")


@contextmanager
def one_thread() -> Iterator[None]:
    """Lets faiss, and the BLAS that it brings, compute with one thread: with several, sums depend on how many."""
    import faiss

    from dvq_ray.process.blas_threads import one_blas_thread

    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        with one_blas_thread():
            yield
    finally:
        faiss.omp_set_num_threads(threads)


@contextmanager
def errors_for_people() -> Iterator[None]:
    """Turns what faiss raises into a ValueError without the places in its source."""
    try:
        yield
    except RuntimeError as error:
        raise ValueError(f"faiss: {reason(error)}") from error


def reason(error: RuntimeError) -> str:
    """What faiss says is wrong: `Error in FUNCTION at FILE:LINE: Error: 'CONDITION' failed: REASON`, or parts of it."""
    *_, last = str(error).partition(" failed: ")
    return (last or str(error).rpartition(": ")[2]).strip()


def shuffled(vectors: Vectors, rng: np.random.Generator) -> Vectors:
    """The vectors [samples, features] in an order that `rng` draws.

    faiss picks the rows that clusters start from by generators with seeds of its own, the same in every cell.
    """
    return np.ascontiguousarray(vectors[rng.permutation(len(vectors))], np.float32)


def trained(make: Callable[[], Trained], vectors: Vectors, rng: np.random.Generator) -> Trained:
    """What `make` gives, trained on `vectors` [samples, features] by one thread. Raises ValueError."""
    with one_thread(), errors_for_people():
        found = make()
        found.train(shuffled(vectors, rng))
    return found


def product_index(codebooks: npt.NDArray[np.float32]) -> faiss.IndexPQ:
    """A trained index without rows, with these codebooks [slices, codes, features of a slice].

    Raises ValueError where faiss packs no codes of that size.
    """
    import faiss

    slices, size, part = codebooks.shape
    bits = (size - 1).bit_length()
    if size != 1 << bits:
        raise ValueError(f"found codebooks of {size} codes; allowed in faiss: a power of two")
    index = faiss.IndexPQ(slices * part, slices, bits)
    faiss.copy_array_to_vector(np.ascontiguousarray(codebooks, np.float32).ravel(), index.pq.centroids)
    index.is_trained = True
    return index
