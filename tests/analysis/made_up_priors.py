"""Rows of made-up priors over the codes of made-up models."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from dvq_ray.experiment.registry import find_experiment
from tests.analysis import made_up, made_up_images
from tests.analysis.made_up import Row, identity

CODE_PRIOR = find_experiment("code_prior")
LADDER = {"uniform": 1.0, "unigram": 0.9, "positional": 0.88, "chain": 0.7, "spatial": 0.5}
"""What codes cost, as a share of the nominal rate."""


def of(parents: Iterable[Row], priors: Iterable[str] = LADDER, **fields: Any) -> list[Row]:
    """A row for each prior of each parent's codes, with what the parent's row has of a quantizer."""
    return [_row(parent, prior, fields) for parent in parents for prior in priors]


def images(models: Any = made_up_images.SMALL, seeds: int = 3, **fields: Any) -> list[Row]:
    """Parents that are auto-encoders."""
    return made_up_images.sweep(models, seeds=seeds, **fields)


def vectors(seeds: int = 3) -> list[Row]:
    """Parents that quantize blobs."""
    return [*made_up.rows(seeds, quantizer="dvq", dimension=16, factors=64, codebook_size=16, slices=[2, 4])]


def _row(parent: Row, prior: str, fields: Any) -> Row:
    quantizer = parent["quantizer"]
    names = CODE_PRIOR.variant(quantizer).model_fields.keys() - {"prior", "coded", "parent_point_id"}
    own = {name: parent[name] for name in names if name in parent and not name.startswith("prior_")}
    cell = identity(
        CODE_PRIOR, seed=parent["seed"], status="ok", parent_point_id=parent["point_id"], prior=prior, **own, **fields
    )
    images = "reconstruction_bits_per_dim" in parent
    numbers = 3 * parent["image_size"] ** 2 if images else parent["dimension"]
    uniform = numbers * parent["code_bits_per_dim_uniform"] if images else parent["slices"] * math.log2(16)
    cost = uniform * LADDER[prior] * (1 + 0.01 * parent["seed"])
    reconstruction = parent.get("reconstruction_bits_per_dim")
    return {
        **cell, **made_up_images.RAN_ON, "code_bits_per_sample": cost, "train_code_bits_per_sample": cost,
        "uniform_bits_per_sample": uniform, "code_bits_over_uniform": cost / uniform,
        "code_bits_per_dim": cost / numbers,
        "reconstruction_bits_per_dim": reconstruction, "parent_loss": 1.0, "parent_metric": "made_up",
        "total_bits_per_dim": None if reconstruction is None else reconstruction + cost / numbers,
        "coded_bytes": None, "coded_over_likelihood": None, "prior_bytes": 1000, "prior_parameters": 500,
        "stopped_at_step": None, "parent_cell_id": parent["cell_id"], "parent_trainable": parent["trainable"],
        "parent_sweep": "made_up_parents", "dimension": parent["dimension"], "train_rows": 3808, "test_rows": 625,
        "data_sha256": parent.get("data_sha256"), "codes_sha256": "c0de", "duration_seconds": 10.0,
    }  # fmt: skip
