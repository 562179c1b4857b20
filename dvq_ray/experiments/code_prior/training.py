"""Trains a causal network over codes by gradient, and rounds it to whole numbers.

Letters in shapes: B samples, P positions, L codes at a position, D features, K codes.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Generator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, cross_entropy, relu

from dvq_ray.experiments.code_prior.integer_network import (
    FIRST_TAPS,
    MOST_WEIGHT,
    TAPS,
    WEIGHT,
    IntegerNetwork,
    Taps,
    rounded_activations,
    rounded_weights,
)
from dvq_ray.experiments.code_prior.layout import Codes, Layout
from dvq_ray.experiments.code_prior.prior import Fit
from dvq_ray.experiments.code_prior.tables import shares
from dvq_ray.fitting.codecs.modules import one_thread
from dvq_ray.quantizer.usage import ADDED
from dvq_ray.streams import stream

HELD_OUT = 0.1
"""Part of the training samples that decides when to stop."""
LOOKS = 25
"""At the held-out samples, spread evenly over the steps."""
PATIENCE = 4
"""Looks in a row that find nothing better end a training."""
STEPS_AT_ONCE = 10
"""Between two moments at which a training can be stopped."""
MOST_HELD_OUT_CODES = 200_000
"""That are looked at, so that looks take a small part of the time."""


class Network(nn.Module):
    """What `IntegerNetwork` computes, in floating point and for all positions at once."""

    def __init__(
        self, layout: Layout, width: int, convolutions: int, start: list[Tensor], rng: torch.Generator
    ) -> None:
        """`start` has the logits that each codebook starts with: those of its unigram distribution."""
        super().__init__()
        self.layout = layout
        books, sizes = range(len(layout.sizes)), layout.sizes

        def drawn(*shape: int, scale: float) -> nn.Parameter:
            return nn.Parameter(torch.randn(*shape, generator=rng) * scale)

        narrow = 1 / math.sqrt(width)
        self.links = nn.ParameterList([drawn(sizes[book], width, scale=0.5) for book in books])
        self.bias = nn.ParameterList([drawn(width, scale=0.1) for _ in books])
        self.hidden = nn.ParameterList([drawn(width, width, scale=math.sqrt(2) * narrow) for _ in books])
        self.hidden_bias = nn.ParameterList([nn.Parameter(torch.zeros(width)) for _ in books])
        self.output = nn.ParameterList([drawn(width, sizes[book], scale=0.1 * narrow) for book in books])
        self.logits = nn.ParameterList([nn.Parameter(each.clone()) for each in start])
        taps = [FIRST_TAPS, *[TAPS] * (convolutions - 1)] if convolutions else []
        self.embeddings = nn.ParameterList([drawn(sizes[book], width, scale=0.5) for book in books] if taps else [])
        self.weights = nn.ParameterList(
            [drawn(len(each) * width, width, scale=1 / math.sqrt(len(each) * width)) for each in taps]
        )
        self.positions = nn.ParameterList([drawn(layout.positions, width, scale=0.1)] if taps else [])
        self.biases = nn.ParameterList([nn.Parameter(torch.zeros(width)) for _ in taps[1:]])

    def forward(self, codes: Tensor) -> Tensor:
        """Nats of all codes [B, P, L] of the batch together."""
        features = self._context(codes) if len(self.weights) else torch.zeros((), device=codes.device)
        layout = self.layout
        if not layout.shared:
            run = layout.positions // len(layout.sizes)
            parts = [
                self._nats(book, features[:, book * run : (book + 1) * run] if features.ndim else features, own)
                for book, own in enumerate(torch.split(codes[:, :, 0], run, dim=1))
            ]
            return torch.stack(parts).sum()
        total = torch.zeros((), device=codes.device)
        for place in range(layout.codes):
            own = codes[:, :, place]
            total = total + self._nats(place, features, own)
            if place + 1 < layout.codes:
                features = features + _rows(self.links[place], own)
        return total

    def _nats(self, book: int, features: Tensor, codes: Tensor) -> Tensor:
        hidden = relu(relu(features + self.bias[book]) @ self.hidden[book] + self.hidden_bias[book])
        logits = (hidden @ self.output[book] + self.logits[book]).expand(*codes.shape, -1)
        return cross_entropy(logits.flatten(0, 1), codes.flatten(), reduction="sum")

    def _context(self, codes: Tensor) -> Tensor:
        """Features [B, P, D] of each position from the codes before it."""
        layout = self.layout
        if layout.shared:
            seen = sum(
                (_rows(table, codes[:, :, place]) for place, table in enumerate(self.embeddings)), torch.zeros(())
            )
        else:
            runs = torch.split(codes[:, :, 0], layout.positions // len(layout.sizes), dim=1)
            seen = torch.cat([_rows(table, own) for table, own in zip(self.embeddings, runs, strict=True)], dim=1)
        grid = torch.unflatten(seen.transpose(1, 2), 2, (layout.height, layout.width))
        positions = torch.unflatten(self.positions[0].T, 1, (layout.height, layout.width))
        features = conv2d(grid, _kernel(self.weights[0], FIRST_TAPS, 5), padding=2) + positions
        for weights, bias in zip(list(self.weights)[1:], self.biases, strict=True):
            features = features + conv2d(relu(features), _kernel(weights, TAPS, 3), bias, padding=1)
        return features.flatten(2).transpose(1, 2)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Of the `IntegerNetwork` that computes the same but for rounding."""
        found: dict[str, npt.NDArray[Any]] = {}
        for book in range(len(self.layout.sizes)):
            found[f"link{book}"] = rounded_activations(_numpy(self.links[book]))
            for name, values in (("hidden", self.hidden), ("output", self.output)):
                found[f"head{book}.{name}"] = rounded_weights(_numpy(values[book]))
            for name, values in (("bias", self.bias), ("hidden_bias", self.hidden_bias), ("logits", self.logits)):
                found[f"head{book}.{name}"] = rounded_activations(_numpy(values[book]))
            if len(self.embeddings):
                found[f"embedding{book}"] = rounded_activations(_numpy(self.embeddings[book]))
        for place, (weights, bias) in enumerate(zip(self.weights, [*self.positions, *self.biases], strict=True)):
            found[f"convolution{place}.weights"] = rounded_weights(_numpy(weights))
            found[f"convolution{place}.bias"] = rounded_activations(_numpy(bias))
        return found

    @torch.no_grad()
    def keep_in_range(self) -> None:
        """Weights stay where they can be rounded."""
        for weights in (*self.hidden, *self.output, *self.weights):
            weights.clamp_(-MOST_WEIGHT / WEIGHT, MOST_WEIGHT / WEIGHT)


