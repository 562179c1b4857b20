"""The fit as one would write it in torch in an afternoon: what the compiled kernel is held against.

Letters in shapes: L slices, K codes, N samples, d features of a slice.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor


def fit(
    train: Tensor,
    test: Tensor,
    codebooks: Tensor,
    *,
    steps: int,
    batch: int,
    learning_rate: float,
    evaluations: int,
    report: Callable[[int, float], None],
) -> None:
    """Trains `codebooks` [L, K, d] in place by Adam with a cosine schedule, on mini-batches of `train` [N, L * d].

    Calls `report` with the step and the mean squared error on `test`, `evaluations` times.
    """
    codebooks.requires_grad_()
    optimizer = torch.optim.Adam([codebooks], lr=learning_rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5 * (1 + math.cos(math.pi * step / steps)))
    for step in range(steps):
        samples = train[torch.randint(len(train), (batch,))]
        optimizer.zero_grad()
        loss(samples, codebooks).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        if (step + 1) % max(1, steps // evaluations) == 0:
            with torch.no_grad():
                report(step + 1, loss(test, codebooks).item() / len(codebooks))


def loss(samples: Tensor, codebooks: Tensor) -> Tensor:
    """Equation 1: mean over samples [N, L * d] and features, summed over slices."""
    parts = samples.view(len(samples), *codebooks.shape[::2]).transpose(0, 1)
    with torch.no_grad():
        distances = codebooks.square().sum(-1).unsqueeze(1) - 2 * parts @ codebooks.transpose(1, 2)
        nearest = distances.argmin(-1)
    quantized = codebooks.gather(1, nearest.unsqueeze(-1).expand(parts.shape))
    return (parts - quantized).square().mean((1, 2)).sum()
