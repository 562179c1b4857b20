"""From the settings and seed of a code-prior cell to what its parent's codes cost."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt

from dvq_ray.experiment.experiment import Outcome, Underway
from dvq_ray.experiment.surroundings import Surroundings
from dvq_ray.experiments.code_prior.coding import HEADER_BYTES, CodingError, decoded, encoded
from dvq_ray.experiments.code_prior.layout import Codes
from dvq_ray.experiments.code_prior.model import prior_parts
from dvq_ray.experiments.code_prior.parents import Parent, parent_of
from dvq_ray.experiments.code_prior.prior import Fit, FittedPrior
from dvq_ray.experiments.code_prior.registry import find_prior
from dvq_ray.experiments.code_prior.settings import CodePriorCurve, CodePriorMetrics, CodePriorSettings
from dvq_ray.experiments.learned_prior import image_metrics
from dvq_ray.process.blas_threads import one_blas_thread

Array = npt.NDArray[np.float64]
FITTING_SHARE = 0.85
"""Of a cell's work that is a training; the rest is a pass over all codes."""


def run(settings: CodePriorSettings, seeds: Sequence[int], surroundings: Surroundings) -> Generator[Outcome | Underway]:
    """Fits a prior to the codes of the parent's repetition with each seed.

    A cell that is stopped starts over: it takes minutes. Raises `ParentsError` where the parent has gone meanwhile.
    """
    source = surroundings.data[settings.parent_point_id]
    for seed in seeds:
        with one_blas_thread():  # a cell has one core; results do not depend on it
            yield from _cell(settings, seed, parent_of(source, settings, seed), surroundings)


def _cell(
    settings: CodePriorSettings, seed: int, parent: Parent, surroundings: Surroundings
) -> Generator[Outcome | Underway]:
    curve: list[dict[str, Any]] = []

    def log(step: int, bits: float) -> None:
        curve.append(asdict(CodePriorCurve(step=step, held_out_bits_per_sample=bits)))

    fit = Fit(layout=parent.layout, settings=settings, seed=seed, device=surroundings.device, log=log)
    fitting = find_prior(settings.prior).fitting(parent.train, fit)
    while True:
        try:
            share = next(fitting)
        except StopIteration as end:
            prior: FittedPrior = end.value
            break
        yield Underway(share=FITTING_SHARE * share, logged=curve)
    yield Underway(share=FITTING_SHARE, logged=curve)
    of_each = prior.bits(parent.test)
    metrics = _metrics(settings, parent, prior, of_each)
    if not parent.vectors:
        content = image_metrics.images_file({"code_bits_per_dim": of_each / parent.numbers})
        surroundings.files_of(seed).write_artifact(image_metrics.FILE, content)
    if "model" in surroundings.keep:
        parts = prior_parts(settings.prior, prior, vectors=parent.vectors, joint_positions=parent.joint_positions)
        surroundings.files_of(seed).write_model(parts, prior.arrays(), parent.codes_sha256)
    yield Outcome(metrics=asdict(metrics), curve=curve)


def _metrics(settings: CodePriorSettings, parent: Parent, prior: FittedPrior, of_each: Array) -> CodePriorMetrics:
    """`of_each` has the bits of every test sample."""
    bits, uniform = float(of_each.mean()), parent.layout.uniform_bits
    coded = _coded_bytes(prior, parent.test) if settings.coded else None
    reconstruction, per_dim = parent.reconstruction_bits_per_dim, bits / parent.numbers
    digest = parent.experiment.digest_column
    return CodePriorMetrics(
        code_bits_per_sample=bits,
        train_code_bits_per_sample=float(prior.bits(parent.train).mean()),
        uniform_bits_per_sample=uniform,
        code_bits_over_uniform=bits / uniform,
        code_bits_per_dim=per_dim,
        reconstruction_bits_per_dim=reconstruction,
        total_bits_per_dim=None if reconstruction is None else reconstruction + per_dim,
        parent_loss=parent.loss,
        parent_metric=parent.experiment.main_metric,
        coded_bytes=coded,
        coded_over_likelihood=None if coded is None else 8 * coded / (bits * len(parent.test)) - 1,
        prior_bytes=prior.bytes,
        prior_parameters=prior.parameters,
        stopped_at_step=prior.stopped_at,
        parent_cell_id=parent.row["cell_id"],
        parent_trainable=parent.row["trainable"],
        parent_sweep=parent.row["sweep"],
        dimension=parent.dimension,
        train_rows=len(parent.train),
        test_rows=len(parent.test),
        data_sha256=parent.row.get(digest) if digest else None,
        codes_sha256=parent.codes_sha256,
    )


def _coded_bytes(prior: FittedPrior, codes: Codes) -> int:
    """Of the entropy-coded codes, which are read again and compared. Raises `CodingError` where others come back."""
    content = encoded(prior, codes)
    if not np.array_equal(decoded(prior, content), codes):
        raise CodingError("other codes came back than were coded")
    return len(content) - HEADER_BYTES
