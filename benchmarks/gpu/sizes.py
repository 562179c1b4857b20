"""How much of everything is measured, on a GPU and in tests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks import quantizers
from benchmarks.training import OFFICIAL, SMALL
from dvq_ray.experiment.registry import find_experiment
from dvq_ray.experiments.learned_prior.device import DataSet, Device
from dvq_ray.experiments.learned_prior.images import Images
from dvq_ray.streams import stream

_TINY_NETWORK = {
    "image_size": 8, "downsamplings": 1, "stem_channels": 7, "body_channels": 15, "residual_channels": 8,
    "residual_blocks": 1, "dimension": 30, "slices": 2, "codebook_size": 16,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much of everything is measured."""

    networks: Mapping[str, Mapping[str, Any]]
    """Fields by label; the last one is the small network."""
    batch_size: int
    rounds: int
    steps: int
    """In a round."""
    shapes: tuple[quantizers.Shape, ...]
    products: int
    """Rows and columns of the matrices whose product says what the device can do."""
    resumed_steps: int
    chunk_seconds: float
    """Between two checkpoints of the long trainings."""
    long_steps: int
    long_images: int | None
    """Photographs to train on, and to test on; None: all."""
    trial_seconds: float
    test_files: int | None
    """Files of GPU tests; None: all."""


FULL = Sizes(
    networks={"author's network": {**OFFICIAL, "codebook_size": 512}, "small network": {**SMALL, "codebook_size": 64}},
    batch_size=128,
    rounds=5,
    steps=20,
    shapes=quantizers.SHAPES,
    products=8192,
    resumed_steps=40,
    chunk_seconds=20.0,
    long_steps=100_000,
    long_images=None,
    trial_seconds=8.0,
    test_files=None,
)
TINY = Sizes(
    networks={"tiny network": _TINY_NETWORK},
    batch_size=4,
    rounds=2,
    steps=2,
    shapes=(quantizers.Shape(slices=2, codes=8, slice_dim=4, side=2, batch=2),),
    products=64,
    resumed_steps=4,
    chunk_seconds=0.2,
    long_steps=40,
    long_images=8,
    trial_seconds=0.3,
    test_files=1,
)


def settings_of(network: Mapping[str, Any], sizes: Sizes, **more: Any) -> Any:
    """Of a DVQ, unless `more` says otherwise; None leaves a field out."""
    fields = {"quantizer": "dvq", "batch_size": sizes.batch_size, "steps": sizes.long_steps, **network, **more}
    return find_experiment("learned_prior").settings({k: v for k, v in fields.items() if v is not None})


def random_images(size: int, device: Device) -> DataSet:
    """As many as no step waits for."""
    pixels = stream(0, "images").integers(0, 256, (1024, 3, size, size), dtype=np.uint8)
    return DataSet(Images(train=pixels, test=pixels[:1], sha256=""), device)
