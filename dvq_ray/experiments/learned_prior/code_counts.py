"""Counting the codes of images batch by batch: in memory that does not grow with the number of images.

Letters in shapes: N images, L codebooks, C codes of an image in each codebook, K codes of a codebook.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from dvq_ray.quantizer.base import code_type

Codes = npt.NDArray[np.integer]
Counts = npt.NDArray[np.int64]
PairCounts = tuple[Counts, Counts]
"""The pairs of codes of two codebooks that occur, as numbers `first * K + second` in ascending order, and how often
each does."""

MOST_SAMPLED_POSITIONS = 1 << 24
"""Positions of a set of images whose codes are kept in memory: all of CIFAR-10's, a part of ImageNet's."""
_COUNTED_AT_ONCE = 1 << 25
"""Codes that are gathered before they are counted."""


class CodeCounts:
    """How often the codes of each codebook occur, and the pairs of codes of neighbouring codebooks at a position."""

    def __init__(self, codebook_size: int, *, pairs: bool) -> None:
        """Pairs are counted where `pairs` says so: codebooks must then have codes of the same positions."""
        self.images = 0
        self._size = codebook_size
        self._counts_pairs = pairs
        self._counts: Counts | None = None
        self._pairs: list[PairCounts] = []
        self._waiting: list[Codes] = []
        self._waiting_codes = 0

    def add(self, codes: Codes) -> None:
        """Counts `codes` [N, L, C] too."""
        self.images += len(codes)
        self._waiting.append(codes.astype(code_type((self._size,)), copy=False))
        self._waiting_codes += codes.size
        if self._waiting_codes >= _COUNTED_AT_ONCE:
            self._count()

    @property
    def counts(self) -> Counts:
        """[L, K] how often each code occurs. There must be codes."""
        self._count()
        assert self._counts is not None
        return self._counts

    @property
    def pairs(self) -> Sequence[PairCounts]:
        """[L - 1], of each codebook but the last with the next one; at most K * K numbers each."""
        self._count()
        return self._pairs

    def _count(self) -> None:
        if not self._waiting:
            return
        columns = np.concatenate(self._waiting).swapaxes(0, 1)
        self._waiting, self._waiting_codes = [], 0
        counts = np.stack([np.bincount(column.ravel(), minlength=self._size) for column in columns])
        self._counts = counts if self._counts is None else self._counts + counts
        if self._counts_pairs:
            found = [
                occurrences(first.ravel().astype(np.int64) * self._size + second.ravel(), self._size**2)
                for first, second in itertools.pairwise(columns)
            ]
            self._pairs = [_sum(*two) for two in zip(self._pairs, found, strict=True)] if self._pairs else found


class CodeSample:
    """Codes of evenly spaced images, in the smallest type."""

    def __init__(self, codebook_size: int, images: int, most_positions: int | None = MOST_SAMPLED_POSITIONS) -> None:
        """Of so many images; None: all their codes."""
        self._type = code_type((codebook_size,))
        self._images = images
        self._most = most_positions
        self._seen = 0
        self._kept: list[Codes] = []

    def add(self, codes: Codes) -> None:
        """Takes what it wants of `codes` [N, L, C] of the next images."""
        step = 1 if self._most is None else spacing(self._images, codes.shape[2], self._most)
        first = -self._seen % step
        self._kept.append(codes[first::step].astype(self._type))
        self._seen += len(codes)

    @property
    def codes(self) -> Codes:
        """[N, L, C]"""
        self._kept = [np.concatenate(self._kept)]
        return self._kept[0]


def evenly_spaced(codes: Codes, most_positions: int = MOST_SAMPLED_POSITIONS) -> Codes:
    """Of the `codes` [N, L, C] those that a `CodeSample` of so many positions keeps."""
    return codes[:: spacing(len(codes), codes.shape[2], most_positions)]


def spacing(images: int, positions: int, most_positions: int) -> int:
    """From one image to the next of those that have at most so many positions in all; at least one image is."""
    return max(1, -(-images // max(1, most_positions // positions)))


def occurrences(numbers: Counts, bound: int) -> PairCounts:
    """Those of the `numbers`, from 0 to below `bound`, that occur, in ascending order, and how often each does."""
    if bound > len(numbers):
        return np.unique(numbers, return_counts=True)
    counts = np.bincount(numbers, minlength=bound)
    found = np.flatnonzero(counts)
    return found, counts[found]


def _sum(one: PairCounts, other: PairCounts) -> PairCounts:
    numbers, counts = np.concatenate([one[0], other[0]]), np.concatenate([one[1], other[1]])
    order = np.argsort(numbers, kind="stable")  # which merges what is in two ascending runs
    numbers = numbers[order]
    first = np.flatnonzero(np.diff(numbers, prepend=-1))
    return numbers[first], np.add.reduceat(counts[order], first)
