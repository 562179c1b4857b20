"""Training the codebooks of the static prior: the problem, the result, and two implementations behind them.

Both consume the same arrays, so that they differ by rounding alone. `compiled` is the CPU kernel, one core
and the same bytes everywhere; `torch` is the reference, and the way to a GPU.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Implementation = Literal["compiled", "torch"]
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
    """Trained codebooks and what they were worth along the way. Errors are mean squares per dimension."""

    codebooks: npt.NDArray[np.float32]
    """[slices, codes, slice_dim]"""
    curve_steps: npt.NDArray[np.int64]
    """[points] steps done when the test error was measured; the first is 0."""
    curve_test_mse: npt.NDArray[np.float64]
    """[points]"""
    train_mse: float
    test_mse: float
    code_counts: npt.NDArray[np.int64]
    """[slices, codes] how often each code is the nearest, over the training set."""
    diverged_at_step: int | None
    """The first logged step at which the loss or a code's norm was not finite, and training stopped."""


def curve_steps(steps: int) -> npt.NDArray[np.int64]:
    """About twenty logarithmically spaced steps, from 0 (untrained) to the last: [points]."""
    spaced = np.geomspace(1, steps, CURVE_POINTS).round().astype(np.int64)
    return np.unique(np.concatenate([[0], spaced, [steps]]))


def learning_rates(schedule: Schedule, learning_rate: float, steps: int) -> npt.NDArray[np.float64]:
    """The learning rate of every step: [steps]. `cosine` falls from `learning_rate` towards zero."""
    match schedule:
        case "constant":
            return np.full(steps, learning_rate)
        case "cosine":
            # math.cos: numpy picks its own cosine by processor, which would make bytes depend on the machine.
            return np.array([learning_rate * 0.5 * (1 + math.cos(math.pi * step / steps)) for step in range(steps)])


def fit_codebooks(
    problems: Sequence[FitProblem],
    *,
    learning_rates: npt.ArrayLike,
    implementation: Implementation,
    device: str = "cpu",
) -> Iterator[FitResult]:
    """Minimises equation 1 (section 4.1) by Adam for each problem, yielding the results in their order.

    The loss is the mean over a mini-batch of the squared distance between each slice and its nearest code,
    averaged over the features of a slice and summed over slices; only the codes move. Equal distances go to
    the lowest index. All problems have the same shapes. `torch` trains them side by side on a GPU; a
    repetition's result on a CPU does not depend on the others. Raises ValueError for arrays that do not fit
    together.
    """
    rates = np.ascontiguousarray(learning_rates, dtype=np.float64)
    for problem in problems:
        _check(problem, rates)
    if len({_shape(problem) for problem in problems}) > 1:
        raise ValueError("the problems differ in their shapes; fit them one call for each shape")
    match implementation:
        case "compiled":
            if device != "cpu":
                raise ValueError(f"the compiled kernel runs on 'cpu', not on {device!r}; use 'torch'")
            from dvq_ray.static_prior import compiled

            return (compiled.fit(problem, rates) for problem in problems)
        case "torch":
            from dvq_ray.static_prior import reference

            return reference.fit(problems, rates, device=device)
    raise ValueError(f"implementation = {implementation!r}; allowed: 'compiled', 'torch'")


def _shape(problem: FitProblem) -> tuple[tuple[int, ...], ...]:
    return (problem.train.shape, problem.test.shape, problem.codebooks.shape, problem.batches.shape)


def _check(problem: FitProblem, rates: npt.NDArray[np.float64]) -> None:
    train, test, codebooks, batches = problem.train, problem.test, problem.codebooks, problem.batches
    if any(array.dtype != np.float32 for array in (train, test, codebooks)):
        raise ValueError("train, test and codebooks are float32")
    if not (train.ndim == test.ndim == batches.ndim == 2 and codebooks.ndim == 3):
        raise ValueError("train, test and batches have two axes, codebooks three")
    if min(*train.shape, *test.shape, *codebooks.shape, *batches.shape) < 1:
        raise ValueError("no axis of train, test, codebooks or batches may be empty")
    slices, _, slice_dim = codebooks.shape
    if not train.shape[1] == test.shape[1] == slices * slice_dim:
        raise ValueError(
            f"{slices} slices of {slice_dim} features do not make the {train.shape[1]} of train "
            f"and the {test.shape[1]} of test"
        )
    if rates.shape != (len(batches),):
        raise ValueError(f"learning_rates has shape {rates.shape}; batches have {len(batches)} steps")
    if not np.issubdtype(batches.dtype, np.integer) or batches.min() < 0 or batches.max() >= len(train):
        raise ValueError(f"batches must hold rows of train: integers from 0 to {len(train) - 1}")
