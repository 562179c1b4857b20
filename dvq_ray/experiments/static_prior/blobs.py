"""Gaussian blobs: the data of the static prior (paper, section 4.1)."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

CENTRE_BOUND = 10.0
"""Centres are uniform in [-10, 10) along each feature, as in make_blobs; within a blob the deviation is 1."""

_CHUNK_VALUES = 1 << 18


@dataclass(frozen=True, kw_only=True)
class Blobs:
    """Samples of one mixture of isotropic Gaussians."""

    train: npt.NDArray[np.float32]
    """[train_samples, dimension]"""
    test: npt.NDArray[np.float32]
    """[test_samples, dimension]"""

    @cached_property
    def variance(self) -> float:
        """Mean squared error per dimension of predicting the training mean, on the test vectors."""
        mean = self.train.mean(axis=0, dtype=np.float64)
        return float(np.square(self.test - mean).mean(dtype=np.float64))

    def sha256(self) -> str:
        """Digest of the shapes and the numbers, train before test."""
        digest = hashlib.sha256()
        for rows in (self.train, self.test):
            digest.update(f"{rows.shape}".encode())
            digest.update(np.ascontiguousarray(rows).data)
        return digest.hexdigest()


def draw_blobs(
    *, factors: int, dimension: int, train_samples: int, test_samples: int, rng: np.random.Generator
) -> Blobs:
    """Draws `factors` blobs and samples of them.

    The distribution is that of scikit-learn's make_blobs with its default box and deviation, followed by a
    split: over train and test together the blobs are of equal size (up to one sample, the first ones being
    the larger), and the order is random. make_blobs itself loops over the centres in Python and works in
    float64, which makes the data of 16384 blobs cost more than a fit.
    """
    total = train_samples + test_samples
    centres = _centres((factors, dimension), rng)
    # The noise is exchangeable, so that shuffling the labels shuffles the samples.
    labels = rng.permutation(np.arange(total) % factors)
    samples = rng.standard_normal((total, dimension), dtype=np.float32)
    rows = max(1, _CHUNK_VALUES // dimension)
    for start in range(0, total, rows):
        samples[start : start + rows] += centres[labels[start : start + rows]]
    return Blobs(train=samples[:train_samples], test=samples[train_samples:])


def draw_factorial_blobs(
    *, groups: int, centres: int, dependence: float, dimension: int, train_samples: int, test_samples: int,
    rng: np.random.Generator,
) -> Blobs:  # fmt: skip
    """Draws blobs whose centres are all combinations of `centres` points in each of `groups` parts of the features.

    A sample's groups pick their centres independently, but that each takes a number which all share with the chance
    `dependence`. Over train and test together every centre of a group is picked equally often where that chance is 0.
    Around its centre a sample has deviation 1 along each feature, so that its distance to the nearest centre is what no
    code can tell: a mean squared error of 1, less what neighbouring blobs that overlap give.
    """
    total = train_samples + test_samples
    width = dimension // groups
    places = _centres((groups, centres, width), rng)
    shared = rng.permutation(np.arange(total) % centres)
    samples = rng.standard_normal((total, dimension), dtype=np.float32)
    for group in range(groups):
        own = rng.permutation(np.arange(total) % centres)
        picked = np.where(rng.random(total) < dependence, shared, own)
        samples[:, group * width : (group + 1) * width] += places[group, picked]
    return Blobs(train=samples[:train_samples], test=samples[train_samples:])


def mixed_features(
    vectors: npt.NDArray[np.float32], mixing: float, rng: np.random.Generator
) -> npt.NDArray[np.float32]:
    """Rotates vectors [samples, dimension] so that each feature takes something from all others.

    A rotation is a chain of plane rotations, each of two features by a random angle, in the order of a butterfly: after
    one pass every feature depends on every other one. Three passes with angles over the whole circle are close to a
    random rotation; `mixing` shrinks all angles, and 0 leaves the vectors as they are. Lengths and distances stay the
    same.

    Each plane rotation is a product and a sum for each feature, so that all processors give the same bytes, which a
    product of matrices would not.
    """
    dimension = vectors.shape[1]
    columns = [np.ascontiguousarray(column) for column in vectors.astype(np.float64).T]
    for _ in range(_PASSES):
        order = rng.permutation(dimension)
        stride = 1
        while stride < dimension:
            angles = np.pi * (2 * rng.random(size=(dimension,)) - 1)
            for first in range(dimension):
                second = first ^ stride
                if first < second < dimension:
                    a, b = order[first], order[second]
                    angle = mixing * float(angles[first])
                    cosine, sine = math.cos(angle), math.sin(angle)
                    columns[a], columns[b] = (
                        cosine * columns[a] - sine * columns[b],
                        sine * columns[a] + cosine * columns[b],
                    )
            stride *= 2
    return np.stack(columns, axis=1).astype(np.float32)


_PASSES = 3
"""Of the butterfly. One reaches all features; the others, in other orders, even out what each gets of them."""


def _centres(shape: tuple[int, ...], rng: np.random.Generator) -> npt.NDArray[np.float32]:
    centres = rng.random(shape, dtype=np.float32)
    centres *= 2 * CENTRE_BOUND
    centres -= CENTRE_BOUND
    return centres
