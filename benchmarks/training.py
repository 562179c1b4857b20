"""`python -m benchmarks.training`: images per second of a training step, against the same step as a textbook has it.

Both train the same network on the same batches of the same size, on random images: a softmax of each sub-pixel, DVQ,
Adam. The textbook's way is eager float32 with torch's own layers, `cross_entropy` and `cdist`, in torch's default
memory layout. Ours is what a sweep runs: channels-last, fused; on a GPU bfloat16 and compiled. On a CPU that has
instructions for bfloat16, `cpu_precision: bfloat16` takes its turns too, and so does the network of
`sweeps/cifar10_lossless.yaml`, whose likelihood no textbook has.

Shares are of what torch's product of two large matrices reaches in the same precision, counting the network's products
alone, three for each of the forward pass.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any
from unittest.mock import patch

import click
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, embedding

from benchmarks.static_prior.tables import say, show, spread
from dvq_ray.experiment.registry import find_experiment
from dvq_ray.experiments.learned_prior.device import DataSet, Device, multiplies_bfloat16
from dvq_ray.experiments.learned_prior.images import Images
from dvq_ray.experiments.learned_prior.training import Training
from dvq_ray.streams import stream

WANTED_ON_GPU = 2.5
"""Times as many images per second as the textbook's way."""
Network = dict[str, int]
SMALL: Network = {"stem_channels": 32, "body_channels": 64, "residual_channels": 32, "dimension": 64, "slices": 4}
LOSSLESS: Network = {**SMALL, "codebook_size": 64, "logistic_mixtures": 4}
OFFICIAL: Network = {
    "stem_channels": 127,
    "body_channels": 255,
    "residual_channels": 64,
    "dimension": 2550,
    "slices": 10,
}


class _Block(nn.Module):
    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, hidden, 3, padding=1), nn.ReLU(), nn.Conv2d(hidden, channels, 1), nn.ReLU()
        )

    def forward(self, features: Tensor) -> Tensor:
        return features + self.layers(features)  # type: ignore[no-any-return]


