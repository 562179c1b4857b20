"""What a hundred thousand cells and thousands of packs cost besides computing them."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console

from benchmarks.static_prior.tables import say, show, spread
from dvq_ray.execution.grid_packs import GridPacks
from dvq_ray.execution.job import Job
from dvq_ray.execution.progress import Progress
from dvq_ray.execution.tune.under_tune import UnderTune
from dvq_ray.experiment.registry import find_experiment
from dvq_ray.experiment.surroundings import Surroundings
from dvq_ray.experiments.static_prior.settings import StaticPriorMetrics
from dvq_ray.process.interruption import Interruption
from dvq_ray.store import Store, cell_schema
from dvq_ray.store.provenance import Run
from dvq_ray.sweep.cells import Pack, Point, expand
from dvq_ray.sweep.plan import make_plan
from dvq_ray.sweep.spec import Resources, load_sweep

PLANNING_SECONDS, RESUMING_SECONDS, GROWTH_MB = 3.0, 5.0, 20.0
"""What each may take at most."""


def _sweep_file(folder: str, points: int, seeds: int) -> Path:
    """A sweep of so many points, a multiple of 1000."""
    path = Path(folder, f"{points}.yaml")
    path.write_text(f"""\
name: many
trainable: static_prior
seeds: {seeds}
grids:
  one:
    quantizer: vq
    dimension: {list(range(1, 101))}
    codebook_size: {list(range(2, 12))}
    factors: {list(range(1, points // 1000 + 1))}
""")
    return path


def planning(quick: bool) -> None:
    """From a sweep file to what is to be run, with an empty store."""
    scale, rounds = (10, 2) if quick else (1, 5)
    rows = []
    with tempfile.TemporaryDirectory(prefix="bench_") as folder:
        for points, seeds in ((100_000 // scale, 1), (20_000 // scale, 5), (5_000 // min(scale, 5), 20)):
            path, times, cpu_times = _sweep_file(folder, points, seeds), [], []
            for _ in range(rounds):
                started, started_cpu = time.perf_counter(), time.process_time()
                plan = make_plan(load_sweep(path), Store(f"{folder}/many"), retry_failed=False)
                times.append(time.perf_counter() - started)
                cpu_times.append(time.process_time() - started_cpu)
                assert len(plan.to_run) == points * seeds
                del plan
            rows.append((f"{points:,} points x {seeds} seeds", spread(times), spread(cpu_times)))
    say(f"load_sweep and make_plan, {rounds} rounds: min / median / max; wanted: < {PLANNING_SECONDS:g} s")
    show(("", "seconds", "CPU seconds"), rows)


def resuming(quick: bool) -> None:
    """The command line on a store that has every cell."""
    cells, rounds = (10_000, 2) if quick else (100_000, 5)
    rows = []
    with tempfile.TemporaryDirectory(prefix="bench_") as folder:
        for points, seeds in ((cells, 1), (cells // 20 // 1000 * 1000 or 1000, 20)):
            path = _sweep_file(folder, points, seeds)
            file = Path(folder, f"{points}", "many", "cells", "all.parquet")
            _write_finished(path, file)
            times = []
            for _ in range(rounds):
                started = time.perf_counter()
                command = [sys.executable, "-m", "dvq_ray.sweep", str(path), "--results", f"{folder}/{points}"]
                output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
                times.append(time.perf_counter() - started)
                done = f"{points * seeds:,}"
                assert f"{done} of {done} cells done, 0 failed" in output, output
                assert len(list(file.parent.iterdir())) == 1, "something was run"
            rows.append((f"{points:,} points x {seeds} seeds", spread(times)))
    say(
        f"python -m dvq_ray.sweep, the whole process, on a finished store of one file without curves, {rounds} rounds: "
        f"min / median / max; wanted: < {RESUMING_SECONDS:g} s"
    )
    show(("", "seconds"), rows)


def _write_finished(path: Path, file: Path) -> None:
    """A row for every cell, with numbers that stand for results."""
    cells, _ = expand(load_sweep(path))
    experiment = cells[0].point.experiment
    lists = {"codes_used": [16], "perplexity": [12.5]}
    metrics = {field.name: lists.get(field.name, 1) for field in fields(StaticPriorMetrics)}
    shared = {
        "sweep": "many",
        "trainable": experiment.name,
        "revision": experiment.revision,
        "status": "ok",
        "run_id": "0" * 32,
        "run_started_at": datetime.now(UTC),
        **metrics,
    }
    rows = [
        {
            **shared,
            **cell.point.settings.columns(),
            "cell_id": cell.cell_id,
            "point_id": cell.point.point_id,
            "seed": cell.seed,
            "duration_seconds": cell.nominal_seconds(),
        }
        for cell in cells
    ]
    file.parent.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows, cell_schema(experiment)), file, compression="zstd")


class Moment(NamedTuple):
    """What this process has taken by now. The clocks begin anywhere."""

    resident_mb: float
    seconds: float
    cpu_seconds: float

    @staticmethod
    def now() -> Moment:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return Moment(pages * os.sysconf("SC_PAGE_SIZE") / 1e6, time.perf_counter(), time.process_time())


class _Samples(Progress):
    """Notes what the driver has taken at every hundredth cell."""

    def __init__(self, cells: int) -> None:
        super().__init__(cells, 1.0, Console(quiet=True))
        self.at: dict[int, Moment] = {}

    def advance(self, done: int, failed: int, nominal_seconds: float) -> None:
        super().advance(done, failed, nominal_seconds)
        assert not self.failed
        if done and self.done % 100 == 0:
            self.at[self.done] = Moment.now()


def tiny_packs(count: int, cells: int = 1) -> list[Pack]:
    """Packs of so many cells each that do next to nothing."""
    experiment = find_experiment("static_prior")
    tiny = {"quantizer": "vq", "dimension": 2, "codebook_size": 2, "factors": 1, "train_samples": 64, "steps": 1}
    point = Point(experiment=experiment, settings=experiment.settings(tiny))
    return [Pack(cells=[point.cell(pack * cells + seed) for seed in range(cells)]) for pack in range(count)]


@dataclass(frozen=True, kw_only=True)
class TinyRun:
    """What was seen of a run of such packs, by a driver that runs in this process."""

    before: Moment
    after: Moment
    at: dict[int, Moment]
    """After each hundred cells."""


def run_tiny(packs: Sequence[Pack], location: str) -> TinyRun:
    """Runs the packs under Tune into a store there, which is not merged."""
    count = sum(len(pack.cells) for pack in packs)
    samples, executor, resources = _Samples(count), UnderTune(None), Resources()
    with Interruption() as interruption, executor.started(resources):
        interruption.listen()
        job = Job(
            store=Store(location),
            run=Run.start("tiny"),
            resources=resources,
            surroundings=Surroundings(),
            progress=samples,
            interruption=interruption,
        )
        before = Moment.now()
        executor.run(GridPacks(packs, job), job)
        return TinyRun(before=before, after=Moment.now(), at=samples.at)


def memory(quick: bool) -> None:
    """The driver's memory over packs of one cell."""
    count = 400 if quick else 2000
    with tempfile.TemporaryDirectory(prefix="bench_") as folder:
        run = run_tiny(tiny_packs(count), f"{folder}/tiny")
    started = run.before.seconds
    seconds = run.after.seconds - started
    quarters = [count * i // 4 for i in range(1, 5)]
    first, last = run.at[quarters[0]].resident_mb, run.at[quarters[-1]].resident_mb
    say(f"{count:,} packs of one cell of next to nothing, 1 run, {seconds:.0f} s in all")
    show(
        ("packs", "resident MB", "seconds since the start"),
        [("0", f"{run.before.resident_mb:.0f}", "0.0")]
        + [(f"{n:,}", f"{run.at[n].resident_mb:.0f}", f"{run.at[n].seconds - started:.1f}") for n in quarters],
    )
    laps = [(run.at[n].seconds - run.at[n - 100].seconds) * 10 for n in range(200, count + 1, 100)]
    say(f"milliseconds per pack, over hundreds of packs, min / median / max: {spread(laps, '.1f')}")
    growth = 1000 * (last - first) / (quarters[-1] - quarters[0])
    say(
        f"growth from pack {quarters[0]:,} to {quarters[-1]:,}: {last - first:.0f} MB, {growth:.0f} MB per 1000 packs; "
        f"wanted: < {GROWTH_MB:g} MB from 500 to 2,000"
    )
