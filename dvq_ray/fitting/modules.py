"""Training any module of a quantizer on vectors that do not change."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dvq_ray.fitting.problem import BETAS, EPSILON, FitResult, curve_steps
from dvq_ray.quantizer.base import Quantizer, Vectors
from dvq_ray.quantizer.codebook_module import CodebookModule
from dvq_ray.quantizer.module import QuantizerModule
from dvq_ray.streams import stream

_ROWS_AT_ONCE = 4096


def fit_module(
    settings: Quantizer,
    train: Vectors,
    test: Vectors,
    *,
    batches: npt.NDArray[np.int32],
    rates: npt.NDArray[np.float64],
    seed: int,
    device: str,
    codes: npt.NDArray[np.float32] | None = None,
) -> FitResult:
    """Minimises the module's codebook loss by Adam over `batches` [steps, batch] of rows of `train`.

    `train` and `test` are [samples, features], `rates` the learning rate of each step. `codes` [codebooks, codes,
    features of a code] are those that it starts from; where there are none it does so from its own. A module without
    anything to learn is evaluated as it is built. On a CPU one thread computes, so that the same seed gives the same
    bytes. Raises ValueError where there are `codes` and the module is not one of codebooks.
    """
    with _one_thread(device):
        generator = torch.Generator().manual_seed(int(stream(seed, "initial codebooks").integers(2**63)))
        with torch.random.fork_rng(devices=[]):  # a module may draw from torch's global state
            torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))
            module = settings.build(train.shape[1], generator).to(device)
        updates = torch.Generator(device).manual_seed(int(stream(seed, "updates of codes").integers(2**63)))
        learned = [parameter for parameter in module.parameters() if parameter.requires_grad]
        optimizer = torch.optim.Adam(learned, betas=BETAS, eps=EPSILON) if learned else None
        of_train, of_test = torch.from_numpy(train).to(device), torch.from_numpy(test).to(device)
        rows = torch.from_numpy(batches.astype(np.int64)).to(device)
        sizes = settings.codebook_sizes()
        if codes is None:
            module.start(of_train[rows[0]], updates)
        elif isinstance(module, CodebookModule):
            module.start_at(torch.from_numpy(codes).to(device))
        else:
            raise ValueError(f"codes of a {type(module).__name__} cannot be set; allowed: start = uniform")
        logged = curve_steps(len(rates) if optimizer or module.updates else 0)
        curve = [_evaluate(module, of_test, sizes)[0]]
        for first, last in itertools.pairwise(logged.tolist()):
            if not np.isfinite(curve[-1]):
                break
            for step in range(first, last):
                batch = of_train[rows[step]]
                quantized = module(batch)
                if optimizer:
                    optimizer.param_groups[0]["lr"] = float(rates[step])
                    optimizer.zero_grad()
                    quantized.codebook_loss.backward()
                    optimizer.step()
                module.update(batch, quantized, updates)
            curve.append(_evaluate(module, of_test, sizes)[0])
        train_mse, counts = _evaluate(module, of_train, sizes)
    return FitResult(
        curve_steps=logged[: len(curve)],
        curve_test_mse=np.array(curve),
        train_mse=train_mse,
        test_mse=curve[-1],
        code_counts=counts,
        diverged_at_step=None if np.isfinite(curve[-1]) else int(logged[len(curve) - 1]),
    )


@torch.no_grad()
def _evaluate(
    module: QuantizerModule, vectors: Tensor, sizes: tuple[int, ...]
) -> tuple[float, list[npt.NDArray[np.int64]]]:
    """Mean squared error per feature, and how often each code of each codebook occurs."""
    error, counts = 0.0, [np.zeros(size, np.int64) for size in sizes]
    for chunk in torch.split(vectors, _ROWS_AT_ONCE):
        quantized = module(chunk)
        error += float((quantized.latents - chunk).double().square().sum())
        indices = quantized.indices
        if indices.shape[1] != len(sizes):
            raise ValueError(
                f"the module gives {indices.shape[1]} codes for a vector, codebook_sizes names {len(sizes)}"
            )
        for count, size, column in zip(counts, sizes, indices.cpu().numpy().swapaxes(0, 1), strict=True):
            if column.min() < 0 or column.max() >= size:
                raise ValueError(f"the module gives codes {column.min()} to {column.max()} for a codebook of {size}")
            count += np.bincount(column.ravel(), minlength=size)
    return error / vectors.numel(), counts


@contextmanager
def _one_thread(device: str) -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1 if device == "cpu" else threads)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
