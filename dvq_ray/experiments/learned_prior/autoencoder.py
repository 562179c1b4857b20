"""The auto-encoder of the learned prior: the network of the author's TensorFlow 1 code (paper, section 4.2, figure 5).

Letters in shapes: B images, H height and W width of an image, h and w those of the latent.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, conv_transpose2d

from dvq_ray.experiments.learned_prior.likelihood import Categorical, Likelihood, LogisticMixture
from dvq_ray.experiments.learned_prior.settings import CHANNELS, LearnedPriorSettings
from dvq_ray.quantizer.alignment import aligned_width, widened
from dvq_ray.quantizer.base import Quantizer
from dvq_ray.quantizer.module import Quantized, QuantizerModule


@dataclass(frozen=True, kw_only=True)
class Reconstruction:
    """What the network makes of a batch of images."""

    parameters: Tensor
    """[B, channels of the likelihood, H, W]: the distribution of the pixels, in the precision of the convolutions."""

    latents: Tensor
    """[B, dimension, h, w], before they were quantized."""
    quantized: Quantized
    """Codes of the latents, and their losses."""


class Convolution(nn.Conv2d):
    """A convolution that can compute with more channels than it has, the others being zero."""

    aligned = False
    """Whether it takes and gives as many channels as `aligned_width` says."""

    def forward(self, features: Tensor) -> Tensor:
        """[B, inputs, h, w] to [B, outputs, h', w']."""
        if not self.aligned:
            return super().forward(features)
        assert self.bias is not None
        inputs, outputs = aligned_width(self.in_channels), aligned_width(self.out_channels)
        weight = widened(widened(self.weight, 1, inputs), 0, outputs)
        bias = widened(self.bias, 0, outputs)
        return conv2d(widened(features, 1, inputs), weight, bias, self.stride, self.padding)


class ResidualBlock(nn.Module):
    """Adds a 3x3 and a 1x1 convolution, each followed by a ReLU, to its input."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.spatial = Convolution(channels, hidden, 3, padding=1)
        self.pointwise = Convolution(hidden, channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        """[B, channels, h, w] to the same."""
        change: Tensor = self.pointwise(self.spatial(features).relu_()).relu_()
        return features + change


class Upsampling(nn.ConvTranspose2d):
    """The 4x4 transposed convolution that doubles height and width.

    Its bias is added apart, because oneDNN takes longer over the gradient of a channels-last bias than over that of
    input and kernel together.
    """

    aligned = False
    """As of `Convolution`."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 4, stride=2, padding=1)

    def forward(self, features: Tensor, output_size: list[int] | None = None) -> Tensor:
        """[B, inputs, h, w] to [B, outputs, 2 * h, 2 * w]."""
        assert self.bias is not None
        weight, bias = self.weight, self.bias
        if self.aligned:
            inputs, outputs = aligned_width(self.in_channels), aligned_width(self.out_channels)
            features = widened(features, 1, inputs)
            weight, bias = widened(widened(weight, 0, inputs), 1, outputs), widened(bias, 0, outputs)
        raised = conv_transpose2d(features, weight, stride=2, padding=1)
        return raised.add_(bias.view(-1, 1, 1))


class Autoencoder(nn.Module):
    """Encoder, quantizer and decoder.

    The encoder halves the image `downsamplings` times by 4x4 convolutions with stride 2, `stem_channels` after the
    first and `body_channels` after the others, then has residual blocks and a linear 3x3 convolution to `dimension`
    features. The decoder mirrors it. Padding by 1 is what TensorFlow calls "same" at these sizes. The ReLU that the
    author's code has at the end of its encoder is left out: sums of ReLUs are not negative.
    """

    def __init__(
        self,
        *,
        dimension: int,
        downsamplings: int,
        stem_channels: int,
        body_channels: int,
        residual_channels: int,
        residual_blocks: int,
        quantizer: QuantizerModule,
        likelihood: Likelihood,
    ) -> None:
        super().__init__()
        widths = [stem_channels, *[body_channels] * (downsamplings - 1)]
        body = widths[-1]
        encoder: list[nn.Module] = []
        for inputs, outputs in zip([CHANNELS, *widths], widths, strict=False):
            encoder += [Convolution(inputs, outputs, 4, stride=2, padding=1), nn.ReLU(inplace=True)]
        encoder += [ResidualBlock(body, residual_channels) for _ in range(residual_blocks)]
        encoder += [Convolution(body, dimension, 3, padding=1)]

        decoder: list[nn.Module] = [Convolution(quantizer.out_features, body, 3, padding=1)]
        decoder += [ResidualBlock(body, residual_channels) for _ in range(residual_blocks)]
        for inputs in [body, *[stem_channels] * (downsamplings - 2)][: downsamplings - 1]:
            decoder += [Upsampling(inputs, stem_channels), nn.ReLU(inplace=True)]
        decoder += [Upsampling(stem_channels, likelihood.channels)]

        self.dimension = dimension
        self.encoder = nn.Sequential(*encoder)
        self.quantizer = quantizer
        self.decoder = nn.Sequential(*decoder)
        self.likelihood = likelihood

    def align_widths(self) -> None:
        """Has all convolutions compute with aligned numbers of channels. Parameters and results stay what they are."""
        for layer in self.modules():
            if isinstance(layer, Convolution | Upsampling):
                layer.aligned = True

    def encode_latents(self, images: Tensor) -> Tensor:
        """Images, uint8 [B, 3, H, W], to latents [B, dimension, h, w], not yet quantized."""
        assert images.dtype == torch.uint8
        latents: Tensor = self.encoder(images.float() / 255 - 0.5)
        return latents if latents.shape[1] == self.dimension else latents[:, : self.dimension]

    def decode(self, latents: Tensor) -> Tensor:
        """Quantized latents [B, out_features of the quantizer, h, w] to parameters [B, channels, H, W]."""
        parameters: Tensor = self.decoder(latents)
        channels = self.likelihood.channels
        return parameters if parameters.shape[1] == channels else parameters[:, :channels]

    def forward(self, images: Tensor) -> Reconstruction:
        """Encodes, quantizes and decodes `images`, uint8 [B, 3, H, W]."""
        latents = self.encode_latents(images)
        quantized = self.quantizer(latents)
        return Reconstruction(parameters=self.decode(quantized.latents), latents=latents, quantized=quantized)


def build_autoencoder(settings: LearnedPriorSettings, generator: torch.Generator) -> Autoencoder:
    """The network of `settings`, on the CPU; kernels and codes are drawn from `generator`, a CPU one.

    As Keras does by default, kernels are uniform after Glorot and Bengio (2010), biases 0.
    """
    assert isinstance(settings, Quantizer)
    # Codes have a generator of their own, so that all quantizers start from the same encoder, but for its last layer.
    of_codes = torch.Generator().manual_seed(int(torch.randint(2**62, (), generator=generator)))
    # torch draws initial kernels of its own: from its global state, which is to stay as it was.
    with torch.random.fork_rng(devices=[]):
        model = Autoencoder(
            dimension=settings.dimension,
            downsamplings=settings.downsamplings,
            stem_channels=settings.stem_channels,
            body_channels=settings.body_channels,
            residual_channels=settings.residual_channels,
            residual_blocks=settings.residual_blocks,
            quantizer=settings.build(settings.dimension, of_codes),
            likelihood=LogisticMixture(settings.logistic_mixtures) if settings.logistic_mixtures else Categorical(),
        )
    for layer in (*model.encoder.modules(), *model.decoder.modules()):
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.xavier_uniform_(layer.weight, generator=generator)
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
    return model