def _rows(table: Tensor, codes: Tensor) -> Tensor:
    return nn.functional.embedding(codes, table)


def _kernel(weights: Tensor, taps: Taps, side: int) -> Tensor:
    """[D, D, side, side] of weights [T * D, D], with 0 where there is no tap."""
    width, middle = weights.shape[1], side // 2
    kernel = weights.new_zeros(side * side, width, width)
    places = torch.tensor([(row + middle) * side + column + middle for row, column in taps], device=weights.device)
    kernel = kernel.index_copy(0, places, weights.view(len(taps), width, width))
    return kernel.view(side, side, width, width).permute(3, 2, 0, 1)


def _numpy(tensor: Tensor) -> npt.NDArray[np.float32]:
    found: npt.NDArray[np.float32] = tensor.detach().cpu().numpy()
    return found


def trained(codes: Codes, fit: Fit, convolutions: int) -> Generator[float, None, IntegerNetwork]:
    """A network with so many convolutions, trained on codes [N, P, L]. On a CPU it takes one core.

    Yields the part of the steps that are done.

    The first steps are of full length; from then on it falls as a half cosine to 0. The weights with which held-out
    samples cost least are kept.
    """
    with one_thread("cpu"):  # so that a cell gives the same bytes whatever a trial was given
        return (yield from _trained(codes, fit, convolutions))


def _trained(codes: Codes, fit: Fit, convolutions: int) -> Generator[float, None, IntegerNetwork]:
    settings, layout = fit.settings, fit.layout
    order = stream(fit.seed, "held-out codes").permutation(len(codes))
    held = max(1, min(round(HELD_OUT * len(codes)), MOST_HELD_OUT_CODES // codes[0].size))
    device = torch.device(fit.device)
    look_at, train = (torch.from_numpy(codes[rows]).to(device) for rows in (order[:held], order[held:]))
    batches = stream(fit.seed, "batches of codes")
    rng = torch.Generator().manual_seed(int(stream(fit.seed, "prior's start").integers(2**63)))
    tables = [
        np.log(shares(np.bincount(column, minlength=size), ADDED))
        for column, size in zip(layout.pooled(codes), layout.sizes, strict=True)
    ]
    start = [torch.from_numpy(table - table.max()).float() for table in tables]
    if not len(train) or (layout.codes == 1 and not convolutions):  # there is nothing before a code
        return IntegerNetwork(layout, _without_context(layout, start), 0)
    network = Network(layout, settings.prior_width, convolutions, start, rng).to(device)
    size = min(len(train), max(1, settings.prior_batch_positions // layout.positions))
    optimizer = torch.optim.Adam(network.parameters(), lr=settings.prior_learning_rate, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, _schedule(settings.prior_steps))
    best, kept, stopped_at, worse = math.inf, copy.deepcopy(network.state_dict()), 0, 0
    looks = {round(settings.prior_steps * look / LOOKS) for look in range(LOOKS + 1)}
    for step in range(settings.prior_steps + 1):
        if step in looks:
            bits = _held_out_bits(network, look_at, size)
            fit.log(step, bits)
            worse = 0 if bits < best else worse + 1
            if bits < best:
                best, kept, stopped_at = bits, copy.deepcopy(network.state_dict()), step
            if worse == PATIENCE or step == settings.prior_steps:
                break
        if step % STEPS_AT_ONCE == 0:
            yield step / settings.prior_steps
        rows = torch.from_numpy(batches.integers(len(train), size=size)).to(device)
        batch = train[rows]
        loss = network(batch) / batch.numel()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        network.keep_in_range()
    network.load_state_dict(kept)
    return IntegerNetwork(layout, network.arrays(), stopped_at)


def _without_context(layout: Layout, start: list[Tensor]) -> dict[str, npt.NDArray[Any]]:
    """Arrays of a network that knows nothing but what it starts with."""
    network = Network(layout, 1, 0, start, torch.Generator().manual_seed(0))
    with torch.no_grad():
        for output in network.output:
            output.zero_()
    return network.arrays()


def _schedule(steps: int) -> Any:
    warm = max(1, min(50, steps // 10))
    return lambda step: min((step + 1) / warm, 0.5 * (1 + math.cos(math.pi * step / steps)) + 1e-3)


@torch.no_grad()
def _held_out_bits(network: Network, codes: Tensor, batch: int) -> float:
    """Of all codes of a sample; infinite where the training diverged."""
    total = sum(float(network(part)) for part in torch.split(codes, 4 * batch))
    bits = total / math.log(2) / len(codes)
    return bits if math.isfinite(bits) else math.inf
