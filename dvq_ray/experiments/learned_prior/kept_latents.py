"""Latents that a cell keeps, before they are quantized: vectors on which other quantizers can be compared.

`trainable: vectors` and `dvq-ray compare` read the files, which are as numpy saves them.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from dvq_ray.experiments.learned_prior.autoencoder import Autoencoder
    from dvq_ray.experiments.learned_prior.device import Device, ImageSet
    from dvq_ray.experiments.learned_prior.settings import LearnedPriorSettings

TRAIN, TEST = "train_latents.npy", "test_latents.npy"
MOST_POSITIONS = 1 << 18
"""Rows of a file: positions of evenly spaced images, where all have more."""


def latents_file(model: Autoencoder, images: ImageSet, device: Device, settings: LearnedPriorSettings) -> bytes:
    """float32 [positions, dimension]: image by image, and row by row within an image."""
    import torch  # here, because experiments name these files, and naming one is to cost nothing

    from dvq_ray.experiments.learned_prior.code_counts import spacing
    from dvq_ray.experiments.learned_prior.evaluation import by_position

    def latents(rows: torch.Tensor) -> torch.Tensor:
        with device.autocast():
            found = model.encode_latents(images.rows(rows))
        return by_position(found).cpu()

    with torch.no_grad():
        rows = torch.arange(0, len(images), spacing(len(images), settings.positions, MOST_POSITIONS))
        kept = torch.cat([latents(batch) for batch in torch.split(rows, settings.batch_size)])
    content = io.BytesIO()
    np.save(content, kept.numpy(), allow_pickle=False)
    return content.getvalue()
