"""`python -m benchmarks.tf32`: how many codes change where distances are computed in TF32, and what that costs.

A GPU multiplies float32 several times faster in TF32, which keeps 10 of the 23 bits of each factor. The nearest of two
codes that are almost equally near may then be the other one. dvq_ray does not use it. Without a GPU the factors are
rounded to TF32 before an ordinary product, which is what a tensor core does (Stosic and Micikevicius, "Accelerating AI
Training with NVIDIA TF32 Tensor Cores", 2021).
"""

from __future__ import annotations

from typing import Any

import click
import numpy as np
import torch
from torch import Tensor

from benchmarks.static_prior.tables import say, show
from dvq_ray.experiment.registry import find_experiment
from dvq_ray.experiments.learned_prior.device import DataSet, Device, data_set
from dvq_ray.experiments.learned_prior.sources import PhotosSource
from dvq_ray.experiments.learned_prior.training import Training
from dvq_ray.quantizer.nearest import look_up, nearest_codes

ENOUGH = 0.9999
"""Share of codes that must be those of float32 before TF32 may be used."""
_KEPT_BITS, _MANTISSA_BITS = 10, 23


def rounded_to_tf32(tensor: Tensor) -> Tensor:
    """Float32 `tensor` with 10 bits after the leading one, the nearest such number, the even one of two."""
    dropped = _MANTISSA_BITS - _KEPT_BITS
    bits = tensor.contiguous().view(torch.int32)
    half = (1 << (dropped - 1)) - 1 + ((bits >> dropped) & 1)
    return ((bits + half) & (-1 << dropped)).view(torch.float32)


def agreement(vectors: Tensor, codebooks: Tensor) -> dict[str, float]:
    """Of `vectors` [L, N, d] and `codebooks` [L, K, d], float32.

    `float32` and `tf32` are the shares of codes that float64 gives too; `excess` is how much more squared error the
    codes of TF32 have than the nearest ones, as a share.
    """
    exact = nearest_codes(vectors.double(), codebooks.double())
    single, coarse = nearest_codes(vectors, codebooks), tf32_codes(vectors, codebooks)
    errors = [float((vectors - look_up(codebooks, codes)).double().square().sum()) for codes in (exact, coarse)]
    return {
        "float32": float((single == exact).double().mean()),
        "tf32": float((coarse == exact).double().mean()),
        "excess": errors[1] / errors[0] - 1 if errors[0] else 0.0,
    }


def tf32_codes(vectors: Tensor, codebooks: Tensor) -> Tensor:
    """The codes [L, N] that TF32 finds: a GPU's own, or the scores of rounded factors."""
    if vectors.is_cuda:
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("high")
        try:
            return nearest_codes(vectors, codebooks)
        finally:
            torch.set_float32_matmul_precision(before)
    scores = rounded_to_tf32(vectors) @ rounded_to_tf32(codebooks).mT
    return (scores - codebooks.square().sum(-1).unsqueeze(1) / 2).argmax(-1)


def agreement_of(training: Training, images: int = 256) -> dict[str, float]:
    """`agreement` of the codes of test images, of a quantizer with codebooks."""
    module: Any = training.model.quantizer
    rows = np.arange(min(images, len(training.data.test)))
    with torch.no_grad(), training.device.autocast():
        latents = training.model.encode_latents(training.data.test.rows(torch.from_numpy(rows)))
    vectors = module.cut.split(latents.float().flatten(2)).flatten(1, 2)
    return agreement(vectors, module.codebooks.codes.detach())


def small(steps: int) -> Any:
    """The network of `sweeps/cifar10_lossless.yaml`, on the photographs."""
    return find_experiment("learned_prior").settings(
        {
            "quantizer": "dvq", "slices": 4, "dimension": 64, "codebook_size": 64, "stem_channels": 32,
            "body_channels": 64, "residual_channels": 32, "batch_size": 16, "steps": steps,
        }
    )  # fmt: skip


@click.command()
@click.option("--steps", default=300, show_default=True, help="Of the training whose codes are compared.")
def main(steps: int) -> None:
    """Train a small DVQ, and compare codes before, during and after."""
    device = Device("cuda" if torch.cuda.is_available() else "cpu")
    rows = []
    with device.prepared():
        data: DataSet = data_set(PhotosSource(), 32, device)
        training = Training(small(steps), 0, data, device)
        training.begin()
        while True:
            if training.step % max(1, steps // 5) == 0:
                found = agreement_of(training)
                rows.append(
                    (
                        f"{training.step}",
                        f"{found['float32']:.5%}",
                        f"{found['tf32']:.5%}",
                        f"{found['excess']:.1e}",
                    )
                )
            if training.done:
                break
            training.advance()
    say(f"{torch.cuda.get_device_name() if device.on_gpu else 'TF32 by rounding, on a CPU'}; codes as in float64")
    show(("step", "float32", "TF32", "more squared error"), rows)
    say(f"wanted of TF32: {ENOUGH:.2%} at every step")


if __name__ == "__main__":
    main()
