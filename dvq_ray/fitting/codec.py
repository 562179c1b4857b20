"""The codec of codebooks on equal slices of the features."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dvq_ray.quantizer.base import Codec, Codes, Vectors


class CodebookCodec(Codec):
    """Each slice of a vector to the nearest code of its codebook; equal distances go to the lowest index."""

    def __init__(self, codebooks: npt.NDArray[np.float32]) -> None:
        """`codebooks` is [slices, codes, features of a slice]."""
        self.codebooks = codebooks

    def encode(self, vectors: Vectors) -> Codes:
        """Codes [samples, slices] of `vectors` [samples, features]."""
        import torch

        from dvq_ray.quantizer.nearest import nearest_codes

        slices, _, part = self.codebooks.shape
        parts = torch.from_numpy(np.ascontiguousarray(vectors)).view(len(vectors), slices, part).transpose(0, 1)
        codes: Codes = nearest_codes(parts, torch.from_numpy(self.codebooks)).T.numpy()
        return codes

    def decode(self, codes: Codes) -> Vectors:
        """Vectors [samples, features] of `codes` [samples, slices]."""
        parts = [codebook[column] for codebook, column in zip(self.codebooks, codes.T, strict=True)]
        return np.concatenate(parts, axis=1)

    def evaluate(self, vectors: Vectors, sizes: tuple[int, ...]) -> tuple[float, list[npt.NDArray[np.int64]]]:
        """As of any codec, by the compiled kernel: the same bytes on every processor."""
        from dvq_ray.fitting import compiled  # takes a second to import

        mse, counts = compiled.evaluate(self.codebooks, vectors)
        return mse, list(counts)
