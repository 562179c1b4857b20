"""From the settings and seed of a learned-prior cell to its metrics, its curve and what it keeps of test images."""

from __future__ import annotations

import io
import math
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import asdict
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from dvq_ray.experiment.experiment import Outcome, Underway
from dvq_ray.experiment.surroundings import CellFiles, Surroundings
from dvq_ray.experiments.learned_prior import compilation, image_metrics, kept_latents, rate
from dvq_ray.experiments.learned_prior.code_counts import (
    MOST_SAMPLED_POSITIONS,
    CodeCounts,
    Codes,
    CodeSample,
    evenly_spaced,
)
from dvq_ray.experiments.learned_prior.device import Device, ImageSet, data_set
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
    if missing := settings.missing_here(surroundings.device):
        raise ValueError(missing)
    device = Device(surroundings.device, surroundings.gpu_share, settings.cpu_precision)
    if device.compiles(settings.steps):
        compilation.forget()
    for seed in seeds:
        with device.prepared():
            yield from _cell(settings, seed, device, surroundings)


def _cell(
    settings: LearnedPriorSettings, seed: int, device: Device, surroundings: Surroundings
) -> Generator[Outcome | Underway]:
    device.start_counting_memory()
    # The same images for all precisions: they are decoded once.
    plain = Device(surroundings.device, surroundings.gpu_share)
    data = data_set(surroundings.data[settings.dataset], settings.image_size, plain)
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
    metrics, of_images, codes = _measured(training, keeps_codes="codes" in surroundings.keep)
    seconds = training.elapsed_seconds()
    files.write_artifact("reconstructions.png", _picture(training))
    files.write_artifact(image_metrics.FILE, image_metrics.images_file(of_images))
    if "codes" in surroundings.keep:
        files.write_artifact(kept_codes.FILE, kept_codes.codes_file(codes))
    if "latents" in surroundings.keep:
        for name, images in ((kept_latents.TRAIN, data.train), (kept_latents.TEST, data.test)):
            content = kept_latents.latents_file(training.model, images, device, settings)
            files.write_artifact(name, content)
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


def _measured(training: Training, *, keeps_codes: bool) -> tuple[LearnedPriorMetrics, _OfImages, Mapping[str, Codes]]:
    """The metrics, some of them of each test image, and the codes of all images where `keeps_codes`, else of some."""
    settings, data, device = training.settings, training.data, training.device
    assert isinstance(settings, Quantizer)
    peak = device.peak_memory_bytes()  # of the training alone
    sub_pixels = settings.sub_pixels
    latents = rate.MOST_POSITIONS if slices_to_measure(settings) > 1 else 0
    look = partial(_look, training, keeps_codes=keeps_codes)
    train, train_codes, train_sample, _ = look(data.train)
    prior = rate.UnigramPrior.fitted(train_codes.counts)
    test, test_codes, test_sample, test_bits = look(data.test, prior=prior, latent_positions=latents)
    uniform = settings.bits_per_image() / sub_pixels
    unigram, train_unigram = (
        prior.bits_per_image(codes.counts, codes.images) / sub_pixels for codes in (test_codes, train_codes)
    )
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
        codes_used=rate.codes_used(train_codes.counts),
        perplexity=rate.perplexity(train_codes.counts),
        joint_code_entropy_bits=rate.joint_entropy_bits(evenly_spaced(train_sample)) if settings.positionwise else None,
        code_cross_entropy_bits=_cross_entropy(train_codes, test_codes) if settings.positionwise else None,
        slice_dependence_bits=_dependence(settings, training.seed, evenly_spaced(test_sample)),
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
    reconstruction, codes = test.nats / math.log(2), test_bits / sub_pixels
    of_images = {
        "reconstruction_bits_per_dim": reconstruction,
        "code_bits_per_dim_unigram": codes,
        "total_bits_per_dim_unigram": reconstruction + codes,
    }
    return metrics, of_images, {"train": train_sample, "test": test_sample}


def _look(
    training: Training,
    images: ImageSet,
    *,
    keeps_codes: bool,
    prior: rate.UnigramPrior | None = None,
    latent_positions: int = 0,
) -> tuple[Evaluation, CodeCounts, Codes, npt.NDArray[np.float64]]:
    """Evaluation of all `images`, their codes counted, codes of all or of some, and bits of each by `prior`."""
    settings = training.settings
    assert isinstance(settings, Quantizer)
    size = largest_codebook(settings)
    counts = CodeCounts(size, pairs=settings.positionwise)
    sample = CodeSample(size, len(images), None if keeps_codes else MOST_SAMPLED_POSITIONS)
    bits: list[npt.NDArray[np.float64]] = []

    def see(codes: Codes) -> None:
        counts.add(codes)
        sample.add(codes)
        if prior is not None:
            bits.append(prior.bits_of_images(codes))

    found = evaluate(
        training.model,
        images,
        training.device,
        settings.batch_size,
        see_codes=see,
        latent_positions=latent_positions,
    )
    return found, counts, sample.codes, np.concatenate(bits) if bits else np.empty(0)


def _cross_entropy(train: CodeCounts, test: CodeCounts) -> float:
    return rate.ChainPrior.fitted(train.counts, train.pairs).bits_per_position(test.counts, test.pairs)


def _dependence(settings: Quantizer, seed: int, codes: Codes) -> float | None:
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
