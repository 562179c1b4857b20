"""Small sweep files for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

TINY = """\
name: tiny
trainable: static_prior
seeds: 2
fixed: {factors: 8, train_samples: 256, steps: 20}
grids:
  plain: {quantizer: vq, dimension: [2, 4], codebook_size: 4}
  slices: {quantizer: dvq, dimension: 4, codebook_size: 4, slices: [1, 2]}
"""
"""8 cells of a few milliseconds."""

SEARCH = """\
name: tiny
trainable: static_prior
seeds: 2
fixed: {dimension: 4, factors: 8, train_samples: 256, steps: 20, codebook_size: 4}
search:
  objective: {test_mse: minimize}
  suggestions: 5
  space:
    slices: {choices: [1, 2, 4]}
"""
NOT_A_RESULT = [
    "duration_seconds",
    "images_per_second",
    "peak_memory_bytes",
    "training_seconds",
    "run_id",
    "run_started_at",
    "run_commit",
    "run_host",
    "run_device",
    "run_versions",
]
"""Columns that differ from run to run."""


def write(folder: Path, text: str = TINY, name: str = "sweep.yaml") -> Path:
    """The text as a file."""
    path = folder / name
    path.write_text(text)
    return path


def write_pictures(folder: Path) -> None:
    """Three images of 8x8 to train on and three to test on, in folders of their own."""
    for number, split in enumerate(("train", "test")):
        (folder / split).mkdir()
        for i in range(3):
            pixels = np.random.default_rng([i, number]).integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / split / f"{i}.png")
