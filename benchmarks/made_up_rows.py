"""Stores of a million rows and more for benchmarks: real cells of the static prior with made-up numbers.

The points are about 50,000: the paper's grid, crossed in full, with many more numbers of factors between its own. The
seeds begin where those of the protocol do, so that the paper's claims are decided too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields
from datetime import UTC, datetime
from itertools import islice, product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dvq_ray.declarations.settings import Settings
from dvq_ray.experiment.registry import find_experiment
from dvq_ray.experiments.static_prior.settings import StaticPriorMetrics
from dvq_ray.store import Store, cell_schema
from dvq_ray.store.merging import in_parquet
from dvq_ray.sweep.cells import Point

EXPERIMENT = find_experiment("static_prior")
FIRST_SEED, SEEDS = 1000, 20
_MOST_REPETITIONS = 198
_POINTS_AT_ONCE = 1000
_LISTS = ("codes_used", "perplexity", "test_codes_used", "test_perplexity", "unseen_codes", "unseen_codes_low",
          "unseen_codes_high")  # fmt: skip
"""Metrics with an entry for each codebook."""
FACTORS = [round(16 * 2 ** (step / 8)) for step in range(87)]


def grids(factors: list[int]) -> dict[str, dict[str, Any]]:
    """The grids of a sweep file with these points."""
    found = {}
    for dimension in (2, 4, 8, 16, 32, 64, 128, 256):
        rate, steps = (0.3, 4000) if dimension <= 32 else (0.2, 2000) if dimension == 64 else (0.1, 2000)
        blobs = {"dimension": dimension, "codebook_size": [16, 64, 256, 1024], "factors": factors}
        trained = {**blobs, "init_bound": [0.05, 1.0, 10.0, 17.3], "learning_rate": rate, "steps": steps}
        cuts = [slices for slices in (2, 4, 8) if dimension % slices == 0]
        found[f"vq_{dimension}"] = {"quantizer": "vq", **trained}
        found[f"dvq_{dimension}"] = {"quantizer": "dvq", "slices": cuts, **trained}
        found[f"kmeans_{dimension}"] = {"quantizer": "kmeans", "slices": [1, *cuts], **blobs}
    return found


def _settings(factors: list[int]) -> Iterator[Settings]:
    for grid in grids(factors).values():
        axes = [value if isinstance(value, list) else [value] for value in grid.values()]
        for values in product(*axes):
            yield EXPERIMENT.settings(dict(zip(grid, values, strict=True)))


def tables(factors: list[int], seeds: range) -> Iterator[pa.Table]:
    """The rows of these seeds of all points, some 20,000 at a time.

    Losses lie between the variance and what their bits allow; their noise is that of few factors.
    """
    noise = np.random.default_rng(seeds.start)
    shared = {
        "sweep": "made_up", "trainable": EXPERIMENT.name, "revision": EXPERIMENT.revision, "status": "ok",
        "run_id": "0" * 32, "run_commit": "c0ffee" * 7, "run_host": "made-up", "run_device": "cpu",
        "run_versions": json.dumps({"numpy": "2.4", "python": "3.11"}), "run_started_at": datetime.now(UTC),
    }  # fmt: skip
    schema = cell_schema(EXPERIMENT)
    settings_of_all = _settings(factors)
    while some := list(islice(settings_of_all, _POINTS_AT_ONCE)):
        points = [Point(experiment=EXPERIMENT, settings=settings) for settings in some]
        heads = [{**shared, "point_id": point.point_id, **point.settings.columns()} for point in points]
        known = pa.Table.from_pylist(heads, schema).take(np.repeat(np.arange(len(points)), len(seeds)))
        numbers = _numbers(points, heads, len(seeds), noise)
        numbers["cell_id"] = pa.array([point.cell_id(seed) for point in points for seed in seeds])
        numbers["seed"] = pa.array(np.tile(seeds, len(points)))
        yield pa.table({name: numbers.get(name, known[name]) for name in schema.names}, schema)


def _numbers(
    points: list[Point], heads: list[dict[str, Any]], seeds: int, noise: np.random.Generator
) -> dict[str, pa.Array]:
    """The metrics of the cells, by column; those of a point side by side."""

    def column(name: str) -> Any:
        return np.repeat([head.get(name, np.nan) for head in heads], seeds)

    dimension, size, factors, bound = (column(n) for n in ("dimension", "codebook_size", "factors", "init_bound"))
    slices = np.nan_to_num(column("slices"), nan=1).astype(int)
    bits = np.repeat([point.settings.code_bits() for point in points], seeds)
    first, second = noise.normal(size=(2, len(bits)))
    lost = np.clip(np.nan_to_num(np.log10(bound)) * dimension / 150, 0, 1)
    variance = 34.4 * (1 + first * 0.4 / (factors * dimension) ** 0.5)
    rate = variance * 2 ** (-2 * bits / dimension)
    loss = (rate + (variance - rate) * lost) * (1 + second * (0.01 + 0.3 / factors))
    starts = np.concatenate([[0], np.cumsum(slices)])
    sizes = np.repeat(size, slices)
    perplexity = sizes * (0.9 + 0.01 * noise.normal(size=len(sizes)))
    entries = dict.fromkeys(_LISTS, np.zeros(len(sizes)))
    entries |= {"perplexity": perplexity, "test_perplexity": perplexity, "codes_used": sizes, "test_codes_used": sizes}
    plain = {
        "test_mse": loss, "train_mse": 0.99 * loss, "untrained_test_mse": variance + bound, "data_variance": variance,
        "loss_over_variance": loss / variance, "rate_curve_mse": rate, "bits_per_vector": bits,
        "codebook_parameters": size * dimension, "last_relative_change": np.where(np.isnan(bound), np.nan, 0.001),
        "entropy_bits_per_vector": 0.98 * bits, "vectors_per_code": 16384 / size,
        "codec_bytes": 4 * size * dimension, "duration_seconds": np.ones(len(bits)),
    }  # fmt: skip
    assert {field.name for field in fields(StaticPriorMetrics)} <= {*plain, *_LISTS}
    kinds = {field.name: field.type for field in cell_schema(EXPERIMENT)}
    return {name: pa.array(values, from_pandas=True).cast(kinds[name]) for name, values in plain.items()} | {
        name: pa.ListArray.from_arrays(starts.astype(np.int32), pc.cast(pa.array(values), kinds[name].value_type))
        for name, values in entries.items()
    }


def write_store(folder: Path, *, quick: bool = False, rows_of_a_file: int = 1000, repetitions: int = SEEDS) -> int:
    """A store with its sweep file, in files of so many rows. Returns the number of rows: a million, or so.

    At most ten million, which is what a sweep file may name.
    """
    factors = FACTORS[::16] if quick else FACTORS
    repetitions = min(repetitions, _MOST_REPETITIONS)
    named = {name: {**grid, "seeds": list(range(FIRST_SEED, FIRST_SEED + repetitions))}
             for name, grid in grids(factors).items()}  # fmt: skip
    text = {"name": "made_up", "trainable": EXPERIMENT.name, "max_cells": 10_000_000, "grids": named}
    Store(folder).write_sweep(json.dumps(text))  # which is YAML too
    (folder / "cells").mkdir()
    written = 0
    for start in range(FIRST_SEED, FIRST_SEED + repetitions, SEEDS):
        waiting: list[pa.Table] = []
        held = 0
        for table in (*tables(factors, range(start, min(start + SEEDS, FIRST_SEED + repetitions))), None):
            if table is not None:
                waiting.append(table)
                held += len(table)
            whole = pa.concat_tables(waiting) if held >= rows_of_a_file or table is None else None
            if whole is not None:
                end = len(whole) if table is None else len(whole) - len(whole) % rows_of_a_file
                for at in range(0, end, rows_of_a_file):
                    piece = whole.slice(at, min(rows_of_a_file, end - at))
                    path = folder / "cells" / f"{len(piece)}-cells-{written:016x}.parquet"
                    path.write_bytes(in_parquet(piece))
                    written += len(piece)
                waiting, held = [whole.slice(end)], len(whole) - end
    return written
