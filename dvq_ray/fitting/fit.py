"""One way from a quantizer and vectors to what it was worth, whatever the quantizer is.

A quantizer with a `fit` of its own is fitted by that. One that learns by gradient is trained on mini-batches. Where its
codebooks lie on slices of the features, the compiled kernel does that on a CPU, and one batch of torch on a GPU for all
repetitions; any other is trained as the module that it builds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from dvq_ray.fitting.codebooks import fit_codebooks
from dvq_ray.fitting.problem import FitProblem, FitResult, learning_rates
from dvq_ray.fitting.settings import GradientSettings, InitialCodes
from dvq_ray.fitting.starts import Codebooks, chosen_codes, uniform_codes
from dvq_ray.process.recent import Recent
from dvq_ray.quantizer.base import Quantizer, Vectors
from dvq_ray.quantizer.codebook import CodebookQuantizer
from dvq_ray.streams import stream


@dataclass(frozen=True, kw_only=True)
class Data:
    """The vectors of one repetition."""

    seed: int
    """All randomness of the fit follows from it."""
    train: Vectors
    """[train_samples, features]"""
    test: Vectors
    """[test_samples, features]"""


def fit(settings: Quantizer, repetitions: Sequence[Data], device: str) -> Iterator[FitResult]:
    """Fits the quantizer of `settings` to each of the repetitions, yielding results in their order.

    Repetitions have equal shapes. On a CPU none depends on the others; on a GPU codebooks are trained side by side.
    """
    if not settings.learns_by_gradient():
        return (_fitted(settings, data) for data in repetitions)
    assert isinstance(settings, GradientSettings), "the experiment gives a quantizer that learns by gradient its fields"
    if isinstance(settings, CodebookQuantizer) and settings.lies_on_slices() and isinstance(settings, InitialCodes):
        return fit_codebooks(
            [_problem(settings, settings, settings, data) for data in repetitions],
            learning_rates=learning_rates(settings.schedule, settings.learning_rate, settings.steps),
            implementation="compiled" if device == "cpu" else "torch",
            device=device,
        )
    from dvq_ray.fitting.modules import fit_module

    return (
        fit_module(
            settings,
            data.train,
            data.test,
            batches=_batches(settings, data),
            rates=learning_rates(settings.schedule, settings.learning_rate, settings.steps),
            seed=data.seed,
            device=device,
            codes=_chosen(settings, data),
        )
        for data in repetitions
    )


def _fitted(settings: Quantizer, data: Data) -> FitResult:
    codec = settings.fit(data.train, stream(data.seed, settings.stream))
    sizes = settings.codebook_sizes()
    train_mse, counts = codec.evaluate(data.train, sizes)
    test_mse, test_counts = codec.evaluate(data.test, sizes)
    return FitResult(
        curve_steps=np.empty(0, dtype=np.int64),
        curve_test_mse=np.empty(0),
        train_mse=train_mse,
        test_mse=test_mse,
        code_counts=counts,
        test_code_counts=test_counts,
        codec=codec,
        diverged_at_step=None,
    )


def _problem(quantizer: CodebookQuantizer, start: InitialCodes, training: GradientSettings, data: Data) -> FitProblem:
    features = data.train.shape[1]
    shape = (quantizer.codebooks(), quantizer.codebook_size, quantizer.code_features(features))
    codes = _chosen(quantizer, data)
    if codes is None:
        codes = uniform_codes(shape, start.init_bound, data.seed)
    return FitProblem(train=data.train, test=data.test, codebooks=codes, batches=_batches(training, data))


def _chosen(settings: Quantizer, data: Data) -> Codebooks | None:
    """The training vectors that codes start at; None where they start elsewhere."""
    if isinstance(settings, CodebookQuantizer) and isinstance(settings, InitialCodes) and settings.start == "k-means++":
        return chosen_codes(settings, data.train, data.seed)
    return None


def _batches(training: GradientSettings, data: Data) -> np.ndarray:
    """Rows of the training vectors in each mini-batch: [steps, batch]. The same for every quantizer."""
    rows, size = len(data.train), (training.steps, training.batch_size)
    return _DRAWN_BATCHES.get(
        (data.seed, rows, size), lambda: stream(data.seed, "batches").integers(rows, size=size, dtype=np.int32)
    )


_DRAWN_BATCHES = Recent[np.ndarray](32 * 2**20, lambda batches: batches.nbytes)
"""Cells of other quantizers with the same seed come next, and use the same ones."""
