"""The model of a quantizer of vectors: its codec."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from dvq_ray.models.files import Arrays, KeptModel, ModelError
from dvq_ray.models.model import Model
from dvq_ray.providers import ProviderError
from dvq_ray.quantizer.base import Codec, Codes, Vectors
from dvq_ray.quantizer.codecs import codec_from, described

_CODEC = "codec/"
"""Begins the names of the codec's arrays."""


def codec_parts(codec: Codec) -> tuple[Mapping[str, Any], Arrays]:
    """What a kept model holds of a codec. Raises where the codec cannot be exported."""
    return {"codec": described(codec)}, {_CODEC + name: array for name, array in codec.arrays().items()}


class CodecModel(Model):
    """Vectors [samples, features] to codes [samples, codebooks] and back."""

    def __init__(self, kept: KeptModel) -> None:
        """Raises ValueError where the parts or the arrays make no codec."""
        super().__init__(kept)
        arrays = {name.removeprefix(_CODEC): array for name, array in kept.arrays.items() if name.startswith(_CODEC)}
        description = kept.parts["codec"]
        try:
            self.codec = codec_from(description, arrays)
        except ProviderError as error:
            raise ModelError(f"found codec = {description['codec']!r:.80}; {error}") from error

    def encode(self, data: npt.NDArray[Any]) -> Codes:
        """Codes [samples, codebooks] of vectors [samples, features]."""
        return self.codec.encode(self.prepared(_rows(data)))

    def decode(self, codes: npt.NDArray[Any]) -> Vectors:
        """Vectors [samples, features], float32."""
        return self.undone(self.codec.decode(_rows(codes, None)))

    def prepared(self, samples: Vectors) -> Vectors:
        """Vectors as the codec sees them."""
        return samples

    def undone(self, samples: Vectors) -> Vectors:
        """What the codec gives, in the units of the data."""
        return samples

    def units(self) -> tuple[Vectors, float]:
        """An offset [features] or [1] and a factor: `undone` is what the codec gives times the factor, plus the offset.

        Raises `ModelError` where it is not.
        """
        return np.zeros(1, np.float32), 1.0

    def to_faiss(self) -> Any:
        """An index of faiss without rows: its `sa_encode` and `sa_decode` take vectors in the units of the data."""
        try:
            return self.codec.to_faiss(*self.units())
        except ImportError as error:
            raise ModelError("faiss is not installed; install it with: pip install faiss-cpu") from error
        except NotImplementedError:
            return super().to_faiss()
        except ValueError as error:
            raise ModelError(f"{self.settings['quantizer']}: {error}") from error


def _rows(values: npt.NDArray[Any], kind: type[np.float32] | None = np.float32) -> npt.NDArray[Any]:
    rows = np.asarray(values, kind)
    if rows.ndim != 2:
        raise ModelError(f"found an array of shape {list(rows.shape)}; allowed: [samples, numbers of each]")
    return rows
