"""`python -m benchmarks.orchestration`: what a sweep costs besides computing its cells, side by side with other ways.

Cells of next to nothing show what a cell costs in one process, under Ray and as a plain Ray task; small fits show what
that is worth. With `--against` another checkout of this repository is measured too, by turns with this one, so that a
busy machine slows both alike. Each way is a process of its own, and what is shown are medians.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import pandas as pd

from benchmarks.static_prior.tables import say, show
from dvq_ray.execution.machine import usable_cores

HERE = Path(__file__).resolve().parents[1]
Measured = Mapping[str, float]

TRIVIAL = """\
name: trivial
trainable: static_prior
seeds: {seeds}
fixed: {{steps: 1, train_samples: 64, factors: 1}}
grids:
  one:
    quantizer: vq
    dimension: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
    codebook_size: [2, 3, 4, 5, 6, 7, 8, 9, 10, 11]
"""
SMALL = """\
name: small
trainable: static_prior
seeds: {seeds}
fixed: {{steps: 4000, batch_size: 64, factors: 64, dimension: 16, codebook_size: 16}}
grids:
  one:
    quantizer: dvq
    slices: 4
    learning_rate: [0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5]
"""
RAY_TASKS = """\
import json, logging, os, sys, time
os.environ |= {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
import ray
from dvq_ray.experiment.registry import find_experiment
from dvq_ray.experiment.surroundings import Surroundings
from dvq_ray.execution.pack import run_cell
from dvq_ray.store.provenance import Run
from dvq_ray.sweep.cells import Point
count, cores = int(sys.argv[1]), int(sys.argv[2])
ray.init(address="local", num_cpus=cores, include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False)
@ray.remote(num_cpus=1)
def cell(seed):
    experiment = find_experiment("static_prior")
    fields = {"quantizer": "vq", "dimension": 5, "codebook_size": 5, "steps": 1, "train_samples": 64, "factors": 1}
    point = Point(experiment=experiment, settings=experiment.settings(fields))
    run_cell(point.cell(seed), Run(run_id="", sweep="", commit=""), Surroundings())
    return time.time()
ended = sorted(ray.get([cell.remote(seed) for seed in range(count)]))
print(json.dumps(ended))
ray.shutdown()
"""
PACK = """\
import dataclasses, sys, tempfile, time
from dvq_ray.execution.pack import run_pack
from dvq_ray.experiment.registry import find_experiment
from dvq_ray.experiment.surroundings import Surroundings
from dvq_ray.store import Store
from dvq_ray.store.provenance import Run
from dvq_ray.sweep.cells import Pack, Point
experiment, inside = find_experiment("static_prior"), 0.0
fields = {"quantizer": "vq", "dimension": 5, "codebook_size": 5, "steps": 1, "train_samples": 64, "factors": 1}
run = experiment.load_run()
def timed(*arguments):
    global inside
    began = time.process_time()
    outcomes = list(run(*arguments))
    inside += time.process_time() - began
    yield from outcomes
point = Point(experiment=dataclasses.replace(experiment, run=timed), settings=experiment.settings(fields))
for cells in (20, int(sys.argv[1])):  # the first warm up
    with tempfile.TemporaryDirectory() as folder:
        pack = Pack(cells=[point.cell(seed) for seed in range(cells)])
        began, inside = time.process_time(), 0.0
        for _ in run_pack(pack, Store(folder), Run.start("pack"), Surroundings()):
            pass
        seconds = time.process_time() - began - inside
print(1e3 * seconds / cells)
"""
ENDS = """\
import json, os, sys, tempfile
import dvq_ray.execution.tune.under_tune as under_tune
os.environ.update(under_tune.QUIET_RAY)
from benchmarks.static_prior.scale import run_tiny, tiny_packs
from dvq_ray import load_results
under_tune.PACKS_AT_ONCE = 100  # of an older version, whose controllers got so many
with tempfile.TemporaryDirectory() as folder:
    run_tiny(tiny_packs(200), folder + "/tiny")
    began = load_results(folder + "/tiny")["run_started_at"]
print(json.dumps(sorted(each.timestamp() for each in began)))
"""


@dataclass(frozen=True, kw_only=True)
class Checkout:
    """A version of the code."""

    name: str
    path: Path

    def run(self, *arguments: str) -> str:
        """What a Python process prints that imports this version."""
        environment = {**os.environ, "PYTHONPATH": str(self.path)}
        command = [sys.executable, *arguments]
        return subprocess.run(
            command, cwd=self.path, env=environment, check=True, stdout=subprocess.PIPE, text=True
        ).stdout

    def sweep(self, file: Path, *flags: str) -> Measured:
        """Runs a sweep into an empty store. Seconds, and cells a second."""
        with tempfile.TemporaryDirectory(prefix="bench_") as results:
            began = time.time()
            self.run("-m", "dvq_ray.sweep", str(file), "--results", results, *flags)
            ended = time.time()
            columns = ["status", "run_started_at", "duration_seconds"]
            rows = pd.read_parquet(next(Path(results).iterdir()) / "cells", columns=columns)
        assert (rows["status"] == "ok").all()
        starts = rows["run_started_at"].astype("datetime64[us, UTC]").astype("int64").to_numpy() * 1e-6
        computing = rows["duration_seconds"].to_numpy()
        ends = np.sort(starts + computing)
        return {
            "rate": _rate(ends),
            "first": starts.min() - began,
            "last": ended - ends[-1],
            "whole": ended - began,
            "besides": 1e3 * (ends[-1] - starts.min() - computing.sum()) / len(rows),
        }


def _rate(ends: np.ndarray) -> float:
    """Per second, from the first tenth of what ended, so that no start-up is in it."""
    first = len(ends) // 10
    return float((len(ends) - 1 - first) / (ends[-1] - ends[first]))


@dataclass(frozen=True, kw_only=True)
class Part:
    """Something to measure of each checkout."""

    measure: Callable[[Checkout], Measured]
    shown: Mapping[str, str]
    """What is shown of it: its words."""
    has_peer: bool = False
    """Whether it is not of this repository, so that another checkout is not measured."""


def parts(folder: Path, cells: int, fits: int) -> Mapping[str, Part]:
    """All parts, by name."""
    trivial, few, small = folder / "trivial.yaml", folder / "few.yaml", folder / "small.yaml"
    few.write_text(TRIVIAL.format(seeds=1))
    trivial.write_text(TRIVIAL.format(seeds=max(cells // 100, 1)))
    small.write_text(SMALL.format(seeds=max(fits // 10, 1)))

    def commands(checkout: Checkout) -> Measured:
        with tempfile.TemporaryDirectory(prefix="bench_") as results:
            checkout.run("-m", "dvq_ray.sweep", str(few), "--results", results, "--in-process")
            dry = _seconds(checkout, "-m", "dvq_ray.sweep", str(few), "--results", f"{results}/empty", "--dry-run")
            status = _seconds(checkout, "-m", "dvq_ray.status", f"{results}/trivial")
            imports = _seconds(checkout, "-c", "import pandas, pyarrow.parquet")
        return {
            name + kind: seconds
            for name, both in (("dry", dry), ("status", status), ("import", imports))
            for kind, seconds in zip(("", " cpu"), both, strict=True)
        }

    def tasks(checkout: Checkout) -> Measured:
        began = time.time()
        ends = np.array(json.loads(checkout.run("-c", RAY_TASKS, str(cells), str(usable_cores()))))
        return {"rate": _rate(ends), "first": ends[0] - began, "last": time.time() - ends[-1]}

    def ends_of_controllers(checkout: Checkout) -> Measured:
        began = np.array(json.loads(checkout.run("-c", ENDS)))
        gaps = np.diff(began)[20:]
        return {"longest": float(gaps.max()), "usual": 1e3 * float(np.median(gaps))}

    return {
        "pack": Part(
            measure=lambda checkout: {"cpu": float(checkout.run("-c", PACK, str(cells)))},
            shown={"cpu": "CPU milliseconds for a cell of next to nothing besides computing it"},
        ),
        "in process": Part(
            measure=lambda checkout: checkout.sweep(trivial, "--in-process"),
            shown={
                "rate": "cells of next to nothing in one process, cells/s",
                "besides": "the same: ms for a cell besides computing it",
            },
        ),
        "ray": Part(
            measure=lambda checkout: checkout.sweep(trivial),
            shown={
                "rate": "the same under Ray, cells/s",
                "first": "seconds from the command to the first cell",
                "last": "seconds from the last cell to the end of the command",
                "whole": "seconds in all",
            },
        ),
        "tasks": Part(
            measure=tasks,
            shown={
                "rate": "the same as plain Ray tasks that keep nothing, cells/s",
                "first": "seconds from the start of the program to the end of the first cell",
                "last": "seconds from the last cell to the end of the program",
            },
            has_peer=True,
        ),
        "fits": Part(
            measure=lambda checkout: checkout.sweep(small),
            shown={"rate": "small fits under Ray (D=16, K=16, L=4, 4,000 steps of 64), fits/s"},
        ),
        "commands": Part(
            measure=commands,
            shown={
                "dry": "--dry-run, the whole process, s",
                "dry cpu": "the same, CPU seconds",
                "status": "status, the whole process, s",
                "status cpu": "the same, CPU seconds",
                "import cpu": "importing pandas and pyarrow alone, CPU seconds",
            },
        ),
        "controllers": Part(
            measure=ends_of_controllers,
            shown={
                "longest": "longest pause between 200 packs of one cell, 100 to a controller where they are limited, s",
                "usual": "usual pause, ms",
            },
        ),
    }  # fmt: skip


def _seconds(checkout: Checkout, *arguments: str) -> tuple[float, float]:
    """Of a whole process: on the clock, and of CPUs."""
    began, used = time.perf_counter(), _cpu_seconds()
    checkout.run(*arguments)
    return time.perf_counter() - began, _cpu_seconds() - used


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--against", type=click.Path(path_type=Path, exists=True, file_okay=False), help="Another checkout.")
@click.option("--rounds", default=5, show_default=True, help="Of each part.")
@click.option("--cells", default=2000, show_default=True, help="Of next to nothing; a multiple of 100.")
@click.option("--fits", default=400, show_default=True, help="Small fits; a multiple of 10.")
@click.option(
    "--only", multiple=True, metavar="PART", help="pack, in process, ray, tasks, fits, commands or controllers."
)
def main(against: Path | None, rounds: int, cells: int, fits: int, only: tuple[str, ...]) -> None:
    """Print a table of medians, with the ratio of each round's figures where there is another checkout."""
    checkouts = [Checkout(name="this", path=HERE)]
    if against:
        checkouts.append(Checkout(name="other", path=against.resolve()))
    rows = []
    with tempfile.TemporaryDirectory(prefix="bench_") as folder:
        found = parts(Path(folder), cells, fits)
        if unknown := {*only} - found.keys():
            raise click.BadParameter(f"{', '.join(sorted(unknown))}; allowed: {', '.join(found)}", param_hint="--only")
        for name, part in found.items():
            if not only or name in only:
                rows += _rows(part, checkouts[:1] if part.has_peer else checkouts, rounds)
    say(f"{usable_cores()} cores, load {os.getloadavg()[0]:.1f}, medians of {rounds} rounds by turns")
    show(("", *(each.name for each in checkouts), *(["this / other, by round"] if against else [])), rows)


def _rows(part: Part, checkouts: list[Checkout], rounds: int) -> list[tuple[str, ...]]:
    seen: dict[str, list[Measured]] = {each.name: [] for each in checkouts}
    for number in range(rounds):
        # Whoever comes first changes with each round.
        for checkout in checkouts if number % 2 == 0 else checkouts[::-1]:
            seen[checkout.name].append(part.measure(checkout))
        last = {name: {key: round(float(value), 2) for key, value in each[-1].items()} for name, each in seen.items()}
        click.echo(f"  round {number + 1}, load {os.getloadavg()[0]:.1f}: {last}", err=True)
    rows = []
    for key, words in part.shown.items():
        values = {name: [each[key] for each in measured] for name, measured in seen.items()}
        row = [words, *(f"{statistics.median(each):.3g}" for each in values.values())]
        if len(checkouts) == 2:
            this, other = values.values()
            ratios = sorted(one / two for one, two in zip(this, other, strict=True))
            row.append(f"{ratios[0]:.2f} / {statistics.median(ratios):.2f} / {ratios[-1]:.2f}")
        rows.append(tuple(row))
    return rows


if __name__ == "__main__":
    main()
