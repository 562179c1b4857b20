"""Stores of made-up numbers that look like the learned prior's, with curves and pictures, written as a sweep writes."""

from __future__ import annotations

import hashlib
import io
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from sklearn.datasets import load_sample_image

from dvq_ray.experiment.registry import find_experiment
from dvq_ray.store import Store
from tests.analysis.made_up import Row, identity

LEARNED_PRIOR = find_experiment("learned_prior")
PICTURE = "reconstructions.png"
RAN_ON = {"run_device": "Made-up Device", "run_versions": '{"python": "3.11.7", "torch": "2.13.0"}'}

SMALL: tuple[dict[str, Any], ...] = (
    {"quantizer": "vq", "dimension": 16},
    {"quantizer": "vq", "dimension": 16, "joint_codebooks": 4},
    {"quantizer": "vq", "dimension": 64},
    {"quantizer": "dvq", "dimension": 64, "slices": 4},
    {"quantizer": "svq", "dimension": 16, "slices": 8},
    {"quantizer": "svq", "dimension": 16, "slices": 8, "joint_positions": 8},
)
"""Six models, as the small sweep on photographs has them."""
PAPER: tuple[dict[str, Any], ...] = (
    {"quantizer": "vq", "dimension": 255},
    {"quantizer": "vq", "dimension": 255, "joint_codebooks": 10},
    {"quantizer": "vq", "dimension": 2550},
    {"quantizer": "dvq", "dimension": 2550, "slices": 10},
    {"quantizer": "svq", "dimension": 255, "slices": 8},
    {"quantizer": "svq", "dimension": 255, "slices": 8, "joint_positions": 8},
)
"""The same at the paper's sizes."""


def sweep(models: Iterable[Mapping[str, Any]] = SMALL, seeds: int | Iterable[int] = 3, **fields: Any) -> list[Row]:
    """Rows of every model and seed; a model's own fields stand before those that all share."""
    shared = {"codebook_size": 64, "steps": 400, "batch_size": 32, "learning_rate": 1e-3, **fields}
    some = range(seeds) if isinstance(seeds, int) else list(seeds)
    return [row(seed=seed, **{**shared, **model}) for model, seed in itertools.product(models, some)]


def row(*, seed: int, status: str = "ok", **fields: Any) -> Row:
    """One cell's row."""
    cell = {**identity(LEARNED_PRIOR, seed=seed, status=status, **fields), **RAN_ON}
    return {**cell, **_metrics(cell)} if status == "ok" else {**cell, "error": f"made up: {status}"}


