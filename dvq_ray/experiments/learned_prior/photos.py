"""Crops of the two photographs that scikit-learn ships: small images that need no download."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dvq_ray.experiments.learned_prior.sources import ImagesError

PHOTOGRAPHS = ("china.jpg", "flower.jpg")
TRAIN_STRIDE, TEST_STRIDE = 8, 16
"""Pixels from one crop to the next, across and down. Test crops, which are looked at again and again, overlap less."""


def held_back(height: int, width: int, image_size: int) -> NDArray[np.bool_]:
    """`[height, width]`, true where a pixel is for testing.

    A photograph is cut into blocks of twice the crops' size, and every fifth block is for testing, in knight's moves:
    no two of them touch, so that a crop that is all test lies in a single block.
    """
    block = 2 * image_size
    row, column = np.arange(height)[:, None] // block, np.arange(width)[None, :] // block
    return np.asarray((2 * row + column) % 5 == 0)


def read_photos(image_size: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Train and test crops, `[crops, 3, image_size, image_size]`, which have no pixel in common.

    A crop is one or the other where all of its pixels are; the rest are left out. Raises `ImagesError` where the
    photographs are too small for such crops.
    """
    from sklearn.datasets import load_sample_image  # takes a second that other sources need not spend

    train, test = [], []
    for name in PHOTOGRAPHS:
        photograph = load_sample_image(name)
        height, width = photograph.shape[:2]
        if image_size > min(height, width):
            raise _too_large(image_size)
        tested = held_back(height, width, image_size)
        train.append(_crops(photograph, ~tested, image_size, TRAIN_STRIDE))
        test.append(_crops(photograph, tested, image_size, TEST_STRIDE))
    splits = [np.ascontiguousarray(np.concatenate(crops)) for crops in (train, test)]
    if not all(map(len, splits)):
        raise _too_large(image_size)
    return splits[0], splits[1]


def _crops(pixels: NDArray[np.uint8], wanted: NDArray[np.bool_], size: int, stride: int) -> NDArray[np.uint8]:
    """`[crops, 3, size, size]` of those whose pixels are all `wanted`."""
    images = np.lib.stride_tricks.sliding_window_view(pixels, (size, size), axis=(0, 1))[::stride, ::stride]
    masks = np.lib.stride_tricks.sliding_window_view(wanted, (size, size))[::stride, ::stride]
    chosen: NDArray[np.uint8] = images[masks.all(axis=(-1, -2))]
    return chosen


def _too_large(image_size: int) -> ImagesError:
    allowed = "an image_size that leaves crops for training and for testing: 8 to 212"
    return ImagesError.of("photos", expected=allowed, found=f"image_size = {image_size}")
