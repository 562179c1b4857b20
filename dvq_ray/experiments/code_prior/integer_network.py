"""A causal network over codes in whole numbers, so that every processor computes the same probabilities.

An entropy decoder must see the very probabilities that the encoder saw, and floating point rounds differently from one
processor to another. Therefore weights and activations are rounded to fixed-point numbers after training, as in Ballé,
Johnston and Minnen, "Integer networks for data compression with latent-variable models" (ICLR 2019). The products are
computed in float64, which is exact as long as sums of whole numbers stay below 2^53, in any order.

Letters in shapes: N samples, P positions, L codes at a position, D features, K codes, T taps of a convolution.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal
from functools import cache
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from dvq_ray.experiments.code_prior.layout import Layout
from dvq_ray.experiments.code_prior.prior import Arrays, FittedPrior, Probabilities, Stepper

ACTIVATION = 1 << 10
"""What stands for 1 in activations, logits and what is added to them."""
WEIGHT = 1 << 12
"""What stands for 1 in weights."""
MOST_WEIGHT = (1 << 15) - 1
"""Of a weight: it is an int16, and so below 8."""
MOST_ACTIVATION = (1 << 22) - 1
"""Of an activation: it is below 4096."""
MOST_INPUTS = 1 << 14
"""Of a product: 2^15 * 2^22 * 2^14 is 2^51."""

Taps = Sequence[tuple[int, int]]
"""Steps in rows and columns from a position to those that a convolution sees."""

FIRST_TAPS: Taps = tuple(
    (row, column) for row in (-2, -1, 0) for column in range(-2, 3) if (row, column) < (0, 0)
)  # fmt: skip
"""Of the first convolution: the positions before in a window of 5x5."""
TAPS: Taps = ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 0))
"""Of the others: 3x3, and the position itself, whose features know of the positions before."""

Whole = npt.NDArray[np.float64]
"""Whole numbers in float64."""


def rounded_weights(weights: npt.NDArray[Any]) -> npt.NDArray[np.int16]:
    """Weights as they are stored."""
    whole: npt.NDArray[np.float64] = np.rint(weights * WEIGHT)
    return np.clip(whole, -MOST_WEIGHT, MOST_WEIGHT).astype(np.int16)


def rounded_activations(values: npt.NDArray[Any]) -> npt.NDArray[np.int32]:
    """Biases and embeddings as they are stored."""
    whole: npt.NDArray[np.float64] = np.rint(values * ACTIVATION)
    return np.clip(whole, -MOST_ACTIVATION, MOST_ACTIVATION).astype(np.int32)


def _product(inputs: Whole, weights: Whole) -> Whole:
    """[N, D] times [D, E], back in units of activations, rounded."""
    return np.asarray(np.floor((inputs @ weights + WEIGHT / 2) / WEIGHT))


def _clipped(values: Whole) -> Whole:
    return np.clip(values, -MOST_ACTIVATION, MOST_ACTIVATION)


def _rectified(values: Whole) -> Whole:
    return np.clip(values, 0, MOST_ACTIVATION)


_EXPONENTIAL_ONE = 1 << 32
_RANGE = 22 * ACTIVATION
"""Logits so far below the largest have the probability of those at that distance, some 2^-32."""


@cache
def _exponentials() -> Whole:
    """[_RANGE + 1] exp(-i / ACTIVATION) in whole numbers, at least 1. Decimal arithmetic is the same everywhere."""
    context = Context(prec=40)
    step = context.exp(context.divide(Decimal(-1), Decimal(ACTIVATION)))
    value, found = Decimal(_EXPONENTIAL_ONE), np.empty(_RANGE + 1)
    for place in range(_RANGE + 1):
        found[place] = max(1, int(value.to_integral_value()))
        value = context.multiply(value, step)
    return found


def probabilities_of(logits: Whole) -> Probabilities:
    """Softmax of whole-numbered logits [N, K] in units of 1 / ACTIVATION."""
    below = np.minimum(logits.max(axis=1, keepdims=True) - logits, _RANGE).astype(np.int64)
    masses = _exponentials()[below]
    return np.asarray(masses / masses.sum(axis=1, keepdims=True))


@dataclass(frozen=True)
class Head:
    """Predicts the codes of one codebook from the features of a position and the codes before it there."""

    bias: Whole
    """[D] added to the features."""
    hidden: Whole
    """[D, D]"""
    hidden_bias: Whole
    """[D]"""
    output: Whole
    """[D, K]"""
    logits: Whole
    """[K]"""

    def probabilities(self, features: Whole) -> Probabilities:
        """Of `features` [N, D]: [N, K]."""
        entered = _rectified(features + self.bias)
        hidden = _rectified(_product(entered, self.hidden) + self.hidden_bias)
        return probabilities_of(_product(hidden, self.output) + self.logits)


@dataclass(frozen=True)
class Convolution:
    """Of the features around a position."""

    taps: Taps
    weights: Whole
    """[T * D, D]"""
    bias: Whole
    """[D], or [P, D]"""


class IntegerNetwork(FittedPrior):
    """A causal network: convolutions over positions before, then a head for each codebook that sees the codes so far.

    Without convolutions it is a chain within a position.
    """

    def __init__(self, layout: Layout, arrays: Arrays, stopped_at: int | None = None) -> None:
        """Raises KeyError or ValueError where the arrays make no network for the layout."""
        super().__init__(layout)
        self._arrays = dict(arrays)
        self.stopped_at = stopped_at
        numbers = {name: array.astype(np.float64) for name, array in arrays.items()}
        books = range(len(layout.sizes))
        fields = Head.__dataclass_fields__
        self.heads = [Head(*(numbers[f"head{book}.{field}"] for field in fields)) for book in books]
        self.links = [numbers[f"link{book}"] for book in books]
        """[K, D] of each codebook: what a code adds to the features for the codebooks after it."""
        self.width = len(self.heads[0].bias)
        self.convolutions = _convolutions(numbers)
        self.embeddings = [numbers[f"embedding{book}"] for book in books] if self.convolutions else []
        """[K, D] of each codebook: what convolutions see of a code."""
        for book, size in enumerate(layout.sizes):
            if self.heads[book].output.shape != (self.width, size) or self.links[book].shape != (size, self.width):
                raise ValueError(f"the arrays are not those of codebooks of {layout.sizes} codes")
        if self.convolutions and self.convolutions[0].bias.shape != (layout.positions, self.width):
            raise ValueError(f"the arrays are not those of {layout.positions} positions")
        if max([self.width, *(len(each.weights) for each in self.convolutions)]) > MOST_INPUTS:
            raise ValueError(f"a product of more than {MOST_INPUTS} inputs would not be exact")

    def arrays(self) -> Arrays:
        """Of int16 and int32."""
        return self._arrays

    @classmethod
    def rebuilt(cls, layout: Layout, arrays: Arrays) -> Self:
        """From its arrays."""
        return cls(layout, arrays)

    def stepper(self, samples: int) -> Stepper:
        """At the first code."""
        return _NetworkStepper(self, samples)


def _convolutions(numbers: Mapping[str, Whole]) -> list[Convolution]:
    count = sum(name.startswith("convolution") and name.endswith(".weights") for name in numbers)
    return [
        Convolution(
            TAPS if place else FIRST_TAPS, numbers[f"convolution{place}.weights"], numbers[f"convolution{place}.bias"]
        )
        for place in range(count)
    ]


class _NetworkStepper(Stepper):
    """Keeps the features of all positions so far, so that a position is computed once."""

    def __init__(self, network: IntegerNetwork, samples: int) -> None:
        self._network = network
        self._samples = samples
        self._position = self._place = 0
        layout = network.layout
        grid = (samples, layout.height, layout.width, network.width)
        self._seen = [np.zeros(grid) for _ in network.convolutions]
        """What each convolution sees, as far as it is known."""
        self._embedded = np.zeros((samples, network.width))
        self._features = self._at_position()

    def probabilities(self) -> Probabilities:
        """[N, K], or [1, K] where there is nothing before."""
        book = self._network.layout.codebook(self._position, self._place)
        return self._network.heads[book].probabilities(self._features)

    def see(self, codes: npt.NDArray[np.int64]) -> None:
        """Goes on to the next code, or position."""
        network, layout = self._network, self._network.layout
        book = layout.codebook(self._position, self._place)
        if network.convolutions:
            self._embedded = _clipped(self._embedded + network.embeddings[book][codes])
        self._place += 1
        if self._place < layout.codes:
            self._features = _clipped(self._features + network.links[book][codes])
            return
        if network.convolutions:
            self._seen[0][:, *divmod(self._position, layout.width)] = self._embedded
            self._embedded = np.zeros_like(self._embedded)
        self._position, self._place = self._position + 1, 0
        if self._position < layout.positions:
            self._features = self._at_position()

    def _at_position(self) -> Whole:
        """Features [N, D] of the position from those before it."""
        network, (row, column) = self._network, divmod(self._position, self._network.layout.width)
        if not network.convolutions:
            return np.zeros((1, network.width))
        features = np.zeros((self._samples, network.width))
        for place, convolution in enumerate(network.convolutions):
            seen = self._seen[place]
            if place:
                seen[:, row, column] = _rectified(features)
            around = self._around(seen, convolution.taps, row, column)
            bias = convolution.bias if place else convolution.bias[self._position]
            features = _clipped(features + _product(around, convolution.weights) + bias)
        return features

    def _around(self, seen: Whole, taps: Taps, row: int, column: int) -> Whole:
        """[N, T * D]; nothing is seen beyond the edges."""
        height, width = seen.shape[1:3]
        parts = [
            seen[:, row + down, column + right]
            if 0 <= row + down < height and 0 <= column + right < width
            else np.zeros((len(seen), seen.shape[3]))
            for down, right in taps
        ]
        return np.concatenate(parts, axis=1)
