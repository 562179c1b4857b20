"""Training any module of a quantizer on vectors that do not change."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import torch

from dvq_ray.fitting.codecs.modules import ROWS_AT_ONCE, ModuleCodec, evaluate, one_thread
from dvq_ray.fitting.problem import BETAS, EPSILON, FitResult, curve_steps
from dvq_ray.quantizer.base import Quantizer, Vectors
from dvq_ray.quantizer.codebook_module import CodebookModule
from dvq_ray.streams import stream


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
    with one_thread(device):
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
        test_mse, test_counts = evaluate(module, torch.split(of_test, ROWS_AT_ONCE), sizes)
        curve = [test_mse]
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
            test_mse, test_counts = evaluate(module, torch.split(of_test, ROWS_AT_ONCE), sizes)
            curve.append(test_mse)
        train_mse, counts = evaluate(module, torch.split(of_train, ROWS_AT_ONCE), sizes)
    return FitResult(
        curve_steps=logged[: len(curve)],
        curve_test_mse=np.array(curve),
        train_mse=train_mse,
        test_mse=curve[-1],
        code_counts=counts,
        test_code_counts=test_counts,
        codec=ModuleCodec(module, settings),
        diverged_at_step=None if np.isfinite(curve[-1]) else int(logged[len(curve) - 1]),
    )
