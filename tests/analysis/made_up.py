"""Stores of made-up numbers that look like the static prior's, written the way a sweep writes them."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.data.rows import Rows
from dvq_ray.experiment.experiment import Experiment
from dvq_ray.experiment.registry import find_experiment
from dvq_ray.store import Store
from dvq_ray.sweep.cells import Point

Row = dict[str, Any]
STATIC_PRIOR = find_experiment("static_prior")
STARTED_AT = datetime(2026, 1, 1, tzinfo=UTC)
RAN_ON = {"run_device": "made-up processor", "run_versions": '{"dvq_ray": "0.1.0"}'}


def rows(seeds: int | Iterable[int] = 3, **axes: Any) -> Iterator[Row]:
    """A row for every combination of the values given (one, or a list) and every seed."""
    lists = [value if isinstance(value, list) else [value] for value in axes.values()]
    for values in itertools.product(*lists):
        fields = dict(zip(axes, values, strict=True))
        for seed in range(seeds) if isinstance(seeds, int) else seeds:
            yield row(seed=seed, **fields)


def row(*, seed: int, status: str = "ok", **fields: Any) -> Row:
    """One cell's row."""
    cell = {**identity(STATIC_PRIOR, seed=seed, status=status, **fields), **RAN_ON}
    return {**cell, **_metrics(cell)} if status == "ok" else {**cell, "error": f"made up: {status}"}


def identity(experiment: Experiment, *, seed: int, status: str, **fields: Any) -> Row:
    """What a row says before it says what was measured, with the columns that every trainable has."""
    point = Point(experiment=experiment, settings=experiment.settings(fields))
    return {
        "cell_id": point.cell_id(seed),
        "point_id": point.point_id,
        "sweep": "made_up",
        "trainable": experiment.name,
        "revision": experiment.revision,
        **point.settings.columns(),
        "seed": seed,
        "status": status,
        "run_id": "0" * 32,
        "run_commit": "c0ffee",
        "run_started_at": STARTED_AT,
    }


def made_up_rows(cells: Iterable[Row]) -> Rows:
    """The cells as they are loaded, without a store."""
    return Rows(frame=pd.DataFrame(list(cells)).sort_values("cell_id", ignore_index=True), stores=("made up",))


def write(folder: Path, rows: Iterable[Row]) -> str:
    """The location of a store with these rows, each cell once."""
    store = Store(folder)
    store.write_cells(STATIC_PRIOR, [(row, ()) for row in rows])
    store.merge()
    return str(folder)


def _metrics(row: Mapping[str, Any]) -> dict[str, Any]:
    """Losses shaped like those that were measured: rate counts, wide starts hurt in many dimensions."""
    noise = np.random.default_rng(int(hashlib.sha256(row["cell_id"].encode()).hexdigest()[:8], 16))
    dimension, size, slices, factors = (row[c] for c in ("dimension", "codebook_size", "slices", "factors"))
    bits = slices * math.log2(size)
    variance = 34.4 * (1 + noise.normal() * 0.4 / math.sqrt(factors * dimension))
    share = min(1.0, math.log(size) / math.log(factors))
    joint = 1.0 + (variance - 1.0) * (1.0 - share ** (0.7 + math.log2(dimension / slices) / 3))
    loss = min(joint, 1.0 + 1.05 * (variance - 1.0) * 2 ** (-2 * bits / dimension))
    bound = row.get("init_bound")
    if bound is not None:
        lost = min(1.0, max(0.0, math.log10(bound)) * dimension / 150)
        loss += (variance - loss) * lost
    loss = max(1.0, loss * (1 + noise.normal() * (0.01 + 0.5 / factors)))
    untrained = None if bound is None else variance + bound**2 / 3 * min(1.0, math.log2(dimension) / 6 - 0.2)
    return {
        "test_mse": loss,
        "train_mse": loss * 0.99,
        "untrained_test_mse": untrained,
        "data_variance": variance,
        "loss_over_variance": loss / variance,
        "rate_curve_mse": variance * 2 ** (-2 * bits / dimension),
        "bits_per_vector": bits,
        "codebook_parameters": size * dimension,
        "codes_used": [size] * slices,
        "perplexity": [size * 0.9] * slices,
        "last_relative_change": None if bound is None else 0.001,
        "duration_seconds": 1.0,
    }
