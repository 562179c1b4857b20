from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from dvq_ray.experiment.registry import find_experiment
from dvq_ray.experiments.learned_prior.autoencoder import Autoencoder, Upsampling, build_autoencoder
from dvq_ray.experiments.learned_prior.settings import LearnedPriorSettings
from dvq_ray.quantizer.base import Quantizer

SMALL = {"stem_channels": 6, "body_channels": 10, "residual_channels": 4, "codebook_size": 8, "dimension": 8}


def of(quantizer: str, **fields: object) -> LearnedPriorSettings:
    settings = find_experiment("learned_prior").settings({"quantizer": quantizer, **fields})
    assert isinstance(settings, LearnedPriorSettings)
    return settings


QUANTIZERS = [
    of("vq", **SMALL),
    of("vq", **SMALL, joint_codebooks=3),
    of("dvq", **SMALL, slices=4),
    of("svq", **SMALL, slices=4),
]


def build(settings: LearnedPriorSettings, seed: int = 0) -> Autoencoder:
    return build_autoencoder(settings, torch.Generator().manual_seed(seed))


def images_of(batch: int = 3, size: int = 32) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(256, (batch, 3, size, size), generator=generator).to(torch.uint8)


@pytest.mark.parametrize(
    ("settings", "parameters"),
    [
        (of("vq", dimension=255), 4_559_865),
        (of("vq", dimension=255, joint_codebooks=10), 11_001_930),
        (of("vq", dimension=2550), 16_271_250),
        (of("dvq", dimension=2550, slices=10), 16_271_250),
        (of("dvq", dimension=640, slices=10), 6_524_520),
        (of("svq", dimension=255, slices=8), 5_473_785),
    ],
)
def test_the_default_network_has_as_many_parameters_as_the_authors(
    settings: LearnedPriorSettings, parameters: int
) -> None:
    assert sum(one.numel() for one in build(settings).parameters()) == parameters


@pytest.mark.parametrize("settings", QUANTIZERS, ids=lambda one: f"{one.quantizer}{one.codebooks()}")
@pytest.mark.parametrize("downsamplings", [1, 2, 3])
@pytest.mark.parametrize("logistic_mixtures", [0, 3])
def test_latents_are_smaller_by_the_downsamplings_and_parameters_as_large_as_the_image(
    settings: LearnedPriorSettings, downsamplings: int, logistic_mixtures: int
) -> None:
    changes = {"downsamplings": downsamplings, "logistic_mixtures": logistic_mixtures, "image_size": 16}
    settings = settings.model_copy(update=changes)
    model, images, side = build(settings), images_of(size=16), 16 // 2**downsamplings
    made = model(images)
    assert isinstance(settings, Quantizer)
    assert made.latents.shape == (3, settings.dimension, side, side)
    assert made.quantized.latents.shape == (3, settings.out_features(settings.dimension), side, side)
    assert made.quantized.indices[0].numel() * math.log2(8) == settings.bits_per_image()
    assert made.parameters.shape == (3, 30 if logistic_mixtures else 768, 16, 16)
    assert model.likelihood.nats(made.parameters, images).shape == (3,)


def test_the_encoder_is_the_convolutions_of_the_settings() -> None:
    """A network written out by hand, in float64 and with TensorFlow's padding, puts out the same."""
    settings = of("vq", **SMALL, downsamplings=3, residual_blocks=1)
    model, images = build(settings), images_of()
    weights = {name: value.double() for name, value in model.encoder.state_dict().items()}

    def convolve(features: Tensor, layer: str, stride: int = 1) -> Tensor:
        kernel = weights[f"{layer}.weight"]
        before = max(kernel.shape[-1] - stride, 0)
        low, high = before // 2, before - before // 2
        padded = torch.nn.functional.pad(features, (low, high, low, high))
        return torch.nn.functional.conv2d(padded, kernel, weights[f"{layer}.bias"], stride=stride)

    features = images.double() / 255 - 0.5
    for layer in ("0", "2", "4"):
        features = convolve(features, layer, stride=2).relu()
    features = features + convolve(convolve(features, "6.spatial").relu(), "6.pointwise").relu()
    latents = convolve(features, "7")
    torch.testing.assert_close(model.encode_latents(images).double(), latents, rtol=1e-4, atol=1e-5)


def test_an_upsampling_is_torchs_transposed_convolution_with_its_gradients() -> None:
    model = build(of("vq", **SMALL))
    layer = model.decoder[-1]
    assert isinstance(layer, Upsampling)
    assert layer.bias is not None
    features = torch.randn(2, 6, 5, 5, generator=torch.Generator().manual_seed(0), requires_grad=True)
    torch.nn.init.normal_(layer.bias, generator=torch.Generator().manual_seed(1))
    raised = layer(features)
    expected = torch.nn.functional.conv_transpose2d(features, layer.weight, layer.bias, stride=2, padding=1)
    torch.testing.assert_close(raised, expected)
    inputs = [features, layer.weight, layer.bias]
    weights = torch.randn(raised.shape, generator=torch.Generator().manual_seed(2))
    ours, theirs = (torch.autograd.grad((one * weights).sum(), inputs) for one in (raised, expected))
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_kernels_are_glorot_uniform_and_biases_zero() -> None:
    model = build(of("vq", dimension=64))
    kernel = dict(model.named_parameters())["encoder.2.weight"]
    limit = (6 / (16 * (127 + 255))) ** 0.5
    assert kernel.abs().max() <= limit
    assert kernel.abs().max() > 0.999 * limit
    assert kernel.var().item() == pytest.approx(limit**2 / 3, rel=0.01)
    biases = [value for name, value in model.named_parameters() if name.endswith("bias")]
    assert len(biases) == 14
    assert not any(bias.any() for bias in biases)


