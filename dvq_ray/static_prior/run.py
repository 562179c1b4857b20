"""From the settings and seed of a static-prior cell to its metrics."""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import asdict

import numpy as np

from dvq_ray.experiments import Outcome
from dvq_ray.static_prior.blobs import Blobs, draw_blobs, draw_factorial_blobs
from dvq_ray.static_prior.fit import fit_codebooks
from dvq_ray.static_prior.problem import FitProblem, FitResult, learning_rates
from dvq_ray.static_prior.settings import (
    TEST_SAMPLES,
    CodebookSettings,
    FactorialSettings,
    GradientSettings,
    KMeansFields,
    StaticPriorCurve,
    StaticPriorMetrics,
    StaticPriorSettings,
)
from dvq_ray.streams import stream
from dvq_ray.surroundings import Surroundings


def run(settings: CodebookSettings, seeds: Sequence[int], surroundings: Surroundings) -> Generator[Outcome]:
    """Fits one quantizer to the blobs of each seed (paper, section 4.1).

    On a CPU the compiled kernel fits one seed after the other; on a GPU all of them are fitted in one batch.
    """
    device = surroundings.device
    started = time.perf_counter()
    if isinstance(settings, KMeansFields):
        results: Iterator[tuple[Blobs, FitResult]] = (_cluster(settings, seed) for seed in seeds)
    else:
        assert isinstance(settings, GradientSettings)
        results = _train(settings, seeds, device)
    for blobs, result in results:
        # A batch on a GPU is done all at once, so its time is shared out.
        now = time.perf_counter()
        seconds = (now - started) if device == "cpu" else (now - started) / len(seeds)
        yield _outcome(settings, blobs, result, seconds)
        started = time.perf_counter() if device == "cpu" else started


def _blobs(settings: CodebookSettings, seed: int) -> Blobs:
    # The stream depends on the seed alone, so that quantizers of equal factors and dimension see the same data.
    sizes = {
        "dimension": settings.dimension,
        "train_samples": settings.train_samples,
        "test_samples": TEST_SAMPLES,
    }
    rng = stream(seed, "data")
    if isinstance(settings, FactorialSettings):
        shape = {"groups": settings.groups, "centres": settings.centres}
        return draw_factorial_blobs(**shape, dependence=settings.dependence, **sizes, rng=rng)
    assert isinstance(settings, StaticPriorSettings)
    return draw_blobs(factors=settings.factors, **sizes, rng=rng)


def _cluster(settings: KMeansFields, seed: int) -> tuple[Blobs, FitResult]:
    from dvq_ray.static_prior.kmeans import fit_kmeans  # scikit-learn takes a second that most workers need not spend

    blobs = _blobs(settings, seed)
    result = fit_kmeans(
        train=blobs.train,
        test=blobs.test,
        slices=settings.slices,
        codes=settings.codebook_size,
        start=settings.start,
        restarts=settings.restarts,
        max_iterations=settings.max_iterations,
        rng=stream(seed, "k-means starts"),
    )
    return blobs, result


def _train(settings: GradientSettings, seeds: Sequence[int], device: str) -> Iterator[tuple[Blobs, FitResult]]:
    drawn = [_blobs(settings, seed) for seed in seeds]
    results = fit_codebooks(
        [_problem(settings, blobs, seed) for blobs, seed in zip(drawn, seeds, strict=True)],
        learning_rates=learning_rates(settings.schedule, settings.learning_rate, settings.steps),
        implementation="compiled" if device == "cpu" else "torch",
        device=device,
    )
    yield from zip(drawn, results, strict=True)


def _problem(settings: GradientSettings, blobs: Blobs, seed: int) -> FitProblem:
    slices = settings.slice_count()
    shape = (slices, settings.codebook_size, settings.dimension // slices)
    start = stream(seed, "initial codebooks").uniform(-settings.init_bound, settings.init_bound, shape)
    rows = stream(seed, "batches").integers(
        settings.train_samples, size=(settings.steps, settings.batch_size), dtype=np.int32
    )
    return FitProblem(train=blobs.train, test=blobs.test, codebooks=start.astype(np.float32), batches=rows)


def _outcome(settings: CodebookSettings, blobs: Blobs, result: FitResult, seconds: float) -> Outcome:
    curve = [
        asdict(StaticPriorCurve(step=int(step), test_mse=float(mse)))
        for step, mse in zip(result.curve_steps, result.curve_test_mse, strict=True)
    ]
    if result.diverged_at_step is not None:
        return Outcome(curve=curve, diverged_at_step=result.diverged_at_step)
    variance = _variance_about_train_mean(blobs)
    bits = settings.bits_per_vector()
    logged = result.curve_test_mse
    metrics = StaticPriorMetrics(
        test_mse=result.test_mse,
        train_mse=result.train_mse,
        untrained_test_mse=float(logged[0]) if len(logged) else None,
        data_variance=variance,
        loss_over_variance=result.test_mse / variance,
        rate_curve_mse=variance * 2 ** (-2 * bits / settings.dimension),
        bits_per_vector=bits,
        codebook_parameters=settings.codebook_size * settings.dimension,
        codes_used=[int(used) for used in (result.code_counts > 0).sum(axis=1)],
        perplexity=[_perplexity(counts) for counts in result.code_counts],
        last_relative_change=float((logged[-2] - logged[-1]) / logged[-1]) if len(logged) > 1 else None,
        duration_seconds=seconds,
    )
    return Outcome(metrics=asdict(metrics), curve=curve)


def _variance_about_train_mean(blobs: Blobs) -> float:
    mean = blobs.train.mean(axis=0, dtype=np.float64)
    return float(np.square(blobs.test - mean).mean(dtype=np.float64))


def _perplexity(counts: np.ndarray) -> float:
    """2 to the entropy in bits of code counts `[codes]`."""
    shares = counts[counts > 0] / counts.sum()
    return math.exp(-float((shares * np.log(shares)).sum()))
