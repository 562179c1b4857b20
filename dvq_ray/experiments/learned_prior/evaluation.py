"""A pass over a set of images with the weights as they are: what they cost, and their codes.

Letters in shapes: N images, B of them in a batch, L codebooks, C codes of a codebook in an image.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dvq_ray.experiments.learned_prior.autoencoder import Autoencoder
from dvq_ray.experiments.learned_prior.code_counts import Codes
from dvq_ray.experiments.learned_prior.device import Device, ImageSet
from dvq_ray.quantizer.base import code_type


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Numbers of each image, float64."""

    nats: npt.NDArray[np.float64]
    """[N] reconstruction cost, the mean over sub-pixels."""
    squared_errors: npt.NDArray[np.float64]
    """[N] mean squared error of the expected pixels, white being 1."""
    codebook_loss: float
    """Summed over codebooks, the mean over images."""
    latents: npt.NDArray[np.float32] | None
    """[positions, dimension] of the first images, as many as were asked for."""

    @property
    def reconstruction_bits_per_dim(self) -> float:
        """Cross-entropy of the decoder."""
        return float(self.nats.mean()) / math.log(2)

    @property
    def mse(self) -> float:
        """Mean squared error."""
        return float(self.squared_errors.mean())

    @property
    def psnr_db(self) -> float:
        """Peak signal-to-noise ratio, the mean over images."""
        # An image that is right to a thousandth of a grey level is as good as right.
        return float(np.mean(-10 * np.log10(np.maximum(self.squared_errors, 1e-12))))


@torch.no_grad()
def evaluate(
    model: Autoencoder,
    images: ImageSet,
    device: Device,
    batch_size: int,
    *,
    see_codes: Callable[[Codes], None],
    latent_positions: int = 0,
) -> Evaluation:
    """Runs `model` over all `images`; keeps the unquantized latents of `latent_positions` positions.

    `see_codes` gets the codes [B, L, C] of each batch in turn, in a small type: those of all images may be more than
    memory holds.
    """
    nats, errors, latents = [], [], []
    codebook_loss = torch.zeros((), dtype=torch.float64, device=device.kind)
    kept = 0
    for rows in torch.split(torch.arange(len(images)), batch_size):
        batch = images.rows(rows)
        with device.autocast():
            made = model(batch)
        nats.append(model.likelihood.nats(made.parameters, batch).double())
        errors.append((model.likelihood.expected(made.parameters) - batch / 255).square().double().mean((1, 2, 3)))
        see_codes(_small(made.quantized.indices, made.quantized.codebook_size))
        codebook_loss += made.quantized.codebook_loss.double() * len(rows)
        if kept < latent_positions:
            latents.append(by_position(made.latents)[: latent_positions - kept].cpu())
            kept += len(latents[-1])
    return Evaluation(
        nats=torch.cat(nats).cpu().numpy(),
        squared_errors=torch.cat(errors).cpu().numpy(),
        codebook_loss=float(codebook_loss) / len(images),
        latents=torch.cat(latents).numpy() if latents else None,
    )


def by_position(latents: Tensor) -> Tensor:
    """Latents [B, dimension, h, w] as vectors float32 [B * h * w, dimension], row by row within an image."""
    return latents.float().flatten(2).mT.flatten(0, 1)


@torch.no_grad()
def reconstruct(model: Autoencoder, images: Tensor, device: Device) -> npt.NDArray[np.uint8]:
    """Expected pixels of `images` uint8 [N, 3, H, W], rounded to bytes: [N, 3, H, W]."""
    with device.autocast():
        parameters = model(images).parameters
    expected = model.likelihood.expected(parameters)
    pixels: npt.NDArray[np.uint8] = (expected * 255).round().clamp(0, 255).byte().cpu().numpy()
    return pixels


def _small(indices: Tensor, codebook_size: int) -> Codes:
    """Indices int64 in the smallest type of numpy that holds them, made small on their device."""
    kind = code_type((codebook_size,))
    # torch computes little in unsigned types but bytes: the bits of the signed ones are the same.
    signed = {1: torch.uint8, 2: torch.int16, 4: torch.int32}[kind.itemsize]
    codes: Codes = indices.to(signed).cpu().numpy().view(kind)
    return codes
