"""The codes that training on fixed vectors begins at."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from dvq_ray.quantizer.base import Vectors
from dvq_ray.quantizer.codebook import CodebookQuantizer
from dvq_ray.streams import stream

Codebooks = npt.NDArray[np.float32]


def uniform_codes(shape: tuple[int, int, int], bound: float, seed: int) -> Codebooks:
    """Codes [codebooks, codes, features of a code], uniform in [-bound, bound)."""
    return stream(seed, "initial codebooks").uniform(-bound, bound, shape).astype(np.float32)


def chosen_codes(quantizer: CodebookQuantizer, train: Vectors, seed: int) -> Codebooks:
    """Training vectors that k-means++ picks for each codebook: [codebooks, codes, features of a code].

    Raises ValueError where there are fewer vectors than codes.
    """
    # scikit-learn takes a second to import, which most workers need not spend
    from sklearn.cluster import kmeans_plusplus

    from dvq_ray.process.blas_threads import one_blas_thread

    rng = stream(seed, "k-means++ codes")
    chosen = []
    with one_blas_thread():
        for part in _parts(quantizer, train):
            # In float32 the rounding of its sums, which depends on the processor, decides one pick in some hundreds.
            _, rows = kmeans_plusplus(
                part.astype(np.float64), quantizer.codebook_size, random_state=int(rng.integers(2**32))
            )
            chosen.append(part[rows])
    return np.stack(chosen)


def _parts(quantizer: CodebookQuantizer, train: Vectors) -> Iterable[Vectors]:
    """What each codebook sees of the vectors [samples, features]: [codebooks] of [samples, features of a code]."""
    if quantizer.lies_on_slices():
        return np.split(train, quantizer.codebooks(), axis=1)
    import torch

    parts: Iterable[Vectors] = (
        quantizer.cut(train.shape[1]).split(torch.from_numpy(train).unsqueeze(-1)).flatten(1, 2).numpy()
    )
    return parts
