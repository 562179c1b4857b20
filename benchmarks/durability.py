"""`python -m benchmarks.durability`: what it costs that a power cut loses nothing, on the file system of a folder.

Each job is done with `fsync` and without, by turns in one run; and cells of a pack also with a commit for each of them,
which is the policy that `dvq_ray.store.commits` avoids. Cells are those of the static prior that `cluster/scale.md`
calls fast, computed as a worker computes them. A store's results are the same each way.
"""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import click

from benchmarks.static_prior.tables import say, show, spread
from dvq_ray.execution.pack import run_pack
from dvq_ray.experiment.registry import find_experiment
from dvq_ray.experiment.surroundings import Surroundings
from dvq_ray.store import Store, commits
from dvq_ray.store.provenance import Run
from dvq_ray.sweep.cells import Pack, Point

EXPERIMENT = find_experiment("static_prior")
FAST = {"quantizer": "dvq", "dimension": 16, "codebook_size": 16, "slices": 4, "factors": 64, "batch_size": 64}
"""A cell of some ten milliseconds."""
CURVE = [{"step": step, "test_mse": 1.0} for step in range(17)]
WAYS = ("without", "as it is", "each cell")
Job = Callable[[Path], None]


@click.command()
@click.option("--folder", default=".", show_default=True, help="On the disk to measure; a temporary folder is made.")
@click.option("--rounds", default=5, show_default=True)
@click.option("--cells", default=400, show_default=True, help="Of a pack of fast cells: some five seconds.")
def main(folder: str, rounds: int, cells: int) -> None:
    """Prints milliseconds with and without syncing, and their ratio."""
    with tempfile.TemporaryDirectory(prefix="durability_", dir=folder) as place:
        jobs = {
            f"a pack of {cells} fast cells, each": (_pack(cells), cells, WAYS),
            "the row and curve of one long cell": (_long_cell, 1, WAYS[:2]),
            "merging 500 cells in as many files": (_merge(Path(place, "unmerged")), 1, WAYS[:2]),
            "a checkpoint of 100 MB": (_checkpoint, 1, WAYS[:2]),
        }
        rows = []
        for name, (job, share, ways) in jobs.items():
            seconds: dict[str, list[float]] = {way: [] for way in ways}
            for number in range(rounds + 1):  # the first warms up
                for way in ways:
                    target = Path(place, "target")
                    with _synced(way):
                        began = time.perf_counter()
                        job(target)
                        taken = time.perf_counter() - began
                    shutil.rmtree(target)
                    os.sync()  # what one way left for later is not paid by the next
                    seconds[way] += [taken / share * 1e3] if number else []
            medians = {way: statistics.median(times) for way, times in seconds.items()}
            rows += [
                (f"{name}: {way}", spread(times, ".2f"), f"{medians[way] / medians[WAYS[0]]:.2f}")
                for way, times in seconds.items()
            ]
    say(f"milliseconds, {rounds} rounds by turns: min / median / max, and times the way without syncing")
    show(("", "ms", "ratio"), rows)


@contextmanager
def _synced(way: str) -> Iterator[None]:
    with ExitStack() as patches:
        if way == "without":
            patches.enter_context(mock.patch("os.fsync", return_value=None))
        if way == "each cell":
            patches.enter_context(mock.patch.object(commits, "TOGETHER_SECONDS", 0.0))
        yield


def _pack(cells: int) -> Job:
    point = Point(experiment=EXPERIMENT, settings=EXPERIMENT.settings(FAST))
    pack = Pack(cells=[point.cell(seed) for seed in range(cells)])

    def job(target: Path) -> None:
        for _ in run_pack(pack, Store(target), Run.start("durability"), Surroundings()):
            pass

    return job


def _row(number: int) -> dict[str, Any]:
    point = Point(experiment=EXPERIMENT, settings=EXPERIMENT.settings(FAST))
    began = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=number)
    identity = {"cell_id": point.cell_id(number), "point_id": point.point_id, "seed": number, "status": "ok"}
    return {**identity, **point.settings.columns(), "run_id": "0" * 32, "run_started_at": began}


def _long_cell(target: Path) -> None:
    Store(target).write_cell(EXPERIMENT, _row(0), CURVE)


def _merge(unmerged: Path) -> Job:
    with mock.patch("os.fsync", return_value=None):
        for number in range(500):
            Store(unmerged).write_cell(EXPERIMENT, _row(number), CURVE)

    def job(target: Path) -> None:
        shutil.copytree(unmerged, target)  # some milliseconds, either way
        Store(target).merge()

    return job


def _checkpoint(target: Path) -> None:
    Store(target).write_checkpoint("cell", bytes(100_000_000))


if __name__ == "__main__":
    main()
