"""The static-prior fit as arrays: what goes in, what comes out, and what both implementations agree on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt

from dvq_ray.quantizer.base import Codec

Schedule = Literal["constant", "cosine"]

BETAS = (0.9, 0.999)
EPSILON = 1e-8
"""Adam's constants: the defaults of torch and TensorFlow, which the author's code leaves alone."""

CURVE_POINTS = 20


@dataclass(frozen=True, kw_only=True)
class FitProblem:
    """One repetition: data, the codebooks to start from, and the mini-batches."""

    train: npt.NDArray[np.float32]
    """[train_samples, dimension]"""
    test: npt.NDArray[np.float32]
    """[test_samples, dimension]"""
    codebooks: npt.NDArray[np.float32]
    """[slices, codes, slice_dim] initial codes; slices * slice_dim == dimension."""
    batches: npt.NDArray[np.int32] | npt.NDArray[np.int64]
    """[steps, batch] rows of `train`."""


@dataclass(frozen=True, kw_only=True)
class FitResult:
    """What a quantizer was worth along the way. Errors are mean squares per dimension."""

    curve_steps: npt.NDArray[np.int64]
    """[points] steps done when the test error was measured; the first is 0."""
    curve_test_mse: npt.NDArray[np.float64]
    """[points]"""
    train_mse: float
    test_mse: float
    code_counts: list[npt.NDArray[np.int64]]
    """[codebooks] of [codes]: how often each code occurs over the training set."""
    test_code_counts: list[npt.NDArray[np.int64]]
    """The same over the test set."""
    codec: Codec
    """What encodes and decodes as it did for these errors. It has encoded nothing yet."""
    diverged_at_step: int | None
    """The first logged step at which the loss or a code's norm was not finite, and training stopped."""


@dataclass(frozen=True, kw_only=True)
class CodebookFitResult(FitResult):
    """The same of codebooks on slices of the features."""

    codebooks: npt.NDArray[np.float32]
    """[slices, codes, slice_dim]"""


def curve_steps(steps: int) -> npt.NDArray[np.int64]:
    """About twenty logarithmically spaced steps, from 0 (untrained) to the last: [points]."""
    if not steps:
        return np.zeros(1, np.int64)
    spaced = np.geomspace(1, steps, CURVE_POINTS).round().astype(np.int64)
    return np.unique(np.concatenate([[0], spaced, [steps]]))


@lru_cache(maxsize=8)  # the repetitions of a point have the same
def learning_rates(schedule: Schedule, learning_rate: float, steps: int) -> npt.NDArray[np.float64]:
    """The learning rate of every step: [steps]. `cosine` falls from `learning_rate` towards zero."""
    match schedule:
        case "constant":
            rates = np.full(steps, learning_rate)
        case "cosine":
            # math.cos: numpy picks its own cosine by processor, which would make bytes depend on the machine.
            rates = np.array([learning_rate * 0.5 * (1 + math.cos(math.pi * step / steps)) for step in range(steps)])
    rates.flags.writeable = False
    return rates
