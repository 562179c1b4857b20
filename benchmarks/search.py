"""`python -m benchmarks.search`: what a search saves against the whole grid of its space, and against luck.

The grid of `sweeps/search_static_slices.yaml` is run once. Then searches with different sampler seeds go over the same
store, where every point that they suggest is at hand, and so do searches that draw at random (without repeats).
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import click
import pandas as pd
from rich.console import Console

from benchmarks.static_prior.tables import say, show
from dvq_ray.execution.grid_packs import GridPacks
from dvq_ray.execution.in_process import InProcess
from dvq_ray.execution.job import Job
from dvq_ray.execution.progress import Progress
from dvq_ray.execution.tune.under_tune import UnderTune
from dvq_ray.process.interruption import Interruption
from dvq_ray.search.sampling import point_of
from dvq_ray.search.suggestions import Suggestions, quiet
from dvq_ray.search.supply import Supply
from dvq_ray.store import Store
from dvq_ray.store.provenance import Run
from dvq_ray.sweep.cells import Cell, pack_cells
from dvq_ray.sweep.search import Sampler, Search
from dvq_ray.sweep.spec import SweepSpec, load_sweep

SWEEP = Path("sweeps/search_static_slices.yaml")
NEAR = 0.02
"""A configuration counts as found where its loss is no further above the best of the grid."""
BUDGET = 0.25
"""Of the grid's cells."""


@dataclass(frozen=True, kw_only=True)
class Course:
    """How one search went."""

    cells_to_near: int | None
    """Cells that it took to suggest a point near the best; None where it never did."""
    gap: float
    """Of its best point above the best of the grid, when its budget was spent."""


@click.command()
@click.option("--quick", is_flag=True, help="Three searches of each kind, and shorter fits.")
@click.option("--in-process", is_flag=True, help="Run the grid without Ray.")
def main(quick: bool, in_process: bool) -> None:
    """Run the grid, then the searches, and print how far these come with a quarter of its cells."""
    spec = load_sweep(SWEEP, ["fixed.steps=200"] if quick else [])
    search = spec.search
    assert search is not None
    points = [point_of(search, params) for params in search.space.combinations() if search.possible(params)]
    with tempfile.TemporaryDirectory() as folder:
        store = Store(f"{folder}/grid")
        cells = [point.cell(seed) for point in points for seed in search.seeds]
        say(f"running the grid: {len(points)} points, {len(cells)} cells")
        _run_grid(spec, cells, store, in_process=in_process)
        losses = store.load(columns=["point_id", "test_mse"]).groupby("point_id")["test_mse"].mean()
        rows = []
        samplers: tuple[Sampler, ...] = (search.sampler, "random")
        for sampler in samplers:
            say(f"searching by {sampler}")
            courses = [
                _course(replace(search, sampler=sampler, sampler_seed=seed, start_from=()), store, losses, len(cells),
                        Path(folder) / f"{sampler}-{seed}.log", spec)
                for seed in range(3 if quick else 20)
            ]  # fmt: skip
            rows.append([sampler, *_summary(courses, len(cells))])
    near = losses[losses <= losses.min() * (1 + NEAR)]
    say(f"best of the grid: {losses.min():.4g}; {len(near)} of {len(losses)} points are within {NEAR:.0%} of it")
    headings = ["sampler", f"within {NEAR:.0%} on {BUDGET:.0%} of the cells", "cells to it (min, median, max)",
                "gap then (median, max)"]  # fmt: skip
    show(headings, rows)


def _summary(courses: Sequence[Course], cells: int) -> list[str]:
    found = [course.cells_to_near for course in courses if course.cells_to_near is not None]
    in_time = sum(count <= BUDGET * cells for count in found)
    spread = f"{min(found)}, {statistics.median(found):.0f}, {max(found)}" if found else "never"
    gaps = [course.gap for course in courses]
    return [f"{in_time} of {len(courses)}", f"{spread} of {cells}", f"{statistics.median(gaps):.1%}, {max(gaps):.1%}"]


def _course(
    search: Search, store: Store, losses: pd.Series[float], cells: int, journal: Path, spec: SweepSpec
) -> Course:
    """Searches until a quarter of the grid's cells is spent, answered from the store where it can be."""
    budget = int(BUDGET * cells)
    search = replace(search, suggestions=budget // len(search.seeds))
    spent, to_near, best = 0, None, float("inf")
    seen = set[str]()
    with quiet(), _job(spec, store) as job:
        suggestions = Suggestions.kept("benchmark", search, journal)
        supply = Supply(search, suggestions, store, job.run, retry_failed=False, on_result=lambda state: None)
        InProcess().run(supply, job)
        for suggestion in suggestions.told():
            point_id = suggestion.point.point_id
            spent += 1 if point_id in seen else len(search.seeds)
            if spent > budget:
                break
            seen.add(point_id)
            best = min(best, float(losses[point_id]))
            if to_near is None and best <= losses.min() * (1 + NEAR):
                to_near = spent
    return Course(cells_to_near=to_near, gap=best / float(losses.min()) - 1)


def _run_grid(spec: SweepSpec, cells: Sequence[Cell], store: Store, *, in_process: bool) -> None:
    executor = InProcess() if in_process else UnderTune(None)
    with executor.started(spec.resources) as slots, _job(spec, store) as job:
        executor.run(GridPacks(pack_cells(cells, slots), job), job)
    store.merge()


@contextmanager
def _job(spec: SweepSpec, store: Store) -> Iterator[Job]:
    with Interruption() as interruption, Progress(1, 1.0, Console(quiet=True)) as progress:
        interruption.listen()
        yield Job(
            store=store, run=Run.start("benchmark"), resources=spec.resources, surroundings=spec.surroundings(),
            progress=progress, interruption=interruption,
        )  # fmt: skip


if __name__ == "__main__":
    main()
