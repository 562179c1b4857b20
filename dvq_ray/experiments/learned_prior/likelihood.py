"""Likelihoods of an image's pixels given what the decoder puts out.

Letters in shapes: B images, H height, W width, V the 256 values of a sub-pixel, M components of a mixture. A sub-pixel
is one colour of one pixel: an image [3, H, W] has 3 * H * W of them, by which bits per dimension are counted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, softplus

from dvq_ray.experiments.learned_prior.settings import CHANNELS

VALUES = 256
"""Values of a sub-pixel: it is a byte."""

HALF_RANGE = (VALUES - 1) / 2


class Likelihood(Protocol):
    """A distribution over the bytes of an image whose parameters are the decoder's output."""

    channels: int
    """Parameters of each pixel."""

    def nats(self, parameters: Tensor, images: Tensor) -> Tensor:
        """Negative log-likelihood of `images`, uint8 [B, 3, H, W]: the mean over sub-pixels, float32 [B].

        `parameters` is [B, channels, H, W] of any floating type and layout. Its memory may be used again by the
        backward pass: read it before, not after.
        """

    def expected(self, parameters: Tensor) -> Tensor:
        """Mean of each sub-pixel, float32 [B, 3, H, W], in units where black is 0 and white is 1."""

    def conditional(self, parameters: Tensor, images: Tensor, colour: int) -> Tensor:
        """Probabilities of the values of a colour given the colours before it in `images`: float64 [B, H, W, V].

        Their logarithms at what is there, summed over colours, are `nats`; an entropy coder needs all of them.
        """


class Categorical:
    """An independent softmax of each sub-pixel, as in the author's code. Channels are colour-major: 3 * V."""

    channels = CHANNELS * VALUES

    def nats(self, parameters: Tensor, images: Tensor) -> Tensor:
        """See `Likelihood`."""
        logits, values = self._logits(parameters), images.long().unsqueeze(2)
        if logits.device.type == "cpu" and not torch.compiler.is_compiling():
            nats: Tensor = _CrossEntropy.apply(logits, values)  # type: ignore[no-untyped-call]
        else:
            # Without a gather, the backward pass of which is a scatter, it compiles to one kernel each way.
            there = values == torch.arange(VALUES, device=values.device).view(-1, 1, 1)
            nats = logits.logsumexp(2) - logits.where(there, 0).sum(2)
        return nats.mean((1, 2, 3))

    def expected(self, parameters: Tensor) -> Tensor:
        """See `Likelihood`."""
        values = torch.linspace(0, 1, VALUES, device=parameters.device).view(-1, 1, 1)

        def mean(logits: Tensor) -> Tensor:
            # Half the time of torch's softmax over a dimension in the middle.
            weights = (logits - logits.amax(2, keepdim=True)).exp_()
            return (weights * values).sum(2) / weights.sum(2)

        return _by_image(mean, self._logits(parameters))

    def conditional(self, parameters: Tensor, images: Tensor, colour: int) -> Tensor:
        """See `Likelihood`; the colours before are of no account."""
        return self._logits(parameters)[:, colour].double().softmax(1).permute(0, 2, 3, 1)

    def _logits(self, parameters: Tensor) -> Tensor:
        """[B, 3, V, H, W]"""
        return torch.unflatten(parameters.float(), 1, (CHANNELS, VALUES))


def _by_image(function: Callable[[Tensor], Tensor], batch: Tensor) -> Tensor:
    """`function` of a batch; on a CPU image by image, so that what it holds in between stays in the cache."""
    if batch.device.type == "cpu":
        return torch.cat([function(image) for image in torch.split(batch, 1)])
    return function(batch)


