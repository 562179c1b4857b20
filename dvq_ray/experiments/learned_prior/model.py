"""The model of a cell of images: the whole auto-encoder."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dvq_ray.experiment.registry import find_experiment
from dvq_ray.experiments.learned_prior.autoencoder import Autoencoder, build_autoencoder
from dvq_ray.experiments.learned_prior.device import Device
from dvq_ray.experiments.learned_prior.settings import CHANNELS, LearnedPriorSettings
from dvq_ray.models.files import Arrays, KeptModel, ModelError
from dvq_ray.models.model import Model
from dvq_ray.quantizer.base import code_type

_CPU = Device("cpu")


def state_arrays(network: Autoencoder) -> Arrays:
    """All weights and codes by name."""
    return {name: tensor.cpu().contiguous().numpy() for name, tensor in network.state_dict().items()}


class AutoencoderModel(Model):
    """Images to codes, and codes to the pixels that the network expects. Computes on the CPU, in float32.

    Images go through the network as many at a time as in training: rounding may depend on those beside an image.
    """

    def __init__(self, kept: KeptModel) -> None:
        """Raises ValueError where the arrays are not those of the settings."""
        super().__init__(kept)
        settings: Any = find_experiment(kept.experiment).settings(kept.settings)
        self._settings: LearnedPriorSettings = settings
        self._sizes: tuple[int, ...] = settings.codebook_sizes()
        network = build_autoencoder(settings, torch.Generator().manual_seed(0))
        try:
            network.load_state_dict({name: torch.tensor(array) for name, array in kept.arrays.items()})
        except RuntimeError as error:  # names or shapes differ
            raise ValueError(f"the arrays are not those of the settings: {error}") from error
        self.network = network.to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]

    @torch.no_grad()
    def encode(self, data: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Codes [images, codebooks, codes] of images uint8 [images, 3, height, width], channels red, green, blue."""
        size = self._settings.image_size
        if data.dtype != np.uint8 or data.shape[1:] != (CHANNELS, size, size):
            raise ModelError(
                f"found {data.dtype} of shape {list(data.shape)}; allowed: uint8 [images, {CHANNELS}, {size}, {size}]"
            )
        parts = [
            self.network.quantizer.encode(self.network.encode_latents(_channels_last(block)))
            for block in self._blocks(data)
        ]
        return torch.cat(parts).numpy().astype(code_type(self._sizes))

    @torch.no_grad()
    def decode(self, codes: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Expected pixels [images, 3, height, width] of `codes` [images, codebooks, codes]: black is 0, white is 1."""
        parts = [self.network.likelihood.expected(block) for block in self._decoded(codes)]
        return torch.cat(parts).contiguous().numpy()

    @torch.no_grad()
    def parameters(self, codes: npt.NDArray[Any]) -> Tensor:
        """The distributions of the pixels [images, channels of the likelihood, height, width] that codes stand for."""
        return torch.cat([*self._decoded(codes)])

    def _decoded(self, codes: npt.NDArray[Any]) -> Iterator[Tensor]:
        side = self._settings.image_size >> self._settings.downsamplings
        for block in self._blocks(codes.astype(np.int64)):
            yield self.network.decode(_channels_last(self.network.quantizer.decode(block, (side, side))))

    def _blocks(self, rows: npt.NDArray[Any]) -> Any:
        with _CPU.prepared():
            for start in range(0, len(rows), self._settings.batch_size):
                yield torch.from_numpy(rows[start : start + self._settings.batch_size])


def _channels_last(batch: Tensor) -> Tensor:
    return batch.contiguous(memory_format=torch.channels_last)
