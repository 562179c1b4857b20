"""Patches of photographs as vectors: natural data that need no download."""

from __future__ import annotations

import numpy as np

from dvq_ray.experiments.learned_prior.photos import PHOTOGRAPHS, held_back
from dvq_ray.experiments.vectors.rows import ArrayRows
from dvq_ray.experiments.vectors.sources import Split

_SIZE = 8
_STRIDES = {"train": 4, "test": 8}
"""Pixels from one patch to the next, across and down."""


def patches(split: Split) -> ArrayRows:
    """Grey patches [patches, 64] of scikit-learn's two photographs, 0 to 255.

    A patch is for training or for testing where all of its pixels are, so that the two have no pixel in common.
    """
    from sklearn.datasets import load_sample_image  # takes a second that other sources need not spend

    found = []
    for name in PHOTOGRAPHS:
        grey = load_sample_image(name).mean(axis=2, dtype=np.float32)
        tested = held_back(grey.shape[0], grey.shape[1], _SIZE)
        wanted, stride = tested if split == "test" else ~tested, _STRIDES[split]
        windows, masks = (
            np.lib.stride_tricks.sliding_window_view(each, (_SIZE, _SIZE))[::stride, ::stride]
            for each in (grey, wanted)
        )
        found.append(windows[masks.all(axis=(-1, -2))])
    return ArrayRows("photo_patches", np.concatenate(found).reshape(-1, _SIZE**2))
