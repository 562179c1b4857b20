"""The fields of the static prior (paper, section 4.1): quantizers of Gaussian blobs with a known number of factors.

A class for each quantizer and each kind of blobs: the quantizer's fields, and those of the data that it is fitted to.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from dvq_ray.settings import Count, Rule, Settings, slices_divide

TEST_SAMPLES = 4096
"""Test vectors of every cell. A constant of the experiment, not a field: changing it raises the revision."""


def _default_train_samples(given: dict[str, Any]) -> int:
    # At least four samples for each blob: with fewer, codebooks fit the draw and not the distribution.
    return max(16384, 4 * int(given["factors"]))


def _enough_samples(codebook_size: int, train_samples: int) -> str | None:
    if codebook_size <= train_samples:
        return None
    return f"is larger than train_samples = {train_samples}; allowed: at most {train_samples}"


class CodebookSettings(Settings):
    """What every quantizer of blobs shares."""

    if TYPE_CHECKING:
        train_samples: int  # a field of the data

    dimension: Count
    """Features of a vector: D in the paper."""
    codebook_size: Annotated[int, Field(ge=2)]
    """Codes in each codebook: K in the paper."""

    def bits_per_vector(self) -> float:
        """Bits of the code of one vector: slices times log2 of the codebook size."""
        return self.slice_count() * math.log2(self.codebook_size)

    def code_bits(self) -> float:
        """Of one vector."""
        return self.bits_per_vector()

    def slice_count(self) -> int:
        """Number of slices, each with a codebook of its own; 1 for a plain VQ."""
        return int(getattr(self, "slices", 1))

    def _drawing_seconds(self) -> float:
        return (self.train_samples + TEST_SAMPLES) * self.dimension * 1.5e-8 + 5e-3

    def columns(self) -> Mapping[str, Any]:
        """The fields, with `slices` = 1 for a quantizer that has no such field."""
        return {**self.model_dump(), "slices": self.slice_count()}


class StaticPriorSettings(CodebookSettings):
    """Blobs anywhere in space, as the paper has them."""

    factors: Count
    """Gaussian blobs behind the data: its true number of latent factors."""
    train_samples: Annotated[int, Field(ge=1, default_factory=_default_train_samples)]
    """Vectors to train on; max(16384, 4 factors) where it is not given."""


class FactorialSettings(CodebookSettings):
    """Blobs on a product of sets: each group of features has centres of its own and picks one of them.

    With m centres in each of L groups there are m^L blobs, which L codebooks of m codes could tell apart.
    """

    groups: Count
    """Equal parts of the features, each with centres of its own: L in the paper's K^L."""
    centres: Count
    """Of each group: K in the paper's K^L."""
    dependence: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Chance that a group picks the centre with the number that the sample's groups share, in place of one of its own.
    How often each centre is picked stays the same; 0 is independent groups, 1 as many blobs as centres."""
    train_samples: Count = 16384
    """Vectors to train on."""

    rules: ClassVar[tuple[Rule, ...]] = (Rule(fields=("groups", "dimension"), breach=slices_divide),)


class GradientSettings(CodebookSettings):
    """A codebook trained as in the paper: uniform start, Adam on equation 1, mini-batches."""

    init_bound: Annotated[float, Field(gt=0)] = 1.0
    """Initial codes are uniform in [-init_bound, init_bound). The blobs' centres lie within ±10."""
    learning_rate: Annotated[float, Field(gt=0)] = 0.3
    """Adam's first step size."""
    schedule: Literal["constant", "cosine"] = "cosine"
    """How the step size goes on from there; `cosine` falls to zero over the steps."""
    steps: Count = 4000
    """Mini-batches seen."""
    batch_size: Count = 256
    """Vectors in a mini-batch, drawn with replacement."""

    def nominal_seconds(self) -> float:
        """Distances of every vector that is looked up, Adam over the codes, and drawing the data."""
        vectors = self.steps * self.batch_size + 20 * TEST_SAMPLES + self.train_samples
        products = vectors * self.codebook_size * self.dimension
        updates = self.steps * self.codebook_size * self.dimension
        return vectors * 4e-8 + products * 1.5e-11 + updates * 6e-10 + self._drawing_seconds()