class _CrossEntropy(torch.autograd.Function):
    """Of each sub-pixel, without memory of its own: 786,432 logits to an image of 32x32 are most of a training's.

    On a CPU that also takes a quarter of torch's time at most, which goes into the first touch of new memory. The
    gradient is written over the logits: nothing else needs them, and torch refuses a second backward pass that would.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, values: Tensor) -> Tensor:
        """`logits` [B, 3, V, H, W], `values` int64 [B, 3, 1, H, W]; nats [B, 3, H, W]."""
        normalizers = _by_image(lambda image: image.logsumexp(2), logits)
        ctx.save_for_backward(logits, values, normalizers)
        return normalizers - logits.gather(2, values).squeeze(2)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """The softmax less the one that was there, each times the gradient of its nats."""
        logits, values, normalizers = ctx.saved_tensors
        weights = gradients[0].unsqueeze(2)
        for image, normalizer, weight in zip(logits, normalizers.unsqueeze(2), weights, strict=True):
            image.sub_(normalizer).exp_().mul_(weight)
        return logits.scatter_add_(2, values, -weights), None


class LogisticMixture:
    """A mixture of discretised logistics, its M components shared by the colours of a pixel (PixelCNN++, 1701.05517).

    Channels are the logits of the components; then for each colour M means, M logarithms of scales and M coefficients.
    Means and scales are in units where black is -1 and white is 1. Within a component, the red that was there moves
    the mean of green, red and green that of blue (equation 3), by tanh of the coefficients: of the three sets, green
    by red, blue by red, blue by green.
    """

    def __init__(self, components: int) -> None:
        self.components = components
        self.channels = (1 + 3 * CHANNELS) * components

    def nats(self, parameters: Tensor, images: Tensor) -> Tensor:
        """See `Likelihood`. Equation 2 itself: its authors' code approximates it where a bin has little mass."""
        logits, *others = self._split(parameters)
        values = images.float().unsqueeze(2)
        centres, scales = _centres(others, values)
        lower, upper = _bins(values)
        joint = logits.log_softmax(1)
        for colour, (mean, scale) in enumerate(zip(centres, scales, strict=True)):
            joint = joint + _log_mass(lower[:, colour], upper[:, colour], (1 + mean) * HALF_RANGE, scale)
        return joint.logsumexp(1).mean((1, 2)) / -CHANNELS

    def conditional(self, parameters: Tensor, images: Tensor, colour: int) -> Tensor:
        """See `Likelihood`. The colours before say which components are likely, and move the means."""
        logits, *others = self._split(parameters)
        values = images.double().unsqueeze(2)
        centres, scales = _centres(others, values)
        lower, upper = _bins(values)
        joint = logits.double().log_softmax(1)
        for before in range(colour):
            centre = (1 + centres[before]) * HALF_RANGE
            joint = joint + _log_mass(lower[:, before], upper[:, before], centre, scales[before].double())
        every = torch.arange(VALUES, dtype=torch.float64, device=parameters.device)
        centre, scale = ((1 + centres[colour]) * HALF_RANGE).unsqueeze(-1), scales[colour].double().unsqueeze(-1)
        masses = _log_mass(*_bins(every), centre, scale)
        return (joint.log_softmax(1).unsqueeze(-1) + masses).logsumexp(1).exp()

    def expected(self, parameters: Tensor) -> Tensor:
        """See `Likelihood`. Green and blue follow from the expected red and green of their component.

        That is their mean but for what black and white cut off; each mean is within a sixth of a byte's step for the
        narrowest logistic, and a fiftieth of one from a scale of half a step.
        """
        logits, means, scales, by_red, blue_by_red, blue_by_green = self._split(parameters)
        red = _clipped_mean(means[0], scales[0])
        green = _clipped_mean(means[1] + by_red * red, scales[1])
        blue = _clipped_mean(means[2] + blue_by_red * red + blue_by_green * green, scales[2])
        shares = logits.softmax(1)
        pixels = torch.stack([(shares * colour).sum(1) for colour in (red, green, blue)], dim=1)
        return ((1 + pixels) / 2).clamp(0, 1)

    def _split(
        self, parameters: Tensor
    ) -> tuple[Tensor, tuple[Tensor, ...], tuple[Tensor, ...], Tensor, Tensor, Tensor]:
        """Logits; means and scales of each colour, scales in steps of a byte; coefficients. Each is [B, M, H, W]."""
        # Channels-first: what follows treats a component's pixels alike, and takes half the time on a CPU.
        logits, *colours = torch.unflatten(parameters.float().contiguous(), 1, (-1, self.components)).unbind(1)
        means, log_scales, coefficients = colours[::3], colours[1::3], colours[2::3]
        # From a tenth of a step, as in the authors' code, to scales on which all of the range looks the same.
        scales = tuple(HALF_RANGE * each.clamp(-7, 7).exp() for each in log_scales)
        by_red, blue_by_red, blue_by_green = (each.tanh() for each in coefficients)
        return logits, tuple(means), scales, by_red, blue_by_red, blue_by_green


def _centres(parts: Sequence[Any], values: Tensor) -> tuple[list[Tensor], Sequence[Tensor]]:
    """Means of red, green and blue [B, M, H, W] given the colours before in `values` [B, 3, 1, H, W]; and scales."""
    means, scales, by_red, blue_by_red, blue_by_green = parts
    red, green, _ = (values / HALF_RANGE - 1).unbind(1)
    return [means[0], means[1] + by_red * red, means[2] + blue_by_red * red + blue_by_green * green], scales


def _bins(values: Tensor) -> tuple[Tensor, Tensor]:
    """Where the bins of these values begin and end."""
    lower = torch.where(values == 0, -_FAR, values - 0.5)
    return lower, torch.where(values == VALUES - 1, _FAR, values + 0.5)


_FAR = 1e9
"""Where the bins of black and white end, which are open: beyond all that a logistic of float32 reaches from a byte."""


def _log_mass(lower: Tensor, upper: Tensor, centre: Tensor, scale: Tensor) -> Tensor:
    """Logarithm of a logistic's mass between `lower` and `upper`.

    sigmoid(b) - sigmoid(a) = sigmoid(b) * sigmoid(-a) * (1 - exp(a - b)), where nothing cancels.
    """
    below, above = logsigmoid((upper - centre) / scale), logsigmoid((centre - lower) / scale)
    return below + above + torch.log(-torch.expm1((lower - upper) / scale))


def _clipped_mean(mean: Tensor, scale: Tensor) -> Tensor:
    """Mean, in -1 to 1, of a logistic whose mass beyond black and white is theirs.

    The sum of P(value >= v) over v = 1 to 255 as an integral: scale * (softplus(centre / scale) -
    softplus((centre - 255) / scale)), where what is large in both is taken out.
    """
    centre = (1 + mean) * HALF_RANGE
    low, high = (softplus(-(centre - edge).abs() / scale) for edge in (0, VALUES - 1))
    return (centre.clamp(0, VALUES - 1) + scale * (low - high)) / HALF_RANGE - 1
