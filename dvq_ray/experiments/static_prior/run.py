"""From the settings and seed of a cell of blobs to its metrics."""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from functools import partial

from dvq_ray.experiment.experiment import Outcome
from dvq_ray.experiment.surroundings import Surroundings
from dvq_ray.experiments.static_prior.blobs import Blobs
from dvq_ray.experiments.static_prior.settings import BlobSettings, StaticPriorCurve, StaticPriorMetrics
from dvq_ray.fitting.fit import Data, fit
from dvq_ray.fitting.problem import FitResult
from dvq_ray.models.codec_model import codec_parts
from dvq_ray.process.recent import Recent
from dvq_ray.quantizer import kept_codes
from dvq_ray.quantizer.base import Quantizer
from dvq_ray.quantizer.codecs import exported_bytes
from dvq_ray.quantizer.usage import codes_used, perplexity, usage

_DRAWN = Recent[Blobs](64 * 2**20, lambda blobs: blobs.train.nbytes + blobs.test.nbytes)
"""Cells of other quantizers with the same seed come next. Drawing what they all see takes as long as many a fit."""


def run(settings: BlobSettings, seeds: Sequence[int], surroundings: Surroundings) -> Generator[Outcome]:
    """Fits one quantizer to the blobs of each seed (paper, section 4.1).

    On a CPU one seed is fitted after the other; on a GPU codebooks of all of them are fitted in one batch.
    """
    if surroundings.device == "cpu":
        for seed in seeds:
            yield from _fitted(settings, [seed], surroundings)
    else:
        yield from _fitted(settings, seeds, surroundings)


def _fitted(settings: BlobSettings, seeds: Sequence[int], surroundings: Surroundings) -> Generator[Outcome]:
    assert isinstance(settings, Quantizer)
    started = time.perf_counter()
    drawn = [_DRAWN.get(settings.data_key(seed), partial(settings.draw, seed)) for seed in seeds]
    data = [
        # Copies, because no quantizer can be kept from changing what other cells will see.
        Data(seed=seed, train=blobs.train.copy(), test=blobs.test.copy())
        for seed, blobs in zip(seeds, drawn, strict=True)
    ]
    results = fit(settings, data, surroundings.device)
    for seed, blobs, result in zip(seeds, drawn, results, strict=True):
        # A batch on a GPU is done all at once, so its time is shared out.
        seconds = (time.perf_counter() - started) / len(seeds)
        outcome = _outcome(settings, settings, blobs, result, seconds)
        if outcome.diverged_at_step is None:
            _keep(seed, blobs, result, surroundings)
        yield outcome


def _keep(seed: int, blobs: Blobs, result: FitResult, surroundings: Surroundings) -> None:
    files, codec = surroundings.files_of(seed), result.codec
    if "codes" in surroundings.keep:
        splits = {"train": codec.encode(blobs.train.copy()), "test": codec.encode(blobs.test.copy())}
        files.write_artifact(kept_codes.FILE, kept_codes.codes_file(splits))
    if "model" in surroundings.keep:
        files.write_model(*codec_parts(codec), blobs.sha256())


def _outcome(settings: BlobSettings, quantizer: Quantizer, blobs: Blobs, result: FitResult, seconds: float) -> Outcome:
    curve = [
        vars(StaticPriorCurve(step=int(step), test_mse=float(mse)))
        for step, mse in zip(result.curve_steps, result.curve_test_mse, strict=True)
    ]
    if result.diverged_at_step is not None:
        return Outcome(curve=curve, diverged_at_step=result.diverged_at_step)
    variance = blobs.variance
    bits = quantizer.bits()
    logged = result.curve_test_mse
    metrics = StaticPriorMetrics(
        test_mse=result.test_mse,
        train_mse=result.train_mse,
        untrained_test_mse=float(logged[0]) if len(logged) else None,
        data_variance=variance,
        loss_over_variance=result.test_mse / variance,
        rate_curve_mse=variance * 2 ** (-2 * bits / settings.dimension),
        bits_per_vector=bits,
        codebook_parameters=quantizer.parameters(settings.dimension),
        codes_used=[codes_used(counts) for counts in result.code_counts],
        perplexity=[perplexity(counts) for counts in result.code_counts],
        last_relative_change=float((logged[-2] - logged[-1]) / logged[-1]) if len(logged) > 1 else None,
        test_codes_used=[codes_used(counts) for counts in result.test_code_counts],
        test_perplexity=[perplexity(counts) for counts in result.test_code_counts],
        **usage(result.code_counts, result.test_code_counts),
        codec_bytes=exported_bytes(result.codec),
    )
    return Outcome(metrics=vars(metrics), curve=curve, duration_seconds=seconds)
