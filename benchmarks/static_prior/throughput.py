"""Fits per second on all cores: plain torch under plain Ray Tune, and the project's own command."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.static_prior.tables import say, show, spread
from dvq_ray.execution.machine import usable_cores

CORES = usable_cores()
STEPS, BATCH, LEARNING_RATE, EVALUATIONS = 4000, 64, 0.3, 20
TRAIN_SAMPLES, TEST_SAMPLES, FACTORS = 16384, 4096, 64


@dataclass(frozen=True, kw_only=True)
class Shape:
    dimension: int
    codes: int
    slices: int

    def fields(self) -> str:
        """As fields of a sweep file."""
        quantizer = f"quantizer: dvq, slices: {self.slices}" if self.slices > 1 else "quantizer: vq"
        return f"{quantizer}, dimension: {self.dimension}, codebook_size: {self.codes}"


@dataclass(frozen=True, kw_only=True)
class Timing:
    fits: int
    whole_seconds: float
    """From the start of Ray, or of the process, to its end."""
    ended_at: list[float]

    def whole_rate(self) -> float:
        return self.fits / self.whole_seconds

    def steady_rate(self) -> float:
        """Fits per second from when each core ended its first one, so that no start-up and no import is in it."""
        ends = sorted(self.ended_at)
        return (self.fits - CORES) / (ends[-1] - ends[CORES - 1])


SHAPES = (Shape(dimension=16, codes=16, slices=4), Shape(dimension=8, codes=16, slices=1))


def measure(quick: bool) -> None:
    """Runs the three ways in turn, several rounds for each shape."""
    plain, reused, cells, rounds = (2 * CORES, 3 * CORES, 200, 1) if quick else (6, 14, 2000, 2)
    say(
        f"{STEPS} steps, batch {BATCH}, Adam, cosine from {LEARNING_RATE}, {FACTORS} factors, {TRAIN_SAMPLES} training "
        f"vectors, about {EVALUATIONS} evaluations on {TEST_SAMPLES} vectors, {CORES} trials at once on {CORES} cores, "
        f"{rounds} rounds: min / median / max"
    )
    for shape in SHAPES[:1] if quick else SHAPES:
        timings: dict[str, list[Timing]] = {"torch, plain Tune": [], "torch, reuse_actors=True": [], "dvq_ray": []}
        for _ in range(rounds):
            timings["torch, plain Tune"].append(_plain_tune(shape, plain, reuse_actors=False))
            timings["torch, reuse_actors=True"].append(_plain_tune(shape, reused, reuse_actors=True))
            timings["dvq_ray"].append(_dvq_ray(shape, cells))
        say(f"\nD={shape.dimension}, K={shape.codes}, L={shape.slices}")
        _show(timings)


def _show(timings: dict[str, list[Timing]]) -> None:
    whole = {name: [timing.whole_rate() for timing in rounds] for name, rounds in timings.items()}
    steady = {name: [timing.steady_rate() for timing in rounds] for name, rounds in timings.items()}
    *_, reused, ours = timings
    show(
        ("", "fits", "fits/s with start-up", "fits/s steady"),
        [(name, str(timings[name][0].fits), spread(whole[name]), spread(steady[name])) for name in timings],
    )
    for what, rates in (("with start-up", whole), ("steady", steady)):
        ratios = [mine / other for mine, other in zip(rates[ours], rates[reused], strict=True)]
        say(f"{ours} over {reused}, {what}: {spread(ratios, '.0f')}")


def _plain_tune(shape: Shape, fits: int, *, reuse_actors: bool) -> Timing:
    started = time.perf_counter()
    # These decide what is printed and who may connect, not how fast it is.
    os.environ |= {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", "RAY_AIR_NEW_OUTPUT": "0"}
    import ray
    from ray import tune

    with tempfile.TemporaryDirectory(prefix="bench_") as folder:
        ray.init(
            address="local",
            num_cpus=CORES,
            include_dashboard=False,
            _temp_dir=folder,
            logging_level=logging.ERROR,
            log_to_driver=False,
        )
        try:
            logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
            grid = tune.Tuner(
                tune.with_resources(_eager_trial, {"cpu": 1}),
                param_space={"shape": asdict(shape), "seed": tune.grid_search(list(range(fits)))},
                tune_config=tune.TuneConfig(reuse_actors=reuse_actors),
                run_config=tune.RunConfig(storage_path=folder, verbose=0),
            ).fit()
            assert not grid.errors, grid.errors
            ended_at = [(grid[i].metrics or {})["ended_at"] for i in range(len(grid))]
        finally:
            ray.shutdown()
    return Timing(fits=fits, whole_seconds=time.perf_counter() - started, ended_at=ended_at)


def _eager_trial(config: dict[str, Any]) -> None:
    import torch
    from ray import tune
    from sklearn.datasets import make_blobs

    from benchmarks.static_prior.eager import fit

    torch.set_num_threads(1)
    torch.manual_seed(config["seed"])
    shape = Shape(**config["shape"])
    samples, _ = make_blobs(
        n_samples=TRAIN_SAMPLES + TEST_SAMPLES,
        n_features=shape.dimension,
        centers=FACTORS,
        random_state=config["seed"],
    )
    data = torch.from_numpy(samples).float()
    fit(
        data[:TRAIN_SAMPLES],
        data[TRAIN_SAMPLES:],
        torch.rand(shape.slices, shape.codes, shape.dimension // shape.slices) * 2 - 1,
        steps=STEPS,
        batch=BATCH,
        learning_rate=LEARNING_RATE,
        evaluations=EVALUATIONS,
        report=lambda step, mse: tune.report({"step": step, "test_mse": mse, "ended_at": time.time()}),
    )


def _dvq_ray(shape: Shape, cells: int) -> Timing:
    text = f"""\
name: bench
trainable: static_prior
seeds: {cells}
fixed: {{steps: {STEPS}, batch_size: {BATCH}, schedule: cosine, learning_rate: {LEARNING_RATE}}}
grids:
  one: {{{shape.fields()}, factors: {FACTORS}, train_samples: {TRAIN_SAMPLES}}}
"""
    with tempfile.TemporaryDirectory(prefix="bench_") as folder:
        file = Path(folder, "bench.yaml")
        file.write_text(text)
        started = time.perf_counter()
        command = [sys.executable, "-m", "dvq_ray.sweep", str(file), "--results", folder]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        seconds = time.perf_counter() - started
        frame = pd.read_parquet(f"{folder}/bench/cells", columns=["status", "run_started_at", "duration_seconds"])
    assert (frame["status"] == "ok").all()
    assert len(frame) == cells
    began_at = frame["run_started_at"].astype("datetime64[us, UTC]").astype("int64") * 1e-6
    return Timing(fits=cells, whole_seconds=seconds, ended_at=(began_at + frame["duration_seconds"]).tolist())
