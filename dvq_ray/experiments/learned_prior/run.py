"""From the settings and seed of a learned-prior cell to its metrics, its curve and what it keeps of test images."""

from __future__ import annotations

import io
import math
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import asdict

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image

from dvq_ray.experiment.experiment import Outcome, Underway
from dvq_ray.experiment.surroundings import CellFiles, Surroundings
from dvq_ray.experiments.learned_prior import rate
from dvq_ray.experiments.learned_prior.device import Device, data_set
from dvq_ray.experiments.learned_prior.evaluation import Evaluation, evaluate, reconstruct
from dvq_ray.experiments.learned_prior.model import state_arrays
from dvq_ray.experiments.learned_prior.settings import (
    LearnedPriorMetrics,
    LearnedPriorSettings,
    largest_codebook,
    slices_to_measure,
)
from dvq_ray.experiments.learned_prior.training import CheckpointError, Training
from dvq_ray.quantizer import kept_codes
from dvq_ray.quantizer.base import Quantizer
from dvq_ray.streams import stream

PICTURED = 8
"""Test images in the picture of reconstructions."""
TRAINING_SHARE = 0.97
"""Of a cell's work that is training; the rest is the final look at all images."""


def run(
    settings: LearnedPriorSettings, seeds: Sequence[int], surroundings: Surroundings
) -> Generator[Outcome | Underway]:
    """Trains an auto-encoder for each seed (paper, section 4.2), one after the other.

    A cell that takes longer than `checkpoint_seconds` keeps a checkpoint, and so does one that is stopped; it goes on
    from there. Raises `ImagesError` where the images cannot be read.
    """
    device = Device(surroundings.device, surroundings.gpu_share)
    for seed in seeds:
        with device.prepared():
            yield from _cell(settings, seed, device, surroundings)


def _cell(
    settings: LearnedPriorSettings, seed: int, device: Device, surroundings: Surroundings
) -> Generator[Outcome | Underway]:
    device.start_counting_memory()
    data = data_set(surroundings.data[settings.dataset], settings.image_size, device)
    files = surroundings.files_of(seed)
    training = Training(settings, seed, data, device)
    _take_up(training, files)
    kept_at = time.monotonic()
    try:
        finite = True
        while finite and not training.done:
            yield Underway(share=TRAINING_SHARE * training.step / settings.steps, logged=training.curve)
            finite = training.advance()
            if time.monotonic() - kept_at > surroundings.checkpoint_seconds:
                files.write_checkpoint(training.checkpoint())
                kept_at = time.monotonic()
        yield Underway(share=TRAINING_SHARE, logged=training.curve)
    except GeneratorExit:
        files.write_checkpoint(training.checkpoint())
        raise
    diverged_at = training.diverged_at_step()
    if diverged_at is not None:
        yield Outcome(curve=training.curve, diverged_at_step=diverged_at)
        return
    metrics, of_images, codes = _measured(training)
    seconds = training.elapsed_seconds()
    files.write_artifact("reconstructions.png", _picture(training))
    files.write_artifact("test_images.parquet", _parquet(of_images))
    if "codes" in surroundings.keep:
        files.write_artifact(kept_codes.FILE, kept_codes.codes_file(codes))
    if "model" in surroundings.keep:
        files.write_model({}, state_arrays(training.model), data.images.sha256)
    yield Outcome(metrics=asdict(metrics), curve=training.curve, duration_seconds=seconds)


def _take_up(training: Training, files: CellFiles) -> None:
    """Goes on from the cell's checkpoint, where there is one that can be used; else begins."""
    content = files.read_checkpoint()
    if content is not None:
        try:
            training.restore(content)
            return
        except CheckpointError as error:
            files.reject_checkpoint(str(error))
    training.begin()


_OfImages = Mapping[str, npt.NDArray[np.float64]]
"""Of each test image, by the name of the metric whose mean over images it has."""