def curve(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Logged steps: from 8 bits down to the row's reconstruction; the training batches of step 0 do not exist."""
    noise, end = _noise(row, "curve"), row["reconstruction_bits_per_dim"]
    early, late = np.geomspace(1, row["steps"] // 16, 9), np.linspace(0, row["steps"], 17)
    points, before = [], 8.0
    for step in np.unique(np.concatenate([early, late]).round().astype(int)).tolist():
        share = step / row["steps"]
        fallen = (8.0 - end) * math.exp(-60 * share) + 0.25 * (math.exp(-4 * share) - math.exp(-4))
        test = end + fallen * (1 + noise.normal() * 0.03)
        points.append(
            {
                "step": step,
                "reconstruction_bits_per_dim": test,
                "train_reconstruction_bits_per_dim": (test + before) / 2 - 0.05 if step else None,
                "mse": 0.01,
                "total_bits_per_dim_uniform": test + row["code_bits_per_dim_uniform"],
                "mean_perplexity": 20.0,
                "training_seconds": step * 0.1,
            }
        )
        before = test
    return points


def picture(row: Mapping[str, Any]) -> bytes:
    """Eight crops of a photograph, and beneath them the same with the detail that the bits leave."""
    size = int(row["image_size"])
    originals = _crops(size)
    coarse = 2 if row["code_bits_per_dim_uniform"] > 0.5 else 4
    blocks = originals.reshape(8, size // coarse, coarse, size // coarse, coarse, 3).mean((2, 4))
    made = blocks.repeat(coarse, 1).repeat(coarse, 2) + _noise(row, "picture").normal(0, 6, originals.shape)
    both = np.stack([originals, made.clip(0, 255).round().astype(np.uint8)])
    return png(both.transpose(0, 2, 1, 3, 4).reshape(2 * size, 8 * size, 3))


def png(pixels: npt.NDArray[np.uint8]) -> bytes:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, format="png")
    return content.getvalue()


def write(folder: Path, rows: Iterable[Row], *, curves: bool = True, pictures: bool = True) -> str:
    """The location of a store with these rows, and the curves and artifacts of those that finished."""
    store, cells = Store(folder), [*rows]
    finished = [row["status"] == "ok" for row in cells]
    for row in itertools.compress(cells, finished if pictures else ()):
        store.write_artifact(row["cell_id"], PICTURE, picture(row))
    store.write_cells(
        LEARNED_PRIOR, [(row, curve(row) if ok and curves else ()) for row, ok in zip(cells, finished, strict=True)]
    )
    store.merge()
    return str(folder)


def _noise(row: Mapping[str, Any], purpose: str) -> np.random.Generator:
    return np.random.default_rng(int(hashlib.sha256(f"{row['cell_id']} {purpose}".encode()).hexdigest()[:8], 16))


@cache
def _crops(size: int) -> npt.NDArray[np.uint8]:
    photograph = load_sample_image("china.jpg")
    corners: Iterator[tuple[int, int]] = itertools.product((120, 200), (60, 200, 340, 480))
    step = max(1, 96 // size)
    return np.stack([photograph[y:, x:][: step * size : step, : step * size : step] for y, x in corners])


def _dependence(row: Mapping[str, Any], codebooks: int) -> dict[str, float]:
    """Codes of a position that know of each other, those of DVQ less than those of VQ; of SVQ nothing is known."""
    if row["quantizer"] == "svq":
        return {}
    own = codebooks * math.log2(row["codebook_size"] * 0.5)
    if codebooks == 1:
        return {"joint_code_entropy_bits": own, "code_cross_entropy_bits": own}
    noise = 0.05 * _noise(row, "dependence").normal(size=4)
    cost = {"code_cross_entropy_bits": 0.9 * own}
    if row["quantizer"] == "vq":
        return {**cost, "joint_code_entropy_bits": min(own, 12.0), "slice_dependence_bits": 2.0 + noise[0]}
    return {
        **cost,
        "joint_code_entropy_bits": min(own, 14.0),
        "slice_dependence_bits": 0.8 + noise[0],
        "slice_dependence_bits_refit": 0.7 + noise[1],
        "slice_dependence_bits_shuffled": 2.4 + noise[2],
        "slice_dependence_bits_random_mean": 2.4 + noise[3] / 4,
        "slice_dependence_bits_random_deviation": 0.05,
    }


def _metrics(row: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers shaped like those that were measured: more bits in the codes, fewer in what is left."""
    positions = (row["image_size"] // 2 ** row["downsamplings"]) ** 2
    codes = row["joint_codebooks"] * (row["slices"] if row["quantizer"] == "dvq" else 1) / row["joint_positions"]
    uniform = codes * positions * math.log2(row["codebook_size"]) / (3 * row["image_size"] ** 2)
    reconstruction = 5.4 - 0.75 * math.log2(1 + 2 * uniform) + _noise(row, "metrics").normal() * 0.02
    reconstruction += {"vq": 0.1, "dvq": 0.0, "svq": 0.2}[row["quantizer"]] - 0.01 * math.log2(row["dimension"])
    width = row["dimension"] * row["joint_codebooks"]
    codebooks = row["slices"] * row["joint_codebooks"]
    return {
        **_dependence(row, codebooks),
        "reconstruction_bits_per_dim": reconstruction,
        "train_reconstruction_bits_per_dim": reconstruction - 0.05,
        "code_bits_per_dim_uniform": uniform,
        "code_bits_per_dim_unigram": 0.8 * uniform,
        "train_code_bits_per_dim_unigram": 0.8 * uniform,
        "total_bits_per_dim_uniform": reconstruction + uniform,
        "total_bits_per_dim_unigram": reconstruction + 0.8 * uniform,
        "train_total_bits_per_dim_unigram": reconstruction + 0.8 * uniform - 0.05,
        "mse": 10 ** (-2 - uniform / 2),
        "train_mse": 10 ** (-2 - uniform / 2),
        "psnr_db": 20.0 + 5 * uniform + _noise(row, "distortion").normal() * 0.2,
        "codebook_loss": 0.1,
        "codes_used": [row["codebook_size"] * (3 if i % 2 else 4) // 4 for i in range(codebooks)],
        "perplexity": [row["codebook_size"] * 0.5] * codebooks,
        "images_per_second": 300.0,
        "peak_memory_bytes": 10**9,
        "parameters": 4_000_000 + 4_600 * width,
        "codebook_parameters": row["codebook_size"] * width,
        "precision": "float32",
        "train_images": 3808,
        "test_images": 625,
        "data_sha256": hashlib.sha256(f"{row['dataset']} {row['image_size']}".encode()).hexdigest(),
        "duration_seconds": 30.0,
    }
