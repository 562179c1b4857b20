"""The fit in torch, batched over repetitions: what the kernel is checked against, and the way to a GPU.

Letters in shapes: R repetitions, L slices, K codes, N samples, B mini-batch, d features of a slice.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dvq_ray.fitting.codecs.codebooks import CodebookCodec
from dvq_ray.fitting.problem import BETAS, EPSILON, CodebookFitResult, FitProblem, curve_steps
from dvq_ray.quantizer.nearest import nearest_codes

_CHUNK_SCORES = 1 << 26
"""Scores [R, L, N, K] that an evaluation holds at once."""


def fit(
    problems: Sequence[FitProblem],
    learning_rates: npt.NDArray[np.float64],
    *,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Iterator[CodebookFitResult]:
    """Fits all problems, yielding results in their order; see `fit_codebooks`."""
    if torch.device(device).type == "cpu":
        # A batched product on a CPU may sum in another order than a single one, and gains nothing here: one
        # repetition at a time keeps its bytes independent of its neighbours.
        for problem in problems:
            yield from _fit_together([problem], learning_rates, device, dtype)
    elif problems:
        yield from _fit_together(problems, learning_rates, device, dtype)


def nearest(samples: Tensor, codebooks: Tensor) -> Tensor:
    """Index of the nearest code for every slice of every sample: [R, L, N].

    `samples` is [R, L, N, d], `codebooks` [R, L, K, d].
    """
    return nearest_codes(samples.flatten(0, 1), codebooks.flatten(0, 1)).view(samples.shape[:3])


def codebook_loss(samples: Tensor, codebooks: Tensor) -> Tensor:
    """Equation 1 for each repetition: [R]. Its gradient reaches the codes alone. Shapes as in `nearest`."""
    codes = nearest(samples, codebooks)
    return (samples - _look_up(codebooks, codes)).square().mean((2, 3)).sum(1)


def _look_up(codebooks: Tensor, codes: Tensor) -> Tensor:
    return codebooks.gather(2, codes.unsqueeze(-1).expand(-1, -1, -1, codebooks.shape[-1]))


def _split(samples: Tensor, slices: int) -> Tensor:
    """[R, N, L * d] to [R, L, N, d]"""
    return samples.view(*samples.shape[:2], slices, -1).transpose(1, 2)


@torch.no_grad()
def _evaluate(samples: Tensor, codebooks: Tensor) -> tuple[Tensor, Tensor]:
    """Mean squared error per dimension [R] in float64, infinite if a code is; uses of each code [R, L, K]."""
    repetitions, slices, codes, _ = codebooks.shape
    error = torch.zeros(repetitions, dtype=torch.float64, device=samples.device)
    counts = torch.zeros(repetitions, slices, codes, dtype=torch.int64, device=samples.device)
    for chunk in torch.split(samples, max(1, _CHUNK_SCORES // (repetitions * slices * codes)), dim=1):
        parts = _split(chunk, slices)
        winners = nearest(parts, codebooks)
        error += (parts - _look_up(codebooks, winners)).double().square().sum((1, 2, 3))
        counts.scatter_add_(2, winners, torch.ones_like(winners))
    in_range = codebooks.square().sum(-1).isfinite().all(-1).all(-1)
    error = error.where(in_range, torch.inf)
    return error / (samples.shape[1] * samples.shape[2]), counts


def _fit_together(
    problems: Sequence[FitProblem], learning_rates: npt.NDArray[np.float64], device: str, dtype: torch.dtype
) -> Iterator[CodebookFitResult]:
    train = torch.stack([torch.as_tensor(problem.train) for problem in problems]).to(device, dtype)
    test = torch.stack([torch.as_tensor(problem.test) for problem in problems]).to(device, dtype)
    batches = torch.stack([torch.as_tensor(problem.batches) for problem in problems]).to(device, torch.int64)
    codebooks = torch.stack([torch.as_tensor(problem.codebooks) for problem in problems]).to(device, dtype)
    codebooks.requires_grad_()
    repetitions, slices = codebooks.shape[:2]
    optimizer = torch.optim.Adam([codebooks], betas=BETAS, eps=EPSILON)
    repetition = torch.arange(repetitions, device=device).unsqueeze(1)

    logged = curve_steps(len(learning_rates))
    losses, test_counts = _evaluate(test, codebooks)
    curve = [losses.cpu().numpy()]
    for first, last in itertools.pairwise(logged.tolist()):
        if not np.isfinite(curve[-1]).any():
            break
        for step in range(first, last):
            optimizer.param_groups[0]["lr"] = float(learning_rates[step])
            optimizer.zero_grad()
            samples = _split(train[repetition, batches[:, step]], slices)
            # Repetitions share no code, so that the gradient of the sum is each one's own.
            codebook_loss(samples, codebooks).sum().backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        losses, test_counts = _evaluate(test, codebooks)
        curve.append(losses.cpu().numpy())

    train_mse, counts = _evaluate(train, codebooks)
    test_mse = np.stack(curve, axis=1)
    for i in range(repetitions):
        finite = np.isfinite(test_mse[i])
        points = len(finite) if finite.all() else int(np.argmin(finite)) + 1
        trained = codebooks[i].detach().float().cpu().numpy()
        yield CodebookFitResult(
            # It searches by the kernel, which may differ where a vector is as near to two codes but for rounding.
            codec=CodebookCodec(trained),
            codebooks=trained,
            curve_steps=logged[:points],
            curve_test_mse=test_mse[i, :points],
            train_mse=float(train_mse[i]),
            test_mse=float(test_mse[i, points - 1]),
            code_counts=list(counts[i].cpu().numpy()),
            test_code_counts=list(test_counts[i].cpu().numpy()),
            diverged_at_step=None if finite.all() else int(logged[points - 1]),
        )
