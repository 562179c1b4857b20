"""The fields of the learned prior (paper, section 4.2): an auto-encoder of images, its quantizer and its training."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from dvq_ray.settings import Count, Rule, Settings, slices_divide

CHANNELS = 3


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


class LearnedPriorSettings(Settings):
    """What every quantizer of the learned prior shares: the images, the network and the training.

    The defaults are the author's TensorFlow 1 code (branch tf1 of the official repository), from which the README
    there says that the paper's numbers come.
    """

    dataset: Annotated[str, Field(min_length=1)] = "photos"
    """Name of the images: a built-in one or a key of the sweep file's `data`."""
    image_size: Annotated[int, Field(ge=8, le=256)] = 32
    """Height and width in pixels. Images of another size are an error, except `photos`, which are cut to it."""

    dimension: Count
    """Features of the latent vector at each position. DVQ cuts them into slices; the author's D is that of a slice."""
    codebook_size: Annotated[int, Field(ge=2)] = 512
    """Codes in each codebook: K in the paper."""
    codebook_start: Literal["normal", "k-means"] = "normal"
    """Initial codes: truncated normal of deviation 0.1 as in the author's code, or clusters of the first batch."""
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """0: codes learn by gradient (equation 1). Above: they are moving averages of their latents with this decay."""
    restart_below: Annotated[float, Field(ge=0)] = 0.0
    """Codes with fewer latents to a batch than this, on average, are moved to latents of the batch; 0: never."""
    commitment_weight: Annotated[float, Field(ge=0)] = 1.0
    """Weight of the commitment loss: beta in equation 2. The author's code has 1, the VQ-VAE paper 0.25."""

    downsamplings: Annotated[int, Field(ge=1, le=5)] = 2
    """Convolutions of stride 2: the latent has (image_size / 2^downsamplings)^2 positions."""
    stem_channels: Count = 127
    """Channels after the first convolution, and before the last one of the decoder."""
    body_channels: Count = 255
    """Channels at the latent's resolution."""
    residual_channels: Count = 64
    """Channels inside of a residual block."""
    residual_blocks: Annotated[int, Field(ge=0)] = 2
    """Residual blocks of the encoder, and of the decoder."""
    logistic_mixtures: Annotated[int, Field(ge=0)] = 0
    """Components of a discretised logistic mixture for each pixel; 0: the paper's 256-way softmax of each sub-pixel."""

    learning_rate: Annotated[float, Field(gt=0)] = 2e-4
    """Adam's step size, constant."""
    batch_size: Count = 128
    """Images in a mini-batch."""
    steps: Count = 100_000
    """Mini-batches seen."""

    rules: ClassVar[tuple[Rule, ...]] = (Rule(fields=("downsamplings", "image_size"), breach=_halvings),)

    @property
    def codebooks(self) -> int:
        """Number of codebooks."""
        raise NotImplementedError

    @property
    def positions(self) -> int:
        """Positions of the latent: height times width."""
        return int(self.image_size // 2**self.downsamplings) ** 2

    @property
    def codes_per_image(self) -> int:
        """Code indices of one image, over all codebooks."""
        return self.codebooks * self.positions

    @property
    def sub_pixels(self) -> int:
        """Dimensions of an image, of which bits per dimension speak: height * width * 3."""
        return CHANNELS * self.image_size**2

    @property
    def quantized_dimension(self) -> int:
        """Features at each position that the decoder sees."""
        return self.dimension

    def bits_per_image(self) -> float:
        """Bits of an image's codes under a uniform prior."""
        return self.codes_per_image * math.log2(self.codebook_size)

    def code_bits(self) -> float:
        """Of one image."""
        return self.bits_per_image()

    def training_products(self) -> float:
        """Multiplications of one image's forward pass, about; the backward pass has twice as many."""
        area, channels, encoder = (self.image_size // 2) ** 2, self.stem_channels, 0.0
        encoder += 16 * CHANNELS * channels * area
        for _ in range(self.downsamplings - 1):
            area //= 4
            encoder += 16 * channels * self.body_channels * area
            channels = self.body_channels
        block = self.residual_channels * (9 * channels + channels)
        blocks = 2 * self.residual_blocks * block * area
        around = 9 * channels * (self.dimension + self.quantized_dimension) * area
        outputs = 10 * self.logistic_mixtures or 256 * CHANNELS
        head = 16 * self.stem_channels * outputs * (self.image_size // 2) ** 2
        return 2 * encoder + blocks + around + head + self.lookup_products()

    def lookup_products(self) -> float:
        """Multiplications of the distances to the codes, for one image."""
        return float(self.positions * self.quantized_dimension * self.codebook_size)

    def nominal_seconds(self) -> float:
        """Training steps on one core. A sub-pixel's likelihood costs as much as some thousands of products."""
        likelihood = self.sub_pixels * (2700 * self.logistic_mixtures or 30_000)
        return 5 + self.steps * self.batch_size * (3 * self.training_products() + likelihood) * 2.4e-11

    def columns(self) -> Mapping[str, Any]:
        """The fields, with 1 for a split that a quantizer does not have."""
        return {"slices": 1, "joint_codebooks": 1, "joint_positions": 1, **self.model_dump()}


class VqSettings(LearnedPriorSettings):
    """Codebooks on all features of a position: one is the usual VQ, several are the author's baseline."""

    quantizer: Literal["vq"]
    joint_codebooks: Count = 1
    """Codebooks on the same features, their codes concatenated for the decoder."""

    rules: ClassVar = (
        *LearnedPriorSettings.rules,
        Rule(
            fields=("codebook_start", "codebook_size", "batch_size", "image_size", "downsamplings"),
            breach=_batch_fills_codebook,
        ),
    )

    @property
    def codebooks(self) -> int:
        """Number of codebooks."""
        return self.joint_codebooks

    @property
    def quantized_dimension(self) -> int:
        """The codes of all codebooks, concatenated."""
        return self.dimension * self.joint_codebooks


class DvqSettings(LearnedPriorSettings):
    """The paper's quantizer: the features of a position cut into slices, a codebook for each (equation 3)."""

    quantizer: Literal["dvq"]
    slices: Count
    """Parts that the features are cut into: L in the paper."""

    rules: ClassVar = (
        *VqSettings.rules,
        Rule(fields=("slices", "dimension"), breach=slices_divide),
    )

    @property
    def codebooks(self) -> int:
        """Number of codebooks."""
        return self.slices


class SvqSettings(LearnedPriorSettings):
    """The paper's baseline: the positions cut into regions, a codebook for each.

    Regions are runs of positions in raster order: with 8 slices of 8x8 positions each is a row. The paper leaves open
    what a code stands for: the vector of one position (`joint_positions` = 1), or those of several neighbouring ones
    together (with 8 slices and 8 joint positions a code is a whole row).
    """

    quantizer: Literal["svq"]
    slices: Count
    """Regions that the positions are cut into."""
    joint_positions: Count = 1
    """Neighbouring positions of a region whose vectors one code stands for."""

    rules: ClassVar = (
        *LearnedPriorSettings.rules,
        Rule(fields=("slices", "joint_positions", "image_size", "downsamplings"), breach=_regions_divide),
        Rule(
            fields=(
                "codebook_start",
                "codebook_size",
                "batch_size",
                "image_size",
                "downsamplings",
                "slices",
                "joint_positions",
            ),
            breach=_batch_fills_codebook,
        ),
    )

    @property
    def codebooks(self) -> int:
        """Number of codebooks."""
        return self.slices

    @property
    def codes_per_image(self) -> int:
        """Code indices of one image, over all codebooks."""
        return self.positions // self.joint_positions


@dataclass(frozen=True, kw_only=True)
class LearnedPriorMetrics:
    """What a finished cell measured: the metric columns of its row.

    Bits per dimension are bits per sub-pixel (height * width * 3 of them). Without `train_` a number is of the full
    test set, after the last step.
    """

    reconstruction_bits_per_dim: float
    """Cross-entropy of the decoder given the codes: the paper's "bits/dim". No likelihood bound without the codes."""
    train_reconstruction_bits_per_dim: float
    code_bits_per_dim_uniform: float
    """Cost of the codes where all are equally likely: log2 of the codebook size each."""
    code_bits_per_dim_unigram: float
    """Cost of the codes under how often each one occurs in the training images, a distribution for each codebook."""
    train_code_bits_per_dim_unigram: float
    total_bits_per_dim_uniform: float
    """Reconstruction and codes: an upper bound of the negative log-likelihood."""
    total_bits_per_dim_unigram: float
    """The same under the unigram prior."""
    train_total_bits_per_dim_unigram: float
    mse: float
    """Mean squared error of the expected pixels, in units where black is 0 and white is 1."""
    train_mse: float
    psnr_db: float
    """Peak signal-to-noise ratio, the mean over images."""
    codebook_loss: float
    """Mean squared distance of latents to their codes, summed over codebooks (equation 4)."""
    codes_used: list[int]
    """[codebooks] codes that occur in the training images."""
    perplexity: list[float]
    """[codebooks] 2 to the entropy, in bits, of the codes of the training images; at most codebook_size."""
    joint_code_entropy_bits: float | None
    """Entropy of all codes of a position together, on training images; at most log2 of the positions looked at."""
    slice_dependence_bits: float | None
    """Mutual information of two codebooks' codes at the same position, the mean over pairs, less that of codes whose
    pairing was shuffled. Test images. None for a single codebook and for SVQ."""
    slice_dependence_bits_refit: float | None
    """The same for DVQ with codebooks that k-means fits to its slices: the like to hold the next one against."""
    slice_dependence_bits_shuffled: float | None
    """The same with the features dealt to the slices at random: lower than it, and training made slices independent."""
    images_per_second: float
    """Training images a second, evaluation and start-up left out."""
    peak_memory_bytes: int
    """Most memory held: the GPU's by torch, on a CPU that of the whole process."""
    parameters: int
    """All that is trained, codebooks included."""
    codebook_parameters: int
    precision: str
    """Of the convolutions: `float32`, or `bfloat16` on a GPU."""
    train_images: int
    test_images: int
    data_sha256: str
    """Digest of all pixels, train and test: equal names are equal images only where this is equal."""
    duration_seconds: float
    """Time that the cell took, over all attempts that went on from each other's checkpoints, without reading images."""


@dataclass(frozen=True, kw_only=True)
class LearnedPriorCurve:
    """What is logged some 25 times during a training."""

    step: int
    reconstruction_bits_per_dim: float
    """Full test set."""
    train_reconstruction_bits_per_dim: float | None
    """Mean over the mini-batches since the last logged step; None before the first."""
    mse: float
    """Full test set."""
    total_bits_per_dim_uniform: float
    """Full test set."""
    mean_perplexity: float
    """Of the test images' codes, the mean over codebooks."""
    training_seconds: float
    """Spent on training steps so far."""
