"""Small sweep files for tests."""

from __future__ import annotations

from pathlib import Path

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


def write(folder: Path, text: str = TINY, name: str = "sweep.yaml") -> Path:
    """The text as a file."""
    path = folder / name
    path.write_text(text)
    return path
