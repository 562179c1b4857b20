"""The fields of the learned prior (paper, section 4.2): an auto-encoder of images, its quantizer and its training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from dvq_ray.declarations.field import Axis
from dvq_ray.declarations.metric import Metric
from dvq_ray.declarations.settings import Count, Rule, Settings
from dvq_ray.quantizer.base import CodebookSize, Quantizer
from dvq_ray.quantizer.codebook import CodebookQuantizer
from dvq_ray.quantizer.slices import slices_divide

if TYPE_CHECKING:
    import torch

    from dvq_ray.quantizer.codebooks import Learning
    from dvq_ray.quantizer.module import QuantizerModule

CHANNELS = 3
_DATA_SETS = {"photos": "Photographs", "cifar10": "CIFAR-10", "imagenet32": "ImageNet", "imagenet64": "ImageNet"}


def _halvings(downsamplings: int, image_size: int) -> str | None:
    if image_size % 2**downsamplings == 0:
        return None
    most = (image_size & -image_size).bit_length() - 1
    return f"halves image_size = {image_size} too often; allowed: 1 to {most}"


def _regions_divide(slices: int, joint_positions: int, image_size: int, downsamplings: int) -> str | None:
    positions = (image_size // 2**downsamplings) ** 2
    if positions and positions % (slices * joint_positions) == 0:
        return None
    return (
        f"times joint_positions = {joint_positions} does not divide the {positions} positions of the latent; allowed: "
        f"{', '.join(str(n) for n in range(1, positions + 1) if positions % (n * joint_positions) == 0) or 'none'}"
    )


def _several_parts(measured_slices: int, dimension: int) -> str | None:
    if measured_slices == 1:
        return "leaves nothing to compare; allowed: 0, or several that divide the dimension"
    return slices_divide(measured_slices, dimension) if measured_slices else None


def _batch_fills_codebook(
    codebook_start: str,
    codebook_size: int,
    batch_size: int,
    image_size: int,
    downsamplings: int,
    slices: int = 1,
    joint_positions: int = 1,
) -> str | None:
    vectors = batch_size * (image_size // 2**downsamplings) ** 2 // (slices * joint_positions)
    if codebook_start != "k-means" or vectors >= codebook_size:
        return None
    return f"clusters the {vectors} vectors of one batch, fewer than codebook_size = {codebook_size}; allowed: normal"


Precision = Literal["float32", "bfloat16"]


class LearnedPriorSettings(Settings):
    """What every quantizer of the learned prior shares: the images, the network and the training.

    The defaults are the author's TensorFlow 1 code (branch tf1 of the official repository), from which the README
    there says that the paper's numbers come.
    """

    dataset: Annotated[str, Field(min_length=1), Axis(label="images", role="data", names=_DATA_SETS)] = "photos"
    """Name of the images: a built-in one or a key of the sweep file's `data`."""
    image_size: Annotated[int, Field(ge=8, le=256), Axis(label="image size", unit="pixels", role="data")] = 32
    """Height and width in pixels. Images of another size are an error, except `photos`, which are cut to it."""

    dimension: Annotated[Count, Axis(label="dimension", symbol="D", role="model", example=64)]
    """Features of the latent vector at each position. DVQ cuts them into slices; the author's D is that of a slice."""
    commitment_weight: Annotated[float, Field(ge=0), Axis(label="commitment weight", symbol="β", role="training")] = 1.0
    """Weight of the commitment loss: beta in equation 2. The author's code has 1, the VQ-VAE paper 0.25."""

    downsamplings: Annotated[int, Field(ge=1, le=5), Axis(label="downsamplings", role="network")] = 2
    """Convolutions of stride 2: the latent has (image_size / 2^downsamplings)^2 positions."""
    stem_channels: Annotated[Count, Axis(label="stem channels", role="network")] = 127
    """Channels after the first convolution, and before the last one of the decoder."""
    body_channels: Annotated[Count, Axis(label="body channels", role="network")] = 255
    """Channels at the latent's resolution."""
    residual_channels: Annotated[Count, Axis(label="residual channels", role="network")] = 64
    """Channels inside of a residual block."""
    residual_blocks: Annotated[int, Field(ge=0), Axis(label="residual blocks", role="network")] = 2
    """Residual blocks of the encoder, and of the decoder."""
    logistic_mixtures: Annotated[int, Field(ge=0), Axis(label="logistic mixtures", role="network")] = 0
    """Components of a discretised logistic mixture for each pixel; 0: the paper's 256-way softmax of each sub-pixel."""

    learning_rate: Annotated[float, Field(gt=0), Axis(label="learning rate", role="training")] = 2e-4
    """Step size of Adam, constant."""
    batch_size: Annotated[Count, Axis(label="batch size", unit="images", role="training")] = 128
    """Images in a mini-batch."""
    steps: Annotated[Count, Axis(label="training steps", role="training")] = 100_000
    """Mini-batches seen."""
    cpu_precision: Annotated[Precision, Axis(label="precision on a CPU", role="training")] = "float32"
    """Of the convolutions, where a CPU computes them; a GPU computes them in bfloat16. On a CPU bfloat16 needs AVX-512
    BF16, AMX or Arm's BF16, and gives other numbers than float32."""

    added: ClassVar[Mapping[str, Any]] = {"cpu_precision": "float32"}
    rules: ClassVar[tuple[Rule, ...]] = (Rule(fields=("downsamplings", "image_size"), breach=_halvings),)

    def missing_here(self, device: str) -> str | None:
        """Instructions for bfloat16, which not every processor has."""
        if device != "cpu" or self.cpu_precision == "float32":
            return None
        from dvq_ray.experiments.learned_prior.device import multiplies_bfloat16  # torch takes a second to import

        if multiplies_bfloat16():
            return None
        return f"cpu_precision is {self.cpu_precision}, which this processor has no instructions for; allowed: float32"

    @property
    def positions(self) -> int:
        """Positions of the latent: height times width."""
        return int(self.image_size // 2**self.downsamplings) ** 2

    @property
    def sub_pixels(self) -> int:
        """Dimensions of an image, of which bits per dimension speak: height * width * 3."""
        return CHANNELS * self.image_size**2

    def bits_per_image(self) -> float:
        """Bits of an image's codes under a uniform prior."""
        assert isinstance(self, Quantizer)
        return self.bits(self.positions)

    def code_bits(self) -> float:
        """Of one image."""
        return self.bits_per_image()

    def training_products(self) -> float:
        """Multiplications of one image's forward pass, about; the backward pass has twice as many."""
        assert isinstance(self, Quantizer)
        area, channels, encoder = (self.image_size // 2) ** 2, self.stem_channels, 0.0
        encoder += 16 * CHANNELS * channels * area
        for _ in range(self.downsamplings - 1):
            area //= 4
            encoder += 16 * channels * self.body_channels * area
            channels = self.body_channels
        block = self.residual_channels * (9 * channels + channels)
        blocks = 2 * self.residual_blocks * block * area
        around = 9 * channels * (self.dimension + self.out_features(self.dimension)) * area
        outputs = 10 * self.logistic_mixtures or 256 * CHANNELS
        head = 16 * self.stem_channels * outputs * (self.image_size // 2) ** 2
        return 2 * encoder + blocks + around + head + self.positions * self.products(self.dimension)

    def nominal_seconds(self) -> float:
        """Training steps on one core. A sub-pixel's likelihood costs as much as some thousands of products."""
        likelihood = self.sub_pixels * (2700 * self.logistic_mixtures or 30_000)
        return 5 + self.steps * self.batch_size * (3 * self.training_products() + likelihood) * 2.4e-11


class LatentCodebookSize(Settings):
    """The usual size of codebooks, of quantizers that have a codebook size."""

    codebook_size: CodebookSize = 512
    """Codes in each codebook: K in the paper."""


class CodebookLearning(Settings):
    """How codebooks start, and learn what gradients do not teach."""

    codebook_start: Annotated[Literal["normal", "k-means"], Axis(label="start of the codes", role="training")] = (
        "normal"
    )
    """Initial codes: truncated normal of deviation 0.1 as in the author's code, or clusters of the first batch."""
    ema_decay: Annotated[float, Field(ge=0, lt=1), Axis(label="decay of moving averages", role="training")] = 0.0
    """0: codes learn by gradient (equation 1). Above: they are moving averages of their latents with this decay."""
    restart_below: Annotated[float, Field(ge=0), Axis(label="codes restart below", role="training")] = 0.0
    """Codes with fewer latents to a batch than this, on average, are moved to latents of the batch; 0: never."""

    code_gradient: Annotated[
        Literal["straight-through", "rotation"], Axis(label="gradient through the codes", role="training")
    ] = "straight-through"
    """How the decoder's gradient reaches the encoder: as it is, or turned and stretched as each latent is on its way to
    its code (`dvq_ray/quantizer/rotation.py`)."""

    added: ClassVar[Mapping[str, Any]] = {"code_gradient": "straight-through"}
    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            fields=("codebook_start", "codebook_size", "batch_size", "image_size", "downsamplings"),
            breach=_batch_fills_codebook,
        ),
    )

    def build(self, features: int, generator: torch.Generator) -> QuantizerModule:
        """The quantizer's module, whose codes learn as these fields say."""
        assert isinstance(self, CodebookQuantizer)
        return super().build(features, generator, learning=self.learning())  # type: ignore[no-any-return,misc,unused-ignore]

    def learning(self) -> Learning:
        """These fields, for the module."""
        from dvq_ray.quantizer.codebooks import KMeansStart, Learning

        return Learning(
            ema_decay=self.ema_decay or None,
            start=KMeansStart() if self.codebook_start == "k-means" else None,
            restart_below=self.restart_below or None,
            rotates_gradients=self.code_gradient == "rotation",
        )


class RegionLearning(CodebookLearning):
    """The same for codebooks that see a part of the positions each."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(fields=("slices", "joint_positions", "image_size", "downsamplings"), breach=_regions_divide),
        Rule(fields=(*CodebookLearning.rules[0].fields, "slices", "joint_positions"), breach=_batch_fills_codebook),
    )


class MeasuredSlices(Settings):
    """How to measure a quantizer without slices of the features beside one with slices."""

    measured_slices: Annotated[int, Field(ge=0), Axis(label="measured slices", role="measurement")] = 0
    """Consecutive parts that the features are cut into to measure how much these depend on each other, as is done with
    the slices of DVQ; 0: not at all. Training knows nothing of it."""

    added: ClassVar[Mapping[str, Any]] = {"measured_slices": 0}
    rules: ClassVar[tuple[Rule, ...]] = (Rule(fields=("measured_slices", "dimension"), breach=_several_parts),)


def fields_for(quantizer: type[Quantizer]) -> Sequence[type[Settings]] | None:
    """What a quantizer of latents takes besides its own fields; it must learn by gradient, as the network does."""
    if not quantizer.learns_by_gradient():
        return None
    fields: list[type[Settings]] = [LearnedPriorSettings]
    if "codebook_size" in quantizer.model_fields:
        fields.append(LatentCodebookSize)
    if issubclass(quantizer, CodebookQuantizer):
        fields.append(CodebookLearning if quantizer.positionwise else RegionLearning)
    return fields if quantizer.cuts_features() else [*fields, MeasuredSlices]


def slices_to_measure(settings: Settings) -> int:
    """Consecutive parts of the features whose dependence is measured; below 2 there is nothing to measure."""
    assert isinstance(settings, Quantizer)
    return settings.measured_slices if isinstance(settings, MeasuredSlices) else settings.feature_slices()


def largest_codebook(settings: Settings) -> int:
    """Codes of the largest of a quantizer's codebooks."""
    assert isinstance(settings, Quantizer)
    return max(settings.codebook_sizes())


def _bits_per_dim(label: str) -> Metric:
    return Metric(label=label, unit="bits/dim", better="lower")


def _squared_error(label: str) -> Metric:
    return Metric(label=label, unit="white = 1", better="lower")


def _bits(label: str) -> Metric:
    return Metric(label=label, unit="bits")


@dataclass(frozen=True, kw_only=True)
class LearnedPriorMetrics:
    """What a finished cell measured: the metric columns of its row.

    Bits per dimension are bits per sub-pixel (height * width * 3 of them). Without `train_` a number is of the full
    test set, after the last step.
    """

    reconstruction_bits_per_dim: Annotated[float, _bits_per_dim("reconstruction")]
    """Cross-entropy of the decoder given the codes: the paper's "bits/dim". No likelihood bound without the codes."""
    train_reconstruction_bits_per_dim: Annotated[float, _bits_per_dim("reconstruction of the training images")]
    code_bits_per_dim_uniform: Annotated[float, _bits_per_dim("codes, uniform prior")]
    """Cost of the codes where all are equally likely: log2 of the codebook size each."""
    code_bits_per_dim_unigram: Annotated[float, _bits_per_dim("codes, unigram prior")]
    """Cost of the codes under how often each one occurs in the training images, a distribution for each codebook."""
    train_code_bits_per_dim_unigram: Annotated[float, _bits_per_dim("codes of the training images, unigram prior")]
    total_bits_per_dim_uniform: Annotated[float, _bits_per_dim("total, uniform prior")]
    """Reconstruction and codes: an upper bound of the negative log-likelihood."""
    total_bits_per_dim_unigram: Annotated[float, _bits_per_dim("total, unigram prior")]
    """The same under the unigram prior."""
    train_total_bits_per_dim_unigram: Annotated[float, _bits_per_dim("total of the training images, unigram prior")]
    mse: Annotated[float, _squared_error("mean squared error")]
    """Mean squared error of the expected pixels, in units where black is 0 and white is 1."""
    train_mse: Annotated[float, _squared_error("mean squared error of the training images")]
    psnr_db: Annotated[float, Metric(label="peak signal-to-noise ratio", unit="dB", better="higher")]
    """Peak signal-to-noise ratio, the mean over images."""
    codebook_loss: Annotated[float, Metric(label="codebook loss", better="lower")]
    """Mean squared distance of latents to their codes, summed over codebooks (equation 4)."""
    codes_used: Annotated[list[int], Metric(label="codes used", is_per_codebook=True)]
    """[codebooks] codes that occur in the training images."""
    perplexity: Annotated[list[float], Metric(label="perplexity of the codes", better="higher", is_per_codebook=True)]
    """[codebooks] 2 to the entropy, in bits, of the codes of the training images; at most codebook_size."""
    joint_code_entropy_bits: Annotated[float | None, _bits("entropy of all codes of a position")]
    """Entropy of all codes of a position together, on training images; at most log2 of the positions looked at: all, or
    2^24 of evenly spaced images where there are more."""
    code_cross_entropy_bits: Annotated[float | None, _bits("cost of all codes of a position, chain prior")]
    """Cost of all codes of a position together, each codebook's given the one before it, as often as that occurs in the
    training images: what the dependence of neighbouring codebooks saves is taken off, and no number of positions bounds
    it. None for SVQ, whose codebooks share no positions."""
    slice_dependence_bits: Annotated[float | None, _bits("dependence of slices")]
    """Mutual information of two codebooks' codes at the same position, the mean over pairs, less that of codes whose
    pairing was shuffled. Test images, as many positions as above. None for a single codebook and for SVQ."""
    slice_dependence_bits_refit: Annotated[float | None, _bits("dependence of slices, clustered anew")]
    """The same of codebooks that k-means fits to slices of the latents: those of DVQ, or of other quantizers the
    `measured_slices`. This is to be held against the next ones. None without several slices."""
    slice_dependence_bits_shuffled: Annotated[float | None, _bits("dependence of slices of shuffled features")]
    """The same with the features dealt to the slices at random, once: it varies as much as it may differ."""
    slice_dependence_bits_random_mean: Annotated[float | None, _bits("dependence of slices of random features")]
    """Mean over 20 random deals of the features. `_refit` below it: training made slices more independent than chance,
    as far as it lies further below than in unsliced models."""
    slice_dependence_bits_random_deviation: Annotated[
        float | None, _bits("standard deviation of the dependence of slices of random features")
    ]
    """Standard deviation over the same: how far one deal, and `_refit` with it, may lie from the mean by chance."""
    images_per_second: Annotated[float, Metric(label="training speed", unit="images/s", is_result=False)]
    """Training images a second, evaluation and start-up left out."""
    peak_memory_bytes: Annotated[int, Metric(label="peak memory", unit="bytes", is_result=False)]
    """Most memory held: the GPU's by torch, on a CPU that of the whole process."""
    parameters: Annotated[int, Metric(label="parameters", is_size=True)]
    """All that is trained, codebooks included."""
    codebook_parameters: Annotated[int, Metric(label="codebook parameters")]
    precision: Annotated[str, Metric(label="precision", is_condition=True)]
    """Of the convolutions: `float32`, or `bfloat16` on a GPU."""
    train_images: Annotated[int, Metric(label="training images")]
    test_images: Annotated[int, Metric(label="test images")]
    data_sha256: Annotated[str, Metric(label="digest of the images", is_condition=True)]
    """Digest of all pixels, train and test: equal names are equal images only where this is equal."""


@dataclass(frozen=True, kw_only=True)
class LearnedPriorCurve:
    """What is logged some 25 times during a training."""

    step: Annotated[int, Metric(label="training step")]
    reconstruction_bits_per_dim: Annotated[float, _bits_per_dim("reconstruction")]
    """Full test set."""
    train_reconstruction_bits_per_dim: Annotated[float | None, _bits_per_dim("reconstruction of the training images")]
    """Mean over the mini-batches since the last logged step; None before the first."""
    mse: Annotated[float, _squared_error("mean squared error")]
    """Full test set."""
    total_bits_per_dim_uniform: Annotated[float, _bits_per_dim("total, uniform prior")]
    """Full test set."""
    mean_perplexity: Annotated[float, Metric(label="perplexity of the codes", better="higher")]
    """Of the test images' codes, the mean over codebooks."""
    training_seconds: Annotated[float, Metric(label="training time", unit="s")]
    """Spent on training steps so far."""
