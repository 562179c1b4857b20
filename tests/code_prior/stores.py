"""Small stores whose cells kept their codes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from dvq_ray import run_sweep

IMAGES: dict[str, Any] = {
    "image_size": 8, "dimension": 4, "codebook_size": 4, "downsamplings": 1, "stem_channels": 4, "body_channels": 4,
    "residual_channels": 4, "residual_blocks": 1, "logistic_mixtures": 2, "batch_size": 4, "steps": 4,
}  # fmt: skip
GRIDS: dict[str, dict[str, Any]] = {
    "dvq": {"quantizer": "dvq", "slices": 2},
    "svq": {"quantizer": "svq", "slices": 2, "joint_positions": 2},
    "vq": {"quantizer": "vq", "joint_codebooks": 2},
}
BLOBS: dict[str, Any] = {"dimension": 4, "factors": 16, "train_samples": 600}


def write_images(folder: Path, train: int = 24, test: int = 8) -> dict[str, Any]:
    """Pictures of 8x8 in folders, and how a sweep file describes them."""
    for split, count in (("train", train), ("test", test)):
        (folder / split).mkdir(parents=True)
        for place in range(count):
            rng = np.random.default_rng([place, count])
            pixels = np.clip(rng.normal(128, 30, (1, 1, 3)) + rng.normal(0, 25, (8, 8, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / split / f"{place}.png")
    return {"format": "folder", "train": str(folder / "train"), "test": str(folder / "test")}


def image_sweep(folder: Path, **more: Any) -> dict[str, Any]:
    """Of images that are written to a folder, unless they are there."""
    data = {"format": "folder", "train": str(folder / "train"), "test": str(folder / "test")}
    if not (folder / "train").exists():
        write_images(folder)
    return {
        "name": "images", "trainable": "learned_prior", "data": {"mine": data}, "fixed": {"dataset": "mine", **IMAGES},
        "seeds": 2, "grids": GRIDS, "keep": ["codes"], **more,
    }  # fmt: skip


def blob_sweep(**more: Any) -> dict[str, Any]:
    """Of blobs: codes of vectors."""
    return {
        "name": "blobs", "trainable": "static_prior", "fixed": BLOBS, "seeds": 2, "keep": ["codes"],
        "grids": {"kmeans": {"quantizer": "kmeans", "slices": [1, 2], "codebook_size": 8}}, **more,
    }  # fmt: skip


SMALL: dict[str, Any] = {
    "prior_width": 8, "prior_steps": 20, "prior_batch_positions": 64, "prior_learning_rate": 0.01,
}  # fmt: skip
LADDER: dict[str, dict[str, Any]] = {
    "tables": {"prior": ["uniform", "unigram"]},
    "positional": {"prior": "positional"},
    "chain": {"prior": "chain", **SMALL},
    "spatial": {"prior": "spatial", "prior_convolutions": 2, **SMALL},
}


def prior_sweep(store: Path, **more: Any) -> dict[str, Any]:
    """All priors of all points of a store."""
    return {"name": "priors", "trainable": "code_prior", "codes_of": str(store), "seeds": 2, "grids": LADDER, **more}


def run(sweep: dict[str, Any], results: Path) -> pd.DataFrame:
    """All rows of it, each of which finished."""
    frame = run_sweep(sweep, results=results, in_process=True)
    assert (frame["status"] == "ok").all(), frame["error"].tolist()
    return frame
