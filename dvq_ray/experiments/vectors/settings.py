"""The fields of the experiment `vectors`: quantizers of the rows of a file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from dvq_ray.declarations.field import Axis
from dvq_ray.declarations.metric import Metric
from dvq_ray.declarations.settings import Settings
from dvq_ray.experiments.static_prior.settings import training_fields
from dvq_ray.experiments.vectors.preparation import Scale
from dvq_ray.fitting.settings import GradientSettings, InitialCodes
from dvq_ray.quantizer.base import Quantizer

_GUESSED_ROWS, _GUESSED_DIMENSION = 20_000, 128
"""For the expected time, before any file is read."""


class VectorSettings(Settings):
    """Which vectors, how many, and what is done to them before a quantizer sees them.

    The dimension follows from the data. A seed decides where a fit starts and its mini-batches; which rows are for
    training and which for testing is the same for all seeds, and so is a subsample. So an interval over seeds says how
    much a fit depends on chance, and not how much a result depends on the rows.
    """

    dataset: Annotated[str, Field(min_length=1), Axis(label="vectors", role="data")] = "photo_patches"
    """Name of the vectors: a built-in one or a key of the sweep file's `data`."""
    rows: Annotated[int, Field(ge=0, le=10**15), Axis(label="training rows", role="training", names={"0": "all"})] = 0
    """Training rows, picked by a digest of their content, so that fewer are among more; 0: all."""
    normalise: Annotated[bool, Axis(label="normalised", role="data")] = False
    """Whether each row is divided by its length. It is not undone, because no code knows the length: errors are those
    of directions."""
    centre: Annotated[bool, Axis(label="centred", role="training")] = True
    """Whether the mean of the training rows is subtracted, and added again to what is decoded."""
    scale: Annotated[Scale, Axis(label="scale", role="training")] = "whole"
    """What rows are divided by, and multiplied by again when they are decoded. `whole`: one number, so that the
    training rows have the mean variance 1, which brings vectors of all sizes to where codes start and keeps what is
    nearest. `features`: the deviation of each feature, so that all of them count alike in a fit. `none`: nothing."""

    def code_bits(self) -> float:
        """Of one vector."""
        assert isinstance(self, Quantizer)
        return self.bits()

    def nominal_seconds(self) -> float:
        """Fitting the quantizer and a search, for a guess of the data: no file is read for it."""
        assert isinstance(self, Quantizer)
        rows, parts = self.rows or _GUESSED_ROWS, self.feature_slices()
        features = parts * math.ceil(_GUESSED_DIMENSION / parts)
        search = 1000 * min(rows, 100_000) * features * 1e-10 + 0.2
        encoding = 2 * rows * self.products(features) * 2e-11
        if not isinstance(self, GradientSettings):
            return self.fit_seconds(rows, features) + encoding + search
        vectors = self.steps * self.batch_size
        start = self.start_seconds(rows, features) if isinstance(self, InitialCodes) else 0.0
        training = vectors * 4e-8 + vectors * self.products(features) * 1.5e-11
        return start + training + self.steps * self.parameters(features) * 6e-10 + encoding + search


class VectorTraining(GradientSettings):
    """As for blobs, but for the first step size."""

    learning_rate: Annotated[float, Field(gt=0), Axis(label="learning rate", role="training")] = 0.02
    """First step size of Adam. Blobs lie ten deviations apart; rows of mean variance 1 need smaller steps: from 0.3, 8
    codebooks of 256 codes end at 1.1 to 2 times the error of those from 0.02, on four data sets."""


def fields_for(quantizer: type[Quantizer]) -> Sequence[type[Settings]]:
    """What a quantizer of vectors takes besides its own fields."""
    training = training_fields(quantizer)
    return (VectorSettings, *(VectorTraining if each is GradientSettings else each for each in training))


def _squared_error(label: str) -> Metric:
    return Metric(label=label, unit="mean squared error per dimension", better="lower")


def _recall(rank: int) -> Metric:
    return Metric(label=f"recall@{rank}", better="higher")


def _relative(label: str) -> Metric:
    return Metric(label=label, unit="relative", better="lower")


def _speed(label: str) -> Metric:
    return Metric(label=label, unit="vectors/s", better="higher", is_result=False)


