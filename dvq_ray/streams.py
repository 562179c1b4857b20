"""Random streams: each is derived from a cell's seed and from what it is for, and from nothing else."""

from __future__ import annotations

import hashlib

import numpy as np


def stream(seed: int, purpose: str) -> np.random.Generator:
    """The PCG64 generator of `purpose` (such as "data" or "batches") for the repetition `seed`.

    Its entropy is the SHA-256 of both, so that streams of different purposes or seeds are independent, adding
    a stream changes no other one, and two quantizers that share a seed see the same data. No global state is
    read: the packing of cells, their order and the worker that runs them cannot change a result.
    """
    digest = hashlib.sha256(f"{purpose}:{seed}".encode()).digest()
    words = [int.from_bytes(digest[i : i + 4], "little") for i in range(0, len(digest), 4)]
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(words)))
