"""How well codes use their codebooks, and what they cost: the one definition, for every quantizer.

Counts are how often each code of a codebook occurs: [codes] integers. Several codebooks have a list of these.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]

ADDED = 0.5
"""Occurrences that the unigram model adds to those of each code: the estimator of Krichevsky and Trofimov ("The
performance of universal encoding", IEEE Transactions on Information Theory 27, 1981)."""
FEWEST_VECTORS_PER_CODE = 39
"""With fewer training vectors for each code, codes fit single vectors: below that faiss warns that k-means needs more
(`ClusteringParameters.min_points_per_centroid`)."""
_Z = 1.96
"""Of a 95% interval."""


@dataclass(frozen=True, kw_only=True)
class UnseenCodes:
    """How many codes of a codebook would occur that did not, had there been vectors enough; and a 95% interval."""

    estimate: float
    low: float
    high: float


def count(codes: npt.NDArray[np.integer[Any]], sizes: Sequence[int]) -> list[Counts]:
    """How often each code occurs in `codes` [samples, codebooks]: [codebooks] of [codes]."""
    return [np.bincount(column, minlength=size) for column, size in zip(codes.T, sizes, strict=True)]


def entropy_bits_per_vector(train: Sequence[Counts], test: Sequence[Counts]) -> float:
    """What the test codes of a vector cost under a unigram model of the training codes.

    The model of each codebook knows how often its codes occur among the training vectors, `ADDED` being added to each:
    so a code that never occurs there still has a finite cost. A real coder can reach this rate; it cannot reach the
    entropy of the test codes under their own frequencies. Codebooks are taken as independent.
    """
    total = 0.0
    for known, found in zip(train, test, strict=True):
        smoothed = known + ADDED
        bits = math.log2(smoothed.sum()) - np.log2(smoothed)
        total += float(found @ bits) / int(found.sum())
    return total


def codes_used(counts: Counts) -> int:
    """Codes that occur."""
    return int((counts > 0).sum())


def perplexity(counts: Counts) -> float:
    """2 to the entropy of the codes in bits: as many equally likely codes have that entropy."""
    shares = counts[counts > 0] / counts.sum()
    return math.exp(-float((shares * np.log(shares)).sum()))


def unseen_codes(counts: Counts) -> UnseenCodes:
    """Chao's estimate of the codes that occur, but not among these vectors; at most those that are left.

    It follows from how many codes occur once and twice (Chao1, bias-corrected: Chao, Scandinavian Journal of Statistics
    11, 1984), and is a lower bound where codes are not equally likely. The interval takes the number of unseen codes as
    log-normal (Chao, Biometrics 43, 1987).
    """
    once, twice, left = (int((counts == times).sum()) for times in (1, 2, 0))
    estimate = once * (once - 1) / (2 * (twice + 1))
    if not estimate:
        return UnseenCodes(estimate=0.0, low=0.0, high=0.0)
    variance = (
        estimate
        + once * (2 * once - 1) ** 2 / (4 * (twice + 1) ** 2)
        + once**2 * twice * (once - 1) ** 2 / (4 * (twice + 1) ** 4)
    )
    factor = math.exp(_Z * math.sqrt(math.log1p(variance / estimate**2)))
    return UnseenCodes(
        estimate=min(estimate, left), low=min(estimate / factor, left), high=min(estimate * factor, left)
    )


def vectors_per_code(train_vectors: int, sizes: Sequence[int]) -> float:
    """Training vectors for each code of the largest codebook; see `FEWEST_VECTORS_PER_CODE`."""
    return train_vectors / max(sizes, default=1)


def usage(train: Sequence[Counts], test: Sequence[Counts]) -> Mapping[str, Any]:
    """The metrics of usage that every experiment on vectors has, by column: of the codes of all its vectors."""
    unseen = [unseen_codes(counts) for counts in test]
    return {
        "entropy_bits_per_vector": entropy_bits_per_vector(train, test),
        "unseen_codes": [each.estimate for each in unseen],
        "unseen_codes_low": [each.low for each in unseen],
        "unseen_codes_high": [each.high for each in unseen],
        "vectors_per_code": vectors_per_code(int(train[0].sum()), [len(counts) for counts in train]),
    }