def _measured(training: Training) -> tuple[LearnedPriorMetrics, _OfImages, Mapping[str, rate.Codes]]:
    """The metrics, some of them of each test image, and the codes of all images."""
    settings, data, device = training.settings, training.data, training.device
    assert isinstance(settings, Quantizer)
    peak = device.peak_memory_bytes()  # of the training, before the codes of all images are at hand
    sample = rate.MOST_POSITIONS if slices_to_measure(settings) > 1 else 0
    train = evaluate(training.model, data.train, device, settings.batch_size)
    test = evaluate(training.model, data.test, device, settings.batch_size, latent_positions=sample)
    size, sub_pixels = largest_codebook(settings), settings.sub_pixels
    uniform = settings.bits_per_image() / sub_pixels
    prior = rate.UnigramPrior.fitted(train.codes, size)
    unigram, train_unigram = (prior.bits_per_image(codes) / sub_pixels for codes in (test.codes, train.codes))
    bits, train_bits = test.reconstruction_bits_per_dim, train.reconstruction_bits_per_dim
    metrics = LearnedPriorMetrics(
        reconstruction_bits_per_dim=bits,
        train_reconstruction_bits_per_dim=train_bits,
        code_bits_per_dim_uniform=uniform,
        code_bits_per_dim_unigram=unigram,
        train_code_bits_per_dim_unigram=train_unigram,
        total_bits_per_dim_uniform=bits + uniform,
        total_bits_per_dim_unigram=bits + unigram,
        train_total_bits_per_dim_unigram=train_bits + train_unigram,
        mse=test.mse,
        train_mse=train.mse,
        psnr_db=test.psnr_db,
        codebook_loss=test.codebook_loss,
        codes_used=rate.codes_used(train.codes, size),
        perplexity=rate.perplexity(train.codes, size),
        joint_code_entropy_bits=rate.joint_entropy_bits(train.codes) if settings.positionwise else None,
        code_cross_entropy_bits=_cross_entropy(train.codes, test.codes, size) if settings.positionwise else None,
        slice_dependence_bits=_dependence(settings, training.seed, test.codes),
        **_dependence_of_latents(settings, training.seed, test, device),
        images_per_second=settings.steps * settings.batch_size / training.training_seconds,
        peak_memory_bytes=peak,
        parameters=training.parameters(),
        codebook_parameters=training.model.quantizer.code_parameters(),
        precision=device.precision,
        train_images=len(data.train),
        test_images=len(data.test),
        data_sha256=data.images.sha256,
    )
    reconstruction, codes = test.nats / math.log(2), prior.bits_of_images(test.codes) / sub_pixels
    of_images = {
        "reconstruction_bits_per_dim": reconstruction,
        "code_bits_per_dim_unigram": codes,
        "total_bits_per_dim_unigram": reconstruction + codes,
    }
    return metrics, of_images, {"train": train.codes, "test": test.codes}


def _cross_entropy(train: rate.Codes, test: rate.Codes, codebook_size: int) -> float:
    return rate.ChainPrior.fitted(train, codebook_size).bits_per_position(test)


def _dependence(settings: Quantizer, seed: int, codes: rate.Codes) -> float | None:
    """Of the codes at a position, as they are."""
    if len(settings.codebook_sizes()) == 1 or not settings.positionwise:
        return None
    return rate.dependence_bits(codes, largest_codebook(settings), stream(seed, "shuffled pairings"))


def _dependence_of_latents(
    settings: Quantizer, seed: int, test: Evaluation, device: Device
) -> Mapping[str, float | None]:
    """Of slices of the latents that are clustered anew: in order, shuffled once, and of random features."""
    found: list[float | None] = [None] * 4
    if test.latents is not None:
        latents, slices, size = test.latents, slices_to_measure(settings), largest_codebook(settings)
        found = [
            rate.refit_dependence_bits(
                latents, slices, size, stream(seed, "clusters of slices"), shuffled=shuffled, device=device.kind
            )
            for shuffled in (False, True)
        ]
        found += rate.random_dependence_bits(latents, slices, size, stream(seed, "random slices"), device.kind)
    kinds = ("refit", "shuffled", "random_mean", "random_deviation")
    return {f"slice_dependence_bits_{kind}": bits for kind, bits in zip(kinds, found, strict=True)}


def _picture(training: Training) -> bytes:
    """PNG of some test images, above what the network makes of them: [2 * size, PICTURED * size]."""
    images = training.data.test
    rows = np.linspace(0, len(images) - 1, min(PICTURED, len(images))).round().astype(np.int64)
    originals = images.rows(torch.from_numpy(rows))
    both = np.stack([originals.cpu().numpy(), reconstruct(training.model, originals, training.device)])
    sheet: npt.NDArray[np.uint8] = both.transpose(0, 3, 1, 4, 2)  # [2, size, PICTURED, size, 3]
    size = training.settings.image_size
    content = io.BytesIO()
    Image.fromarray(sheet.reshape(2 * size, -1, 3)).save(content, format="png")
    return content.getvalue()


def _parquet(columns: Mapping[str, npt.NDArray[np.float64]]) -> bytes:
    """A file of these columns, in single precision."""
    content = io.BytesIO()
    pq.write_table(pa.table({name: values.astype(np.float32) for name, values in columns.items()}), content)
    return content.getvalue()
