"""Training the codebooks of the static prior: one function, and the two implementations behind it.

Both consume the same arrays, so that they differ by rounding alone. `compiled` is the CPU kernel, one core and
the same bytes everywhere; `torch` is the reference, and the way to a GPU.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from dvq_ray.fitting.problem import CodebookFitResult, FitProblem

Implementation = Literal["compiled", "torch"]


def fit_codebooks(
    problems: Sequence[FitProblem],
    *,
    learning_rates: npt.ArrayLike,
    implementation: Implementation,
    device: str = "cpu",
) -> Iterator[CodebookFitResult]:
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
            from dvq_ray.fitting import compiled

            return (compiled.fit(problem, rates) for problem in problems)
        case "torch":
            from dvq_ray.fitting import reference

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
