"""Training the auto-encoder of a cell (paper, section 4.2): Adam on the reconstruction cost and the quantizer's losses.

Every batch follows from the seed and the step alone, so that a training that goes on from a checkpoint sees what it
would have seen; on a CPU it ends with the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import time
from collections.abc import Mapping
from dataclasses import asdict
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from dvq_ray.experiments.learned_prior import compilation
from dvq_ray.experiments.learned_prior.autoencoder import build_autoencoder
from dvq_ray.experiments.learned_prior.code_counts import CodeCounts
from dvq_ray.experiments.learned_prior.device import DataSet, Device
from dvq_ray.experiments.learned_prior.evaluation import evaluate
from dvq_ray.experiments.learned_prior.rate import perplexity
from dvq_ray.experiments.learned_prior.settings import LearnedPriorCurve, LearnedPriorSettings, largest_codebook
from dvq_ray.process.freed_memory import keep_freed_memory
from dvq_ray.streams import stream

FINITE_EVERY = 50
"""Steps after which the losses are looked at; asking a GPU more often would make it wait."""
_NEVER = 2**62
_DIGEST_BYTES = 32


class CheckpointError(ValueError):
    """A checkpoint that this training cannot resume from; says why."""


def logged_steps(steps: int) -> npt.NDArray[np.int64]:
    """Steps after which the test set is looked at: [points], from 0 to the last.

    Close together at the start, where the loss falls fast, and a sixteenth of the training apart later on.
    """
    early = np.geomspace(1, max(steps // 16, 1), 9)
    late = np.linspace(0, steps, 17)
    return np.unique(np.concatenate([early, late]).round().astype(np.int64))


def batch_rows(seed: int, step: int, batch_size: int, images: int) -> npt.NDArray[np.int64]:
    """Rows of the training images in the batch of `step`: [batch_size].

    Batches follow each other through one random order of all images after the other; none is left out.
    """
    first = step * batch_size
    places = np.arange(first, first + batch_size)
    epochs = places // images
    rows = [_order(seed, int(epoch), images)[places[epochs == epoch] % images] for epoch in np.unique(epochs)]
    return np.concatenate(rows)


@lru_cache(maxsize=4)
def _order(seed: int, epoch: int, images: int) -> npt.NDArray[np.int64]:
    return stream(seed, f"batches of epoch {epoch}").permutation(images)


def _generator(seed: int, purpose: str, device: str = "cpu") -> torch.Generator:
    return torch.Generator(device).manual_seed(int(stream(seed, purpose).integers(2**63)))


class Training:
    """A training that can be advanced step by step, kept and taken up again."""

    def __init__(self, settings: LearnedPriorSettings, seed: int, data: DataSet, device: Device) -> None:
        self.settings = settings
        self.seed = seed
        self.data = data
        self.device = device
        self.step = 0
        self.curve: list[dict[str, Any]] = []
        self.training_seconds = 0.0
        if not device.on_gpu:
            keep_freed_memory()
        model = build_autoencoder(settings, _generator(seed, "network"))
        self.model = model.to(device.kind).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if device.aligns_widths:
            self.model.align_widths()
        trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        self._optimizer = torch.optim.Adam(trained, lr=settings.learning_rate, fused=True)
        self._losses = self._losses_of
        if device.compiles(settings.steps):
            self._losses = compilation.compiled(self._losses_of)
        self._nats = torch.zeros((), dtype=torch.float64, device=device.kind)
        self._batches = 0
        self._diverged_at = torch.full((), _NEVER, dtype=torch.int64, device=device.kind)
        self._created = self._clock = time.perf_counter()
        self._seconds_before = 0.0
        self._logged = set(logged_steps(settings.steps).tolist())

    @property
    def done(self) -> bool:
        """Whether all steps are done."""
        return self.step >= self.settings.steps

    def diverged_at_step(self) -> int | None:
        """The first step whose loss was not finite."""
        step = int(self._diverged_at)
        return None if step == _NEVER else step

    def elapsed_seconds(self) -> float:
        """Time that the training took so far, over all that went on from each other's checkpoints."""
        return self._seconds_before + time.perf_counter() - self._created

    def parameters(self) -> int:
        """All numbers that are learned, codes included, however they learn."""
        parts: list[nn.Module] = [self.model.encoder, self.model.decoder]
        network = sum(parameter.numel() for part in parts for parameter in part.parameters())
        return network + int(self.model.quantizer.code_parameters())

    def begin(self) -> None:
        """What comes before the first step: codes that start from latents, and the untrained network's point."""
        with torch.no_grad(), self.device.autocast():
            latents = self.model.encode_latents(self._batch(0))
        self.model.quantizer.start(latents, _generator(self.seed, "initial codes", self.device.kind))
        self._start_clock()
        self._log()
        self._warm_up()

    def advance(self) -> bool:
        """One step. Returns whether the training may go on: false where a loss was found not to be finite."""
        nats, loss, latents, quantized = self._losses(self._batch(self.step))
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        if self.model.quantizer.updates:
            generator = _generator(self.seed, f"codes of step {self.step}", self.device.kind)
            self.model.quantizer.update(latents, quantized, generator)
        step = torch.where(loss.detach().isfinite(), _NEVER, self.step)
        self._diverged_at = torch.minimum(self._diverged_at, step)
        self._nats += nats.double()
        self._batches += 1
        self.step += 1
        logs = self.step in self._logged
        if (logs or self.step % FINITE_EVERY == 0) and self.diverged_at_step() is not None:
            return False
        if logs:
            self._log()
        return True

    def checkpoint(self) -> bytes:
        """All that the training needs to go on: a digest, and what torch reads without unpickling objects.

        Random streams and the position in the data follow from the seed and the step.
        """
        self._stop_clock()
        state = {
            "model": self.model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "step": self.step,
            "curve": self.curve,
            "training_seconds": self.training_seconds,
            "elapsed_seconds": self.elapsed_seconds(),
            "nats": self._nats,
            "batches": self._batches,
            "diverged_at": self._diverged_at,
            "of": self._identity(),
        }
        content = io.BytesIO()
        torch.save(state, content)
        self._start_clock()
        return hashlib.sha256(content.getbuffer()).digest() + content.getvalue()

    def restore(self, content: bytes) -> None:
        """Takes up where `checkpoint` left. Raises `CheckpointError`, and changes nothing, where that cannot be."""
        digest, body = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
        if hashlib.sha256(body).digest() != digest:
            raise CheckpointError("it is not whole")
        try:
            state = torch.load(io.BytesIO(body), map_location=self.device.kind, weights_only=True)
        except Exception as error:  # torch raises whatever its readers of zip files and of pickles do
            raise CheckpointError(f"{type(error).__name__}: {error}".partition("\n")[0]) from error
        if not isinstance(state, Mapping) or not self._is_of_this_cell(state.get("of")):
            raise CheckpointError("it is of another cell, or of other images")
        self.model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])
        self.step, self.curve = state["step"], state["curve"]
        self.training_seconds, self._seconds_before = state["training_seconds"], state["elapsed_seconds"]
        self._nats, self._batches = state["nats"], state["batches"]
        self._diverged_at = state["diverged_at"]
        self._warm_up()

    def _identity(self) -> dict[str, str]:
        return {
            "settings": self.settings.model_dump_json(),
            "seed": str(self.seed),
            "images": self.data.images.sha256,
        }

    def _is_of_this_cell(self, of: Any) -> bool:
        """Whether a checkpoint's `_identity` is that of this training.

        The order of its settings does not count, nor whether it has fields that were added since.
        """
        own = self._identity()
        try:
            theirs = {**self.settings.added, **json.loads(of["settings"])}
            return bool({**of, "settings": theirs} == {**own, "settings": json.loads(own["settings"])})
        except (TypeError, KeyError, ValueError):
            return False

    def _batch(self, step: int) -> Tensor:
        rows = batch_rows(self.seed, step, self.settings.batch_size, len(self.data.train))
        return self.data.train.rows(torch.from_numpy(rows))

    def _losses_of(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Any]:
        """Nats per sub-pixel of a batch, and what is minimised (equations 2 and 4)."""
        with self.device.autocast():
            made = self.model(images)
        nats = self.model.likelihood.nats(made.parameters, images).mean()
        quantized = made.quantized
        loss = nats + quantized.codebook_loss + self.settings.commitment_weight * quantized.commitment_loss
        return nats.detach(), loss, made.latents.detach(), quantized

    def _warm_up(self) -> None:
        """Lets a GPU compile the step and choose its algorithms off the clock. Changes no number of the training."""
        if self.device.warms_up:
            with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
                _, loss, *_ = self._losses(self._batch(self.step))
                loss.backward()  # type: ignore[no-untyped-call]
            self._optimizer.zero_grad(set_to_none=True)
            self.device.wait()
        self._start_clock()

    def _log(self) -> None:
        self._stop_clock()
        codes = CodeCounts(largest_codebook(self.settings), pairs=False)
        test = evaluate(self.model, self.data.test, self.device, self.settings.batch_size, see_codes=codes.add)
        bits = test.reconstruction_bits_per_dim
        uniform = self.settings.bits_per_image() / self.settings.sub_pixels
        train = float(self._nats) / self._batches / math.log(2) if self._batches else None
        point = LearnedPriorCurve(
            step=self.step,
            reconstruction_bits_per_dim=bits,
            train_reconstruction_bits_per_dim=train,
            mse=test.mse,
            total_bits_per_dim_uniform=bits + uniform,
            mean_perplexity=float(np.mean(perplexity(codes.counts))),
            training_seconds=self.training_seconds,
        )
        self.curve.append(asdict(point))
        self._nats = torch.zeros_like(self._nats)
        self._batches = 0
        self._start_clock()

    def _stop_clock(self) -> None:
        self.device.wait()
        self.training_seconds += time.perf_counter() - self._clock

    def _start_clock(self) -> None:
        self._clock = time.perf_counter()
