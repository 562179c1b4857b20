from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy.special import expit, log_softmax, logsumexp
from torch import Tensor
from torch.nn.functional import cross_entropy

from dvq_ray.experiments.learned_prior.likelihood import Categorical, Likelihood, LogisticMixture

LIKELIHOODS = [Categorical(), LogisticMixture(1), LogisticMixture(4)]
LAYOUTS = [torch.contiguous_format, torch.channels_last]

each_likelihood = pytest.mark.parametrize(
    "likelihood", LIKELIHOODS, ids=lambda one: f"{type(one).__name__}{one.channels}"
)
each_layout = pytest.mark.parametrize("layout", LAYOUTS, ids=["channels-first", "channels-last"])


def parameters_of(likelihood: Likelihood, batch: int = 2, size: int = 4, scale: float = 2.0, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(batch, likelihood.channels, size, size, generator=generator)


def images_of(batch: int = 2, size: int = 4, seed: int = 1) -> Tensor:
    images = torch.randint(256, (batch, 3, size, size), generator=torch.Generator().manual_seed(seed))
    images[0, :, 0, 0], images[0, :, 0, 1] = 0, 255
    return images.to(torch.uint8)


def mixture_nats(parameters: Tensor, images: Tensor) -> npt.NDArray[np.float64]:
    """Equations 2 and 3 of 1701.05517 in float64, pixel by pixel as they are written: [B]."""
    components = parameters.shape[1] // 10
    rows = parameters.double().numpy().transpose(0, 2, 3, 1)
    pixels = images.numpy().transpose(0, 2, 3, 1)
    nats = np.zeros(rows.shape[:3])
    for place in np.ndindex(nats.shape):
        bytes_ = pixels[place].astype(float)
        x = bytes_ / 127.5 - 1
        joint = log_softmax(rows[place][:components])
        means, log_scales, coefficients = rows[place][components:].reshape(3, 3, components).transpose(1, 0, 2)
        c = np.tanh(coefficients)
        centres = [means[0], means[1] + c[0] * x[0], means[2] + c[1] * x[0] + c[2] * x[1]]
        for colour in range(3):
            scale = np.exp(np.clip(log_scales[colour], -7, 7))
            upper = 1 if bytes_[colour] == 255 else expit((x[colour] - centres[colour] + 1 / 255) / scale)
            lower = 0 if bytes_[colour] == 0 else expit((x[colour] - centres[colour] - 1 / 255) / scale)
            joint = joint + np.log(np.maximum(upper - lower, 1e-300))
        nats[place] = -logsumexp(joint) / 3
    return np.asarray(nats.mean((1, 2)))


@each_layout
def test_categorical_nats_and_their_gradient_are_those_of_the_cross_entropy(layout: torch.memory_format) -> None:
    likelihood = Categorical()
    parameters, images = parameters_of(likelihood), images_of()
    weights = torch.tensor([0.3, 2.0])

    exact = parameters.double().requires_grad_()
    losses = cross_entropy(exact.view(2, 3, 256, 4, 4).transpose(1, 2), images.long(), reduction="none")
    expected = losses.mean((1, 2, 3))
    (expected * weights).sum().backward()  # type: ignore[no-untyped-call]

    ours = parameters.clone(memory_format=layout).requires_grad_()
    nats = likelihood.nats(ours, images)
    torch.testing.assert_close(nats, expected.detach().float())
    (gradient,) = torch.autograd.grad((nats * weights).sum(), ours)
    assert exact.grad is not None
    torch.testing.assert_close(gradient, exact.grad.float(), rtol=1e-5, atol=1e-8)


def test_a_second_backward_pass_of_the_categorical_is_refused_because_the_first_took_its_memory() -> None:
    parameters = parameters_of(Categorical()).requires_grad_()
    nats = Categorical().nats(parameters, images_of()).mean()
    nats.backward(retain_graph=True)  # type: ignore[no-untyped-call]
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        nats.backward()  # type: ignore[no-untyped-call]


@each_layout
@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_mixture_nats_are_those_of_the_paper_in_float64(layout: torch.memory_format, scale: float) -> None:
    likelihood = LogisticMixture(4)
    parameters, images = parameters_of(likelihood, scale=scale), images_of()
    nats = likelihood.nats(parameters.contiguous(memory_format=layout), images)
    np.testing.assert_allclose(nats.numpy(), mixture_nats(parameters, images), rtol=1e-5)


def test_mixture_gradient_is_that_of_float64_differences() -> None:
    likelihood = LogisticMixture(2)
    parameters, images = parameters_of(likelihood, batch=1, size=2, scale=1.0), images_of(batch=1, size=2)
    (gradient,) = torch.autograd.grad(likelihood.nats(parameters.requires_grad_(), images).sum(), parameters)
    parameters = parameters.detach().double()
    step = 1e-5
    for channel in range(likelihood.channels):
        moved = [parameters.clone(), parameters.clone()]
        moved[0][0, channel, 0, 0] += step
        moved[1][0, channel, 0, 0] -= step
        slope = (mixture_nats(moved[0], images) - mixture_nats(moved[1], images)) / (2 * step)
        assert gradient[0, channel, 0, 0].item() == pytest.approx(slope[0], rel=1e-3, abs=1e-6)


@each_likelihood
@pytest.mark.parametrize("scale", [0.1, 1.0, 4.0])
def test_a_red_sub_pixel_has_probability_one_over_its_256_values(likelihood: Likelihood, scale: float) -> None:
    """What green and blue contribute is taken out by the same images with another red (no coefficients)."""
    parameters = parameters_of(likelihood, batch=1, size=1, scale=scale).expand(256, -1, -1, -1).clone()
    images = torch.zeros(256, 3, 1, 1, dtype=torch.uint8)
    images[:, 0, 0, 0] = torch.arange(256)
    if isinstance(likelihood, LogisticMixture):
        # With one wide component for the colours that are not summed over, black has probability one to a rounding.
        others = parameters[:, likelihood.components :].view(256, 3, 3, likelihood.components, 1, 1)
        others[:, 1:, 0], others[:, 1:, 1], others[:, 1:, 2] = -50.0, 0.0, 0.0
        certain = 0.0
    else:
        certain = float(parameters[0].view(3, 256)[1:].double().log_softmax(1)[:, 0].sum())
    log_probabilities = -3 * likelihood.nats(parameters, images).double() - certain
    assert log_probabilities.exp().sum().item() == pytest.approx(1, abs=2e-5)


@each_likelihood
@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("size", [10.0, 1000.0, 1e6])
def test_nats_and_gradients_are_finite_at_extremes(likelihood: Likelihood, sign: int, size: float) -> None:
    for images in (images_of(), torch.zeros_like(images_of()), torch.full_like(images_of(), 255)):
        parameters = (sign * size * parameters_of(likelihood, scale=1.0).sign()).requires_grad_()
        nats = likelihood.nats(parameters, images)
        assert nats.isfinite().all()
        (gradient,) = torch.autograd.grad(nats.sum(), parameters)
        assert gradient.isfinite().all()


@each_likelihood
@each_layout
def test_nats_and_expected_of_an_image_do_not_depend_on_its_batch(
    likelihood: Likelihood, layout: torch.memory_format
) -> None:
    parameters = parameters_of(likelihood, batch=3).contiguous(memory_format=layout)
    images = images_of(batch=3)
    for i in range(3):
        alone = likelihood.nats(parameters[i : i + 1], images[i : i + 1])
        torch.testing.assert_close(alone[0], likelihood.nats(parameters, images)[i], rtol=1e-6, atol=0)
        pixels = likelihood.expected(parameters[i : i + 1])
        torch.testing.assert_close(pixels[0], likelihood.expected(parameters)[i], rtol=1e-6, atol=1e-7)


@each_likelihood
def test_bfloat16_parameters_are_taken_as_the_float32_that_they_are(likelihood: Likelihood) -> None:
    parameters, images = parameters_of(likelihood).bfloat16(), images_of()
    nats = likelihood.nats(parameters, images)
    assert nats.dtype == torch.float32
    torch.testing.assert_close(nats, likelihood.nats(parameters.float(), images))
    assert likelihood.expected(parameters).dtype == torch.float32


def test_categorical_expected_is_the_mean_of_the_softmax() -> None:
    parameters = parameters_of(Categorical())
    shares = parameters.double().view(2, 3, 256, 4, 4).softmax(2)
    means = torch.einsum("bcvhw,v->bchw", shares, torch.arange(256).double()) / 255
    torch.testing.assert_close(Categorical().expected(parameters), means.float(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("scale_in_steps", "tolerance_in_steps"), [(0.13, 0.15), (0.5, 0.02), (5, 2e-3), (200, 2e-2)])
def test_mixture_expected_has_the_least_squared_error_of_its_distribution(
    scale_in_steps: float, tolerance_in_steps: float
) -> None:
    """Without coefficients the colours are independent, and the mean is a sum over 256 values."""
    likelihood = LogisticMixture(3)
    parameters = parameters_of(likelihood, batch=4, size=3, scale=0.6)
    others = parameters[:, 3:].view(4, 3, 3, 3, 3, 3)
    others[:, :, 1], others[:, :, 2] = np.log(scale_in_steps / 127.5), 0
    shares, centres = parameters[:, :3].double().softmax(1), (others[:, :, 0].double() + 1) * 127.5
    edges = torch.arange(1, 256).double() - 0.5
    above = torch.sigmoid((centres.unsqueeze(-1) - edges) / scale_in_steps).sum(-1)
    means = (shares.unsqueeze(1) * above).sum(2)
    torch.testing.assert_close(255 * likelihood.expected(parameters), means.float(), rtol=0, atol=tolerance_in_steps)


def test_mixture_expected_of_green_and_blue_follows_from_red() -> None:
    """Far from black and white the mean of a component is linear in the colours before it."""
    parameters = torch.zeros(1, 10, 1, 1)
    red, green, blue = parameters[0, 1:].view(3, 3)
    red[0], green[0], blue[0] = 0.2, -0.1, 0.05
    red[1], green[1], blue[1] = -4, -4, -4
    red[2], green[2], blue[2] = 0.5, -0.7, 0.3
    c = np.tanh([0.5, -0.7, 0.3])
    means = np.array([0.2, -0.1 + c[0] * 0.2, 0.0])
    means[2] = 0.05 + c[1] * means[0] + c[2] * means[1]
    found = LogisticMixture(1).expected(parameters)[0, :, 0, 0]
    np.testing.assert_allclose(found.numpy(), (means + 1) / 2, atol=1e-4)


@each_likelihood
def test_expected_is_within_black_and_white(likelihood: Likelihood) -> None:
    for size in (1.0, 30.0, 1e4):
        expected = likelihood.expected(parameters_of(likelihood, scale=size))
        assert expected.shape == (2, 3, 4, 4)
        assert expected.min() >= 0
        assert expected.max() <= 1 + 1e-6


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")
@each_likelihood
def test_a_gpu_agrees_with_the_cpu(likelihood: Likelihood) -> None:
    parameters, images = parameters_of(likelihood), images_of()
    results = []
    for device in ("cpu", "cuda"):
        ours = parameters.to(device, copy=True).requires_grad_()
        nats = likelihood.nats(ours, images.to(device))
        (gradient,) = torch.autograd.grad(nats.sum(), ours)
        results.append((nats.detach().cpu(), gradient.cpu(), likelihood.expected(parameters.to(device)).cpu()))
    for here, there in zip(*results, strict=True):
        torch.testing.assert_close(here, there, rtol=1e-4, atol=1e-6)


@each_likelihood
@each_layout
def test_conditional_probabilities_are_those_of_the_nats(likelihood: Likelihood, layout: torch.memory_format) -> None:
    parameters, images = parameters_of(likelihood).contiguous(memory_format=layout), images_of()
    bits = torch.zeros(images.shape[0], dtype=torch.float64)
    for colour in range(3):
        found = likelihood.conditional(parameters, images, colour)
        assert found.shape == (2, 4, 4, 256)
        torch.testing.assert_close(found.sum(3), torch.ones(2, 4, 4, dtype=torch.float64))
        bits -= found.gather(3, images[:, colour].long().unsqueeze(3)).log().sum((1, 2, 3))
        later = images.clone()
        later[:, colour:] = 7  # a decoder does not know them yet
        assert torch.equal(likelihood.conditional(parameters, later, colour), found)
    torch.testing.assert_close(
        bits / images[0].numel(), likelihood.nats(parameters, images).double(), rtol=1e-4, atol=0
    )