class Textbook(nn.Module):
    """The auto-encoder of `settings`, in the fewest lines."""

    def __init__(self, settings: Any) -> None:
        super().__init__()
        stem, body, hidden = settings.stem_channels, settings.body_channels, settings.residual_channels
        blocks = [[_Block(body, hidden) for _ in range(settings.residual_blocks)] for _ in range(2)]
        self.slices = settings.slices
        self.encoder = nn.Sequential(
            nn.Conv2d(3, stem, 4, 2, 1), nn.ReLU(), nn.Conv2d(stem, body, 4, 2, 1), nn.ReLU(), *blocks[0],
            nn.Conv2d(body, settings.dimension, 3, padding=1),
        )  # fmt: skip
        self.decoder = nn.Sequential(
            nn.Conv2d(settings.dimension, body, 3, padding=1), *blocks[1],
            nn.ConvTranspose2d(body, stem, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(stem, 768, 4, 2, 1),
        )  # fmt: skip
        codes = torch.randn(settings.slices, settings.codebook_size, settings.dimension // settings.slices)
        self.codebooks = nn.Parameter(codes * 0.1)

    def loss(self, images: Tensor) -> Tensor:
        """Reconstruction, codebook and commitment loss of `images` uint8 [batch, 3, height, width]."""
        latents = self.encoder(images.float() / 255 - 0.5)
        codes, codebook_loss, commitment_loss = [], torch.zeros(()), torch.zeros(())
        for part, codebook in zip(latents.chunk(self.slices, 1), self.codebooks, strict=True):
            vectors = part.movedim(1, -1)
            nearest = torch.cdist(vectors.flatten(0, 2), codebook).argmin(-1)
            found = embedding(nearest, codebook).view_as(vectors)
            codebook_loss = codebook_loss + (vectors.detach() - found).square().mean()
            commitment_loss = commitment_loss + (vectors - found.detach()).square().mean()
            codes.append((vectors + (found - vectors).detach()).movedim(-1, 1))
        logits = self.decoder(torch.cat(codes, 1)).unflatten(1, (3, 256)).transpose(1, 2)
        return cross_entropy(logits, images.long()) + codebook_loss + commitment_loss


def textbook_step(settings: Any, images: Tensor, device: Device) -> Callable[[], object]:
    """A training step of the textbook network on `images` uint8 [images, 3, height, width]."""
    model = Textbook(settings).to(device.kind)
    optimizer = torch.optim.Adam(model.parameters(), lr=settings.learning_rate, foreach=False)
    order = torch.randperm(len(images))
    place = 0

    def step() -> None:
        nonlocal place
        rows = order[torch.arange(place, place + settings.batch_size) % len(images)]
        place += settings.batch_size
        optimizer.zero_grad()
        model.loss(images[rows].to(device.kind)).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


def _measure(network: Network, batch_size: int, device: Device, steps: int, rounds: int) -> list[str]:
    fields = {"quantizer": "dvq", "codebook_size": 512, "batch_size": batch_size, **network}
    settings: Any = find_experiment("learned_prior").settings(fields)
    pixels = stream(0, "images").integers(0, 256, (1024, 3, 32, 32), dtype=np.uint8)
    data = DataSet(Images(train=pixels, test=pixels[:1], sha256=""), device)
    ways: dict[str, Callable[[], object]] = {"dvq_ray": Training(settings, 0, data, device).advance}
    if not settings.logistic_mixtures:
        ways["textbook"] = textbook_step(settings, torch.from_numpy(pixels), device)
    if not device.on_gpu and multiplies_bfloat16():
        ways["bfloat16"] = Training(settings, 0, data, replace(device, cpu_precision="bfloat16")).advance
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for step in ways.values():
        for _ in range(3):  # compiling and choosing algorithms
            step()
    for _ in range(rounds):
        for name, step in ways.items():
            device.wait()
            started = _clock(device)
            for _ in range(steps):
                step()
            device.wait()
            seconds[name].append((_clock(device) - started) / steps)
    rates = {name: [batch_size / each for each in values] for name, values in seconds.items()}
    products = 3 * settings.training_products()

    def share(name: str, dtype: torch.dtype) -> str:
        if name not in rates:
            return ""
        return f"{100 * statistics.median(rates[name]) * products / _products_per_second(device, dtype):.0f} %"

    label = f"{network['stem_channels']}/{network['body_channels']}, D={network['dimension']}, L={network['slices']}"
    return [
        f"{label}, {'logistic mixture' if settings.logistic_mixtures else 'softmax'}, batch {batch_size}",
        *(spread(rates[name], ".1f") if name in rates else "" for name in ("textbook", "dvq_ray", "bfloat16")),
        _ratio(rates, "dvq_ray", "textbook"),
        _ratio(rates, "bfloat16", "dvq_ray"),
        share("dvq_ray", torch.bfloat16 if device.precision == "bfloat16" else torch.float32),
        share("bfloat16", torch.bfloat16),
    ]


def _ratio(rates: dict[str, list[float]], name: str, other: str) -> str:
    """Of each round: median (least to greatest)."""
    if not {name, other} <= rates.keys():
        return ""
    ratios = [one / two for one, two in zip(rates[name], rates[other], strict=True)]
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def _clock(device: Device) -> float:
    """On a CPU, where one thread computes, what other processes take does not count."""
    return time.perf_counter() if device.on_gpu else time.process_time()


@cache
def _products_per_second(device: Device, dtype: torch.dtype) -> float:
    """Multiplications that torch's product of two matrices reaches."""
    size = 8192 if device.on_gpu else 1024
    one, other = (torch.rand(size, size, device=device.kind).to(dtype) for _ in range(2))
    found = []
    for _ in range(10):
        device.wait()
        started = _clock(device)
        one @ other
        device.wait()
        found.append(_clock(device) - started)
    return float(size**3 / min(found))


@click.command()
@click.option("--quick", is_flag=True, help="The small network alone, few rounds.")
@click.option("--rounds", default=5, show_default=True, help="Measurements of each way, in turn.")
@click.option("--return-memory", is_flag=True, help="Return freed memory to the system, as trainings once did.")
def main(quick: bool, rounds: int, return_memory: bool) -> None:
    """Measure on the GPU where there is one, else on one core."""
    torch.manual_seed(0)
    device = Device("cuda" if torch.cuda.is_available() else "cpu")
    rounds, steps = (2, 2) if quick else (rounds, 50 if device.on_gpu else 3)
    shapes = [(SMALL, 32)]
    if not quick:
        shapes += [(LOSSLESS, 16), (OFFICIAL, 128 if device.on_gpu else 8)]
    if return_memory:
        patch(f"{Training.__module__}.keep_freed_memory", lambda: False).start()
    with device.prepared():
        rows = [_measure(network, batch, device, steps, rounds) for network, batch in shapes]
    where = torch.cuda.get_device_name() if device.on_gpu else "one core, CPU time"
    say(f"training step on {where}, {device.precision}, images per second: min / median / max of {rounds} rounds")
    headings = ("textbook, float32", "dvq_ray", "bfloat16", "dvq_ray/textbook", "bfloat16/float32")
    show(("network", *headings, "share of products", "bfloat16"), rows)
    if device.on_gpu:
        say(f"wanted on a GPU: {WANTED_ON_GPU} times the textbook's")


if __name__ == "__main__":
    main()
