"""A quantizer that is fitted: a codebook of random training vectors, as a baseline that learns nothing."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from dvq_ray import Codec, Quantizer
from dvq_ray.fitting.codecs.codebooks import CodebookCodec
from dvq_ray.quantizer.base import CodebookSize, Vectors


class RandomRows(Quantizer):
    """Codes are training vectors, drawn without replacement."""

    label: ClassVar[str] = "random rows"
    shade: ClassVar[str] = "codebook_size"

    codebook_size: CodebookSize

    def codebook_sizes(self) -> tuple[int, ...]:
        """[1]"""
        return (self.codebook_size,)

    def parameters(self, features: int) -> int:
        """All numbers in the codebook."""
        return self.codebook_size * features

    def fit(self, vectors: Vectors, rng: np.random.Generator) -> Codec:
        """A codebook [1, codes, features]. Raises ValueError where there are fewer vectors than codes."""
        rows = rng.choice(len(vectors), size=self.codebook_size, replace=False)
        return CodebookCodec(vectors[None, rows])
