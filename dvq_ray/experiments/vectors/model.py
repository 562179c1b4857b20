"""The model of a cell of vectors: a codec, and what is done to vectors before it and undone after."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dvq_ray.experiments.vectors.preparation import Preparation, Vectors, directions
from dvq_ray.experiments.vectors.settings import VectorSettings
from dvq_ray.models.codec_model import CodecModel
from dvq_ray.models.files import KeptModel, ModelError


def preparation_parts(settings: VectorSettings, preparation: Preparation) -> Mapping[str, Any]:
    """What a kept model says of the preparation, with all of its numbers."""
    return {
        "preparation": {
            **settings.model_dump(include={"normalise", "centre", "scale"}),
            "mean": preparation.mean.tolist(),
            "deviation": preparation.deviation.tolist(),
        }
    }


class VectorModel(CodecModel):
    """Vectors in the units of the data to codes and back; with `normalise` they come back with the length 1 or less."""

    def __init__(self, kept: KeptModel) -> None:
        super().__init__(kept)
        parts = kept.parts["preparation"]
        self._normalise, self._scale = parts["normalise"], parts["scale"]
        mean, deviation = (np.array(parts[name], np.float32) for name in ("mean", "deviation"))
        self._preparation = Preparation(mean=mean, deviation=deviation)

    def prepared(self, samples: Vectors) -> Vectors:
        """Vectors as the codec sees them."""
        return self._preparation.applied(directions(samples) if self._normalise else samples)

    def undone(self, samples: Vectors) -> Vectors:
        """What the codec gives, in the units of the data."""
        return self._preparation.undone(samples)

    def units(self) -> tuple[Vectors, float]:
        """The mean and the deviation. With `normalise` an index takes rows that have the length 1 already."""
        if self._scale == "features":
            raise ModelError(
                "scale = features weighs features as no index of faiss does; allowed for faiss: whole, none"
            )
        return self._preparation.mean, float(self._preparation.deviation[0])
