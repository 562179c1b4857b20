"""Convolutions with aligned numbers of channels, as on a GPU, tried on a CPU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from dvq_ray.experiment.registry import find_experiment
from dvq_ray.experiments.learned_prior.autoencoder import Autoencoder, build_autoencoder
from dvq_ray.experiments.learned_prior.device import DataSet, Device
from dvq_ray.experiments.learned_prior.images import Images
from dvq_ray.experiments.learned_prior.settings import LearnedPriorSettings
from dvq_ray.experiments.learned_prior.training import Training
from dvq_ray.streams import stream

ODD = {
    "quantizer": "dvq", "slices": 2, "image_size": 8, "dimension": 30, "codebook_size": 8, "downsamplings": 2,
    "stem_channels": 31, "body_channels": 15, "residual_channels": 23, "residual_blocks": 1, "logistic_mixtures": 3,
    "batch_size": 4, "steps": 4,
}  # fmt: skip
OFFICIAL = {"quantizer": "dvq", "dimension": 2550, "slices": 10}


def settings(**fields: Any) -> LearnedPriorSettings:
    made = find_experiment("learned_prior").settings(fields)
    assert isinstance(made, LearnedPriorSettings)
    return made


def model(aligned: bool, **fields: Any) -> Autoencoder:
    made = build_autoencoder(settings(**fields), torch.Generator().manual_seed(0))
    if aligned:
        made.align_widths()
    return made.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def results(network: Autoencoder, images: Tensor) -> list[Tensor]:
    made = network(images)
    nats = network.likelihood.nats(made.parameters, images).mean()
    loss = nats + made.quantized.codebook_loss + made.quantized.commitment_loss
    gradients = torch.autograd.grad(loss, list(network.parameters()))
    return [made.parameters, made.latents, made.quantized.indices, loss, *gradients]


def pixels(size: int = 8, number: int = 4) -> Tensor:
    drawn = torch.randint(256, (number, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    return drawn.contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("model_of", [{}, {"quantizer": "vq", "slices": None, "joint_codebooks": 3}])
@pytest.mark.parametrize("logistic_mixtures", [0, 3])
def test_aligned_channels_are_the_same_mathematics(model_of: dict[str, Any], logistic_mixtures: int) -> None:
    given = {**ODD, **model_of, "logistic_mixtures": logistic_mixtures}
    fields = {name: value for name, value in given.items() if value is not None}
    found = []
    for aligned in (True, False):
        network = model(aligned, **fields).double()
        network.encode_latents = lambda images, own=network: own.encoder(images.double() / 255 - 0.5)[:, :30]  # type: ignore[method-assign,misc]
        found.append(results(network, pixels()))
    for one, other in zip(*found, strict=True):
        assert one.shape == other.shape
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7)  # the likelihood computes in float32


class Channels(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes the channels of what goes into convolutions, forward and backward, and of what comes out."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: list[tuple[int, int]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        if func is torch.ops.aten.convolution.default:
            self.found.append((args[0].shape[1], made.shape[1]))
        elif func is torch.ops.aten.convolution_backward.default:
            self.found.append((args[1].shape[1], args[0].shape[1]))
        return made


def forward_and_backward(network: Autoencoder) -> None:
    """Of the author's network without its quantizer, on shapes without numbers."""
    network = network.to("meta")
    for layers, inputs in ((network.encoder, (2, 3, 32, 32)), (network.decoder, (2, 2550, 8, 8))):
        torch.autograd.grad(layers(torch.empty(inputs, device="meta")).sum(), list(layers.parameters()))


def test_all_channels_of_the_authors_network_are_aligned_but_the_three_colours() -> None:
    for aligned in (False, True):
        with Channels() as channels:
            forward_and_backward(model(aligned, **OFFICIAL))
        odd = {each for pair in channels.found for each in pair if each % 64}
        assert odd == ({3} if aligned else {3, 127, 255, 2550})
        assert len(channels.found) == 2 * 14


def test_aligning_the_authors_network_costs_little_arithmetic() -> None:
    flops = []
    for aligned in (False, True):
        with FlopCounterMode(display=False) as counter:
            forward_and_backward(model(aligned, **OFFICIAL))
        flops.append(counter.get_total_flops())
    assert 1 < flops[1] / flops[0] < 1.02


@dataclass(frozen=True)
class Aligning(Device):
    """A CPU that aligns, as a GPU does."""

    @property
    def aligns_widths(self) -> bool:
        return True


def training(device: Device) -> Training:
    draw = stream(0, "images of a test")
    train, test = (draw.integers(0, 256, (n, 3, 8, 8), dtype=np.uint8) for n in (10, 4))
    return Training(settings(**ODD), 0, DataSet(Images(train=train, test=test, sha256="digest"), device), device)


def test_a_training_with_aligned_channels_has_the_parameters_and_the_loss_of_one_without() -> None:
    aligned, plain = (training(device) for device in (Aligning("cpu"), Device("cpu")))
    for each in (aligned, plain):
        each.begin()
        while not each.done:
            each.advance()
    assert aligned.parameters() == plain.parameters()
    for name, tensor in plain.model.state_dict().items():
        assert aligned.model.state_dict()[name].shape == tensor.shape
    bits = [each.curve[-1]["reconstruction_bits_per_dim"] for each in (aligned, plain)]
    assert bits[0] == pytest.approx(bits[1], rel=1e-5)


def test_a_checkpoint_does_not_depend_on_alignment() -> None:
    aligned, plain = (training(device) for device in (Aligning("cpu"), Device("cpu")))
    aligned.begin()
    aligned.advance()
    plain.restore(aligned.checkpoint())
    for one, other in zip(aligned.model.parameters(), plain.model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_cpu_computes_with_the_channels_that_there_are() -> None:
    with Channels() as channels:
        one = training(Device("cpu"))
        one.begin()
        one.advance()
    assert {each for pair in channels.found for each in pair} == {3, 15, 23, 30, 31}