class VqFields(GradientSettings):
    """One codebook on all features."""

    quantizer: Literal["vq"]


class DvqFields(GradientSettings):
    """The paper's quantizer: the features cut into slices, a codebook for each (equation 3)."""

    quantizer: Literal["dvq"]
    slices: Count
    """Parts that the features are cut into: L in the paper."""

    rules: ClassVar[tuple[Rule, ...]] = (Rule(fields=("slices", "dimension"), breach=slices_divide),)


class KMeansFields(CodebookSettings):
    """Lloyd's algorithm: what the same codebooks could reach, had training found them."""

    quantizer: Literal["kmeans"]
    slices: Count = 1
    """Parts that the features are cut into, each clustered on its own."""
    start: Literal["random", "k-means++"] = "random"
    """Random training vectors, or k-means++. In many dimensions with few vectors to a blob the latter spends its codes
    on single vectors and does worse on the test vectors, at many times the cost."""
    restarts: Count = 1
    """Starts, of which the best on the training data is kept."""
    max_iterations: Count = 100
    """Lloyd iterations of a start, at most."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(fields=("slices", "dimension"), breach=slices_divide),
        Rule(fields=("codebook_size", "train_samples"), breach=_enough_samples),
    )
    logs_curve: ClassVar[bool] = False

    def nominal_seconds(self) -> float:
        """Lloyd's passes over the training vectors, and drawing the data."""
        # Lloyd's algorithm settles sooner in many dimensions.
        passes = self.restarts * min(self.max_iterations, 10 + 200 / self.dimension)
        passes += 10 if self.start == "k-means++" else 0
        products = self.train_samples * self.codebook_size * (self.dimension + 16)
        return passes * products * 2.5e-11 + 0.03 + self._drawing_seconds()


class VqSettings(VqFields, StaticPriorSettings):
    """VQ of the paper's blobs."""


class DvqSettings(DvqFields, StaticPriorSettings):
    """DVQ of the paper's blobs."""


class KMeansSettings(KMeansFields, StaticPriorSettings):
    """k-means of the paper's blobs."""


class FactorialVqSettings(VqFields, FactorialSettings):
    """VQ of factorial blobs."""


class FactorialDvqSettings(DvqFields, FactorialSettings):
    """DVQ of factorial blobs."""

    rules: ClassVar[tuple[Rule, ...]] = (*DvqFields.rules, *FactorialSettings.rules)


class FactorialKMeansSettings(KMeansFields, FactorialSettings):
    """k-means of factorial blobs."""

    rules: ClassVar[tuple[Rule, ...]] = (*KMeansFields.rules, *FactorialSettings.rules)


@dataclass(frozen=True, kw_only=True)
class StaticPriorMetrics:
    """What a finished cell measured: the metric columns of its row."""

    test_mse: float
    """Mean squared error per dimension on the test vectors: the paper's compression loss over D."""
    train_mse: float
    """The same on the training vectors."""
    untrained_test_mse: float | None
    """`test_mse` of the initial codebooks; none for k-means, which has no such start."""
    data_variance: float
    """Mean squared error per dimension of predicting the training mean, on the test vectors."""
    loss_over_variance: float
    """`test_mse / data_variance`: 1 is no better than predicting the mean."""
    rate_curve_mse: float
    """data_variance * 2^(-2 bits / D): the distortion of a Gaussian of that variance at the same rate."""
    bits_per_vector: float
    """slices * log2(codebook_size)."""
    codebook_parameters: int
    """codebook_size * dimension, whatever the slices."""
    codes_used: list[int]
    """[slices] codes that are nearest to at least one training vector."""
    perplexity: list[float]
    """[slices] 2 to the entropy, in bits, of the codes of the training vectors; at most codebook_size."""
    last_relative_change: float | None
    """Fall of the test loss over the last logged interval, over its last value: large where unconverged."""
    duration_seconds: float
    """Wall time of the cell, data included."""


@dataclass(frozen=True, kw_only=True)
class StaticPriorCurve:
    """What is logged about twenty times during a fit, at logarithmically spaced steps."""

    step: int
    test_mse: float