@dataclass(frozen=True, kw_only=True)
class VectorMetrics:
    """What a finished cell measured: the metric columns of its row.

    Errors are in the units of the data: `centre` and `scale` are undone first. With `normalise` they are those of rows
    of length 1. Without `train_` a number is of all test rows.
    """

    test_mse: Annotated[float, _squared_error("test loss")]
    """Mean squared error per dimension on the test rows."""
    train_mse: Annotated[float, _squared_error("training loss")]
    """The same on the training rows."""
    data_variance: Annotated[float, Metric(label="variance of the data", yardstick_for="test_mse")]
    """Mean squared error per dimension of predicting the training mean, on the test rows."""
    loss_over_variance: Annotated[float, Metric(label="test loss / variance of the data", better="lower")]
    """`test_mse / data_variance`: 1 is no better than predicting the mean."""
    bits_per_vector: Annotated[float, Metric(label="rate", unit="bits per vector")]
    """Of the codes, all being equally likely."""
    entropy_bits_per_vector: Annotated[float, Metric(label="rate, unigram prior", unit="bits per vector", is_rate=True)]
    """What the test rows' codes cost under how often each one occurs among the training rows, half an occurrence added
    to each code."""
    codes_used: Annotated[list[int], Metric(label="codes used", is_per_codebook=True)]
    """[codebooks] codes that occur among the test rows."""
    perplexity: Annotated[list[float], Metric(label="perplexity of the codes", better="higher", is_per_codebook=True)]
    """[codebooks] 2 to the entropy, in bits, of the codes of the test rows; at most the codebook size."""
    unseen_codes: Annotated[list[float], Metric(label="unseen codes", is_per_codebook=True)]
    """[codebooks] codes that would occur in more test rows, by Chao's estimate."""
    unseen_codes_low: Annotated[list[float], Metric(label="unseen codes, at least", is_per_codebook=True)]
    """[codebooks] the lower end of a 95% interval of it."""
    unseen_codes_high: Annotated[list[float], Metric(label="unseen codes, at most", is_per_codebook=True)]
    vectors_per_code: Annotated[float, Metric(label="training vectors per code")]
    """Training rows over the size of the largest codebook; below 39, codes fit single rows (faiss warns there)."""
    codebook_parameters: Annotated[int, Metric(label="codebook parameters", is_size=True)]
    """Numbers that the codec holds."""
    codec_bytes: Annotated[int | None, Metric(label="size of the codec", unit="bytes", better="lower")]
    """Of its arrays, as they are exported; None where it cannot be."""
    recall_at_1: Annotated[float, _recall(1)]
    """Of up to 1,000 test rows: those whose nearest training row is the first when the training rows are decoded and
    sorted by their distance to the test row, which is not quantized. The same up to 100,000 of all training rows for
    every cell, whatever `rows` is."""
    recall_at_10: Annotated[float, _recall(10)]
    """The same of the first 10."""
    recall_at_100: Annotated[float, _recall(100)]
    inner_product_error: Annotated[float, _relative("error of inner products")]
    """Of test rows with decoded training rows: the mean error over the mean size."""
    distance_error: Annotated[float, _relative("error of squared distances")]
    """The same of squared distances."""
    encoded_per_second: Annotated[float, _speed("encoding speed")]
    """Test rows, on the device that fitted the quantizer."""
    decoded_per_second: Annotated[float, _speed("decoding speed")]
    dimension: Annotated[int, Metric(label="dimension", unit="")]
    """Numbers in a row."""
    train_rows: Annotated[int, Metric(label="training rows")]
    test_rows: Annotated[int, Metric(label="test rows")]
    data_sha256: Annotated[str, Metric(label="digest of the rows", is_condition=True)]
    """Digest of all training and test rows, used or not: equal names are equal vectors only where this is equal."""


@dataclass(frozen=True, kw_only=True)
class VectorCurve:
    """What is logged about twenty times during a fit, at logarithmically spaced steps."""

    step: Annotated[int, Metric(label="training step")]
    fit_mse: Annotated[float, _squared_error("loss of the fit")]
    """On up to 4,096 test rows as the quantizer sees them, after `centre` and `scale`."""
