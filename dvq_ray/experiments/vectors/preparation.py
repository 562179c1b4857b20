"""What is done to vectors before a quantizer sees them, and undone after."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from dvq_ray.quantizer.base import blocks

Vectors = npt.NDArray[np.float32]
Scale = Literal["none", "whole", "features"]


def directions(vectors: Vectors) -> Vectors:
    """Each row divided by its length; rows of zeros stay."""
    found = np.empty_like(vectors)
    for rows in blocks(*vectors.shape):
        lengths = np.sqrt(np.square(vectors[rows], dtype=np.float64).sum(axis=1, keepdims=True))
        found[rows] = vectors[rows] / np.where(lengths > 0, lengths, 1)
    return found


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """A shift and a scale, the same for all rows."""

    mean: npt.NDArray[np.float32]
    """[dimension] or [1], what is subtracted."""
    deviation: npt.NDArray[np.float32]
    """[dimension] or [1], what the rest is divided by."""

    @classmethod
    def fitted(cls, train: Vectors, *, centre: bool, scale: Scale) -> Preparation:
        """To the training rows [rows, dimension]."""
        mean = train.mean(axis=0, dtype=np.float64)
        if scale == "none":
            deviation = np.ones(1)
        else:
            parts = (np.square(train[rows] - mean).sum(axis=0) for rows in blocks(*train.shape))
            variance = np.asarray(sum(parts)) / len(train)
            deviation = np.sqrt(variance if scale == "features" else variance.mean(keepdims=True))
        return cls(
            mean=(mean if centre else np.zeros(1)).astype(np.float32),
            deviation=np.where(deviation > 0, deviation, 1).astype(np.float32),
        )

    def applied(self, vectors: Vectors) -> Vectors:
        """What a quantizer sees of `vectors` [rows, dimension]."""
        found = vectors - self.mean
        found /= self.deviation
        return found

    def undone(self, vectors: Vectors) -> Vectors:
        """What a quantizer gives, in the units of the data."""
        found = vectors * self.deviation
        found += self.mean
        return found
