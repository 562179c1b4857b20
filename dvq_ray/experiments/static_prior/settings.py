"""The fields of the static prior (paper, section 4.1): quantizers of Gaussian blobs with a known number of factors."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from dvq_ray.declarations.field import Axis
from dvq_ray.declarations.metric import Metric
from dvq_ray.declarations.settings import Count, Settings
from dvq_ray.fitting.settings import GradientSettings, InitialCodes
from dvq_ray.quantizer.base import Quantizer
from dvq_ray.quantizer.codebook import CodebookQuantizer
from dvq_ray.streams import stream

if TYPE_CHECKING:
    from dvq_ray.experiments.static_prior.blobs import Blobs

TEST_SAMPLES = 4096
"""Test vectors of every cell. A constant of the experiment, not a field: changing it raises the revision."""


def _default_train_samples(given: dict[str, Any]) -> int:
    # At least four samples for each blob: with fewer, codebooks fit the draw and not the distribution.
    return max(16384, 4 * int(given["factors"]))


class BlobSettings(Settings):
    """Vectors that are drawn for each seed, and how long it takes to quantize them."""

    if TYPE_CHECKING:
        train_samples: int

    dimension: Annotated[Count, Axis(label="dimension", symbol="D", role="data", example=16)]
    """Features of a vector: D in the paper."""

    def draw(self, seed: int) -> Blobs:
        """The vectors of a repetition. They follow from the seed and the fields of the data alone."""
        raise NotImplementedError

    def data_key(self, seed: int) -> Hashable:
        """What `draw` depends on: the seed, and all fields of the class that defines it. Equal keys, equal vectors."""
        owner = next(each for each in type(self).__mro__ if issubclass(each, BlobSettings) and "draw" in vars(each))
        names = [name for name in owner.model_fields if name not in Settings.model_fields]
        return owner, seed, *((name, getattr(self, name)) for name in names)

    def _sizes(self, seed: int) -> dict[str, Any]:
        return {
            "dimension": self.dimension,
            "train_samples": self.train_samples,
            "test_samples": TEST_SAMPLES,
            "rng": stream(seed, "data"),
        }

    def code_bits(self) -> float:
        """Of one vector."""
        assert isinstance(self, Quantizer)
        return self.bits()

    def nominal_seconds(self) -> float:
        """Fitting the quantizer, and drawing the data."""
        assert isinstance(self, Quantizer)
        drawing = (self.train_samples + TEST_SAMPLES) * self.dimension * 1.5e-8 + 5e-3
        if not isinstance(self, GradientSettings):
            return self.fit_seconds(self.train_samples, self.dimension) + drawing
        # Where codes start, distances of every vector that is looked up, and Adam over the codes.
        vectors = self.steps * self.batch_size + 20 * TEST_SAMPLES + self.train_samples
        products = vectors * self.products(self.dimension)
        updates = self.steps * self.parameters(self.dimension)
        start = self.start_seconds(self.train_samples, self.dimension) if isinstance(self, InitialCodes) else 0.0
        return start + vectors * 4e-8 + products * 1.5e-11 + updates * 6e-10 + drawing


class StaticPriorSettings(BlobSettings):
    """Blobs anywhere in space, as the paper has them."""

    factors: Annotated[Count, Axis(label="number of factors", symbol="F", role="data", example=256)]
    """Gaussian blobs behind the data: its true number of latent factors."""
    train_samples: Annotated[
        int, Field(ge=1, default_factory=_default_train_samples), Axis(label="training vectors", role="data")
    ]
    """Vectors to train on; max(16384, 4 factors) where it is not given."""

    def draw(self, seed: int) -> Blobs:
        """Blobs around `factors` centres."""
        from dvq_ray.experiments.static_prior.blobs import draw_blobs

        return draw_blobs(factors=self.factors, **self._sizes(seed))


def fields_for(quantizer: type[Quantizer]) -> Sequence[type[Settings]]:
    """What a quantizer of blobs takes besides its own fields."""
    return (StaticPriorSettings, *training_fields(quantizer))


def training_fields(quantizer: type[Quantizer]) -> Sequence[type[Settings]]:
    """How it is trained, where it learns by gradient."""
    if not quantizer.learns_by_gradient():
        return ()
    return (InitialCodes, GradientSettings) if issubclass(quantizer, CodebookQuantizer) else (GradientSettings,)


@dataclass(frozen=True, kw_only=True)
class StaticPriorMetrics:
    """What a finished cell measured: the metric columns of its row."""

    test_mse: Annotated[float, Metric(label="test loss", unit="mean squared error per dimension", better="lower")]
    """Mean squared error per dimension on the test vectors: the paper's compression loss over D."""
    train_mse: Annotated[float, Metric(label="training loss", unit="mean squared error per dimension", better="lower")]
    """The same on the training vectors."""
    untrained_test_mse: Annotated[
        float | None, Metric(label="test loss before training", unit="mean squared error per dimension")
    ]
    """`test_mse` of what training began with; none for a quantizer that is fitted."""
    data_variance: Annotated[float, Metric(label="variance of the data", yardstick_for="test_mse")]
    """Mean squared error per dimension of predicting the training mean, on the test vectors."""
    loss_over_variance: Annotated[float, Metric(label="test loss / variance of the data", better="lower")]
    """`test_mse / data_variance`: 1 is no better than predicting the mean."""
    rate_curve_mse: Annotated[float, Metric(label="distortion of a Gaussian at this rate", yardstick_for="test_mse")]
    """data_variance * 2^(-2 bits / D): the distortion of a Gaussian of that variance at the same rate."""
    bits_per_vector: Annotated[float, Metric(label="rate", unit="bits per vector")]
    """Of the codes, all being equally likely: slices * log2(codebook_size) of VQ, DVQ and k-means."""
    codebook_parameters: Annotated[int, Metric(label="codebook parameters", is_size=True)]
    """Numbers that the codec holds: codebook_size * dimension of VQ, DVQ and k-means, whatever the slices."""
    codes_used: Annotated[list[int], Metric(label="codes used", is_per_codebook=True)]
    """[codebooks] codes that occur among the training vectors."""
    perplexity: Annotated[list[float], Metric(label="perplexity of the codes", better="higher", is_per_codebook=True)]
    """[codebooks] 2 to the entropy, in bits, of the codes of the training vectors; at most the codebook size."""
    last_relative_change: Annotated[float | None, Metric(label="last relative change of the test loss")]
    """Fall of the test loss over the last logged interval, over its last value: large where unconverged."""
    test_codes_used: Annotated[list[int], Metric(label="codes used, test vectors", is_per_codebook=True)]
    """[codebooks] codes that occur among the test vectors."""
    test_perplexity: Annotated[
        list[float], Metric(label="perplexity of the codes, test vectors", better="higher", is_per_codebook=True)
    ]
    """[codebooks] 2 to the entropy, in bits, of the codes of the test vectors; at most the codebook size."""
    entropy_bits_per_vector: Annotated[float, Metric(label="rate, unigram prior", unit="bits per vector", is_rate=True)]
    """What the test vectors' codes cost under how often each one occurs among the training vectors, half an occurrence
    added to each code."""
    unseen_codes: Annotated[list[float], Metric(label="unseen codes", is_per_codebook=True)]
    """[codebooks] codes that would occur in more test vectors, by Chao's estimate."""
    unseen_codes_low: Annotated[list[float], Metric(label="unseen codes, at least", is_per_codebook=True)]
    """[codebooks] the lower end of a 95% interval of it."""
    unseen_codes_high: Annotated[list[float], Metric(label="unseen codes, at most", is_per_codebook=True)]
    vectors_per_code: Annotated[float, Metric(label="training vectors per code")]
    """Training vectors over the size of the largest codebook; below 39, codes fit single ones."""
    codec_bytes: Annotated[int | None, Metric(label="size of the codec", unit="bytes", better="lower")]
    """Of its arrays, as they are exported; None where it cannot be."""


@dataclass(frozen=True, kw_only=True)
class StaticPriorCurve:
    """What is logged about twenty times during a fit, at logarithmically spaced steps."""

    step: Annotated[int, Metric(label="training step")]
    test_mse: Annotated[float, Metric(label="test loss", unit="mean squared error per dimension", better="lower")]
