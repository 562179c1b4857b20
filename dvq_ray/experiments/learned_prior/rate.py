"""What the codes of images cost, how well they use their codebooks, and how much those tell of each other.

Letters in shapes: N images, L codebooks, C codes of an image in each codebook, K codes of a codebook, P positions.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from dvq_ray.experiments.learned_prior.code_counts import Codes, Counts, PairCounts, occurrences
from dvq_ray.quantizer.codebooks import k_means
from dvq_ray.quantizer.nearest import nearest_codes

MOST_POSITIONS = 32_768
"""Positions that codebooks are fitted anew to, at most."""
RANDOM_ASSIGNMENTS = 20
"""Random assignments of features to slices that slices of consecutive features are held against."""


@dataclass(frozen=True)
class UnigramPrior:
    """A distribution over the codes of each codebook, the same at all positions."""

    bits: npt.NDArray[np.float64]
    """[L, K] cost of each code: its negative logarithm to the base 2."""

    @classmethod
    def fitted(cls, counts: Counts) -> UnigramPrior:
        """To how often each code occurs, `counts` [L, K]; half an occurrence is added to each."""
        smoothed = counts + 0.5
        return cls(np.log2(smoothed.sum(1, keepdims=True)) - np.log2(smoothed))

    def bits_per_image(self, counts: Counts, images: int) -> float:
        """Cost of all codes of an image, the mean over so many images with `counts` [L, K] in total."""
        return float((counts * self.bits).sum() / images)

    def bits_of_images(self, codes: Codes) -> npt.NDArray[np.float64]:
        """Cost of all `codes` [N, L, C] of each image: [N]."""
        total = np.zeros(len(codes))
        for bits, own in zip(self.bits, codes.swapaxes(0, 1), strict=True):
            total += bits[own].sum(axis=1)
        return total


@dataclass(frozen=True)
class ChainPrior:
    """A distribution over all codes of a position together: each codebook's code given that of the codebook before it.

    The first codebook's codes have their unigram distribution. To the counts of what follows a code, half an occurrence
    for each code of the codebook is added, dealt out as the unigram distribution: where nothing is known of a code, the
    next one costs what it would cost on its own.
    """

    unigram: UnigramPrior
    counts: Counts
    """[L, K] how often each code occurs."""
    pairs: Sequence[PairCounts]
    """[L - 1]"""

    @classmethod
    def fitted(cls, counts: Counts, pairs: Sequence[PairCounts]) -> ChainPrior:
        """To `counts` [L, K] of codes, and those of `pairs` of neighbouring codebooks [L - 1]."""
        return cls(UnigramPrior.fitted(counts), counts, pairs)

    def bits_per_position(self, counts: Counts, pairs: Sequence[PairCounts]) -> float:
        """Cost of all codes of a position, the mean over positions; see `fitted` for what it takes."""
        size = self.counts.shape[1]
        total = float((counts[0] * self.unigram.bits[0]).sum())
        for place, (found, times) in enumerate(pairs):
            first, second = np.divmod(found, size)
            added = size / 2
            expected = added * 2 ** -self.unigram.bits[place + 1, second]
            share = (_looked_up(found, *self.pairs[place]) + expected) / (self.counts[place, first] + added)
            total -= float((times * np.log2(share)).sum())
        return float(total / counts[0].sum())


def codes_used(counts: Counts) -> list[int]:
    """How many different codes of each codebook occur, from `counts` [L, K]: [L]."""
    return [int(np.count_nonzero(each)) for each in counts]


def perplexity(counts: Counts) -> list[float]:
    """2 to the entropy, in bits, of the codes with `counts` [L, K]: [L], from 1 to K."""
    return [float(2 ** _entropy_bits(each)) for each in counts]


def joint_entropy_bits(codes: Codes) -> float:
    """Plug-in entropy of all codes of a position together, from `codes` [N, L, P]; at most log2 of N * P."""
    size = int(codes.max()) + 1
    tuples, bound = np.zeros(codes.shape[0] * codes.shape[2], dtype=np.int64), 1
    for column in codes.transpose(1, 0, 2).reshape(codes.shape[1], -1):
        if bound * size > np.iinfo(np.int64).max:
            # Too many tuples to number them all; those that occur are no more than there are positions.
            tuples, bound = np.unique(tuples, return_inverse=True)[1], len(tuples)
        tuples, bound = tuples * size + column, bound * size
    return _entropy_bits(np.unique(tuples, return_counts=True)[1])


def dependence_bits(codes: Codes, codebook_size: int, rng: np.random.Generator) -> float:
    """Mutual information of two codebooks' codes at the same position, the mean over pairs of codebooks.

    `codes` is [N, L, P] with L at least 2. What the plug-in estimate shows of codes that are paired at random, each
    pair of codebooks by an order that `rng` draws, is taken off: with few positions it is far from 0. The result may
    be a little below 0.
    """
    columns = codes.transpose(1, 0, 2).reshape(codes.shape[1], -1)
    assert len(columns) > 1
    excess = []
    for one, other in itertools.combinations(columns, 2):
        first, second = one.astype(np.int64), other.astype(np.int64)
        # The entropy of either alone is the same for both pairings: what is left is that of the pairs.
        shuffled = _pair_entropy_bits(first, rng.permutation(second), codebook_size)
        excess.append(shuffled - _pair_entropy_bits(first, second, codebook_size))
    return float(np.mean(excess))


def refit_dependence_bits(
    latents: npt.NDArray[np.float32],
    slices: int,
    codebook_size: int,
    rng: np.random.Generator,
    *,
    shuffled: bool,
    device: str = "cpu",
) -> float:
    """As `dependence_bits`, of the codes that k-means finds for the slices of `latents` [P, dimension].

    Slices are of consecutive features, or where `shuffled` of features dealt out by `rng`. The first
    `MOST_POSITIONS` of the latents are taken; where there are fewer than K, there are as many codes. `device` is where
    k-means runs.
    """
    positions, dimension = latents[:MOST_POSITIONS].shape
    features = rng.permutation(dimension) if shuffled else np.arange(dimension)
    vectors = torch.from_numpy(latents[:MOST_POSITIONS, features]).view(positions, slices, -1).transpose(0, 1)
    generator = torch.Generator().manual_seed(int(rng.integers(2**63)))
    vectors = vectors.to(device)
    codebooks = k_means(vectors.contiguous(), min(codebook_size, positions), generator)
    codes = nearest_codes(vectors, codebooks).unsqueeze(0)  # the positions, as if of one image
    return dependence_bits(codes.cpu().numpy(), codebook_size, rng)


def random_dependence_bits(
    latents: npt.NDArray[np.float32], slices: int, codebook_size: int, rng: np.random.Generator, device: str = "cpu"
) -> tuple[float, float]:
    """Mean and standard deviation of `refit_dependence_bits` over `RANDOM_ASSIGNMENTS` deals of the features."""
    found = [
        refit_dependence_bits(latents, slices, codebook_size, rng, shuffled=True, device=device)
        for _ in range(RANDOM_ASSIGNMENTS)
    ]
    return float(np.mean(found)), float(np.std(found, ddof=1))


def _looked_up(wanted: Counts, numbers: Counts, counts: Counts) -> Counts:
    """The counts of the wanted numbers, `numbers` being in ascending order; 0 of those that are not among them."""
    places = np.minimum(np.searchsorted(numbers, wanted), len(numbers) - 1)
    return np.where(numbers[places] == wanted, counts[places], 0)


def _pair_entropy_bits(first: Counts, second: Counts, codebook_size: int) -> float:
    return _entropy_bits(occurrences(first * codebook_size + second, codebook_size**2)[1])


def _entropy_bits(counts: Counts) -> float:
    seen = counts[counts > 0]
    total = int(seen.sum())
    return float(np.log2(total) - (seen * np.log2(seen)).sum() / total)