def test_the_same_generator_gives_the_same_network_and_no_other_state_counts() -> None:
    torch.manual_seed(1)
    first = build(QUANTIZERS[2]).state_dict()
    state = torch.get_rng_state()
    second, other = build(QUANTIZERS[2]).state_dict(), build(QUANTIZERS[2], seed=1).state_dict()
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not any(torch.equal(first[name], other[name]) for name in first if name.endswith("weight"))


def test_quantizers_of_the_same_seed_start_from_the_same_encoder_but_for_its_last_layer() -> None:
    first, other = (
        build(one).encoder.state_dict() for one in (of("vq", **SMALL), of("dvq", **SMALL | {"dimension": 20}, slices=4))
    )
    differing = [name for name in first if first[name].shape != other[name].shape]
    assert differing == ["6.weight", "6.bias"]
    assert all(torch.equal(first[name], other[name]) for name in first if name not in differing)


@pytest.mark.parametrize("settings", QUANTIZERS, ids=lambda one: f"{one.quantizer}{one.codebooks()}")
def test_every_parameter_gets_a_gradient_from_the_losses(settings: LearnedPriorSettings) -> None:
    model, images = build(settings), images_of()
    made = model(images)
    nats = model.likelihood.nats(made.parameters, images).mean()
    (nats + made.quantized.codebook_loss + made.quantized.commitment_loss).backward()
    for name, value in model.named_parameters():
        assert value.grad is not None, name
        assert value.grad.isfinite().all(), name
        assert value.grad.any(), name


@pytest.mark.parametrize("logistic_mixtures", [0, 3])
def test_layout_in_memory_changes_nothing(logistic_mixtures: int) -> None:
    settings = QUANTIZERS[2].model_copy(update={"logistic_mixtures": logistic_mixtures})
    images, found = images_of(), []
    for layout in (torch.contiguous_format, torch.channels_last):
        model = build(settings).to(memory_format=layout)  # type: ignore[call-overload]
        made = model(images.contiguous(memory_format=layout))
        nats = model.likelihood.nats(made.parameters, images)
        (gradient,) = torch.autograd.grad(nats.sum(), next(iter(model.parameters())))
        found.append((nats.detach(), gradient))
    for one, other in itertools.pairwise(found):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_encoder_and_decoder_learn_to_copy_where_nothing_is_quantized() -> None:
    model = build(of("vq", **SMALL | {"stem_channels": 16, "body_channels": 16}), seed=1)
    images = torch.tensor([20, 200], dtype=torch.uint8).view(2, 1, 1, 1).repeat(1, 3, 8, 8)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(100):
        nats = model.likelihood.nats(model.decode(model.encode_latents(images)), images).mean()
        optimizer.zero_grad()
        nats.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    with torch.no_grad():
        parameters = model.decode(model.encode_latents(images))
        assert model.likelihood.nats(parameters, images).max() < 0.2
        pixels = model.likelihood.expected(parameters)
    torch.testing.assert_close(pixels, images / 255, rtol=0, atol=0.05)


def test_bfloat16_autocast_leaves_the_codes_and_the_likelihood_in_float32() -> None:
    model, images = build(QUANTIZERS[2]), images_of()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        made = model(images)
        nats = model.likelihood.nats(made.parameters, images)
    assert made.parameters.dtype == torch.bfloat16
    assert made.quantized.latents.dtype == nats.dtype == torch.float32
    exact = model(images)
    torch.testing.assert_close(nats, model.likelihood.nats(exact.parameters, images), rtol=1e-2, atol=1e-2)
    nats.mean().backward()  # type: ignore[no-untyped-call]
    gradients = [value.grad for value in model.decoder.parameters() if value.grad is not None]
    assert len(gradients) == len(list(model.decoder.parameters()))
    assert all(gradient.isfinite().all() for gradient in gradients)


@pytest.mark.long
@pytest.mark.parametrize("logistic_mixtures", [0, 3])
def test_the_losses_compile_to_one_graph_with_the_same_gradients(logistic_mixtures: int) -> None:
    settings = QUANTIZERS[2].model_copy(update={"logistic_mixtures": logistic_mixtures})
    images, found = images_of(size=8), []

    def loss(model: Autoencoder) -> Tensor:
        made = model(images)
        nats = model.likelihood.nats(made.parameters, images).mean()
        total: Tensor = nats + made.quantized.codebook_loss + made.quantized.commitment_loss
        return total

    for function in (loss, torch.compile(loss, backend="aot_eager", fullgraph=True)):
        model = build(settings)
        value = function(model)
        found.append((value.detach(), *torch.autograd.grad(value, list(model.parameters()))))
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-6)
