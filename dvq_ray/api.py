"""Sweeps from Python: what the command line does, for notebooks, scripts and threads."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console

from dvq_ray.cli.sweep_run import REFUSALS, SweepRun
from dvq_ray.execution.progress import Progress
from dvq_ray.problems import SweepFileError
from dvq_ray.process.interruption import INTERRUPTED
from dvq_ray.store import Store, StoreError
from dvq_ray.store.columns import look_table
from dvq_ray.store.results import load_results
from dvq_ray.sweep.plan import make_plan
from dvq_ray.sweep.spec import SweepSpec, load_sweep, parse_sweep
from dvq_ray.sweep.yaml_writer import write_yaml

Sweep = str | Path | Mapping[str, Any]
"""A sweep file, or what it would hold: `{"name": ..., "trainable": ..., "seeds": 5, "grids": {...}}`."""


class SweepError(Exception):
    """A sweep that cannot be run. Its text is what the command line would print: all problems, a line each."""


@dataclass(frozen=True, kw_only=True)
class SweepProgress:
    """How far a sweep is."""

    done: int
    """Cells that finished in this run, or suggestions of a search."""
    failed: int
    total: int
    """Cells that this run is to compute; more where repetitions are added until they suffice."""
    running: int
    """Cells or packs that run now."""
    elapsed_seconds: float
    last: float | None
    """Last value of the experiment's main metric; None before the first, and in a search."""
    best: float | None
    """Lowest value so far."""
    best_cell_id: str
    """The cell that has it; empty before the first."""


@dataclass(frozen=True, kw_only=True)
class SweepPlan:
    """What a sweep has and what it would run."""

    name: str
    store: str
    cells: int
    """All that the sweep names, each once; where repetitions are added until they suffice, those needed so far."""
    done: int
    failed: int
    missing: int
    to_run: pd.DataFrame
    """A row for each cell that would run, in order: `cell_id`, `point_id`, `seed`, and its settings."""
    expected_seconds: float | None
    """Of computing these cells one after the other; None where nothing is known."""
    looks: pd.DataFrame
    """Where repetitions are added until they suffice, a row for each point or pair, with what was found and decided;
    `decision` is `undecided` where more may follow. Columns as in the store's `looks/`. Empty for other sweeps."""
    cells_at_most: int
    """Cells, had every point all repetitions that the sweep allows."""


def plan(sweep: Sweep, *, results: str | Path = "results", retry_failed: bool = False) -> SweepPlan:
    """What the sweep would run now. Starts nothing and writes nothing.

    Raises `SweepError` with all problems of the sweep, or where its store cannot be read; `ValueError` for a search,
    whose cells follow from its results.

    >>> from dvq_ray import plan
    >>> two = {"name": "two", "trainable": "static_prior", "seeds": 2,
    ...        "fixed": {"dimension": 4, "factors": 16}, "grids": {"vq": {"quantizer": "vq", "codebook_size": [4, 8]}}}
    >>> plan(two).to_run[["codebook_size", "seed"]].values.tolist()
    [[8, 0], [8, 1], [4, 0], [4, 1]]
    """
    try:
        spec = _spec(sweep)
        if spec.search is not None:
            raise ValueError(f"{spec.name} is a search: its cells follow from its results")
        store = Store.under(str(results), spec.name)
        found = make_plan(spec, store, retry_failed=retry_failed)
    except (SweepFileError, StoreError) as error:
        raise SweepError(str(error)) from error
    counts = found.counts()
    rows = [
        {"cell_id": cell.cell_id, "point_id": cell.point.point_id, "seed": cell.seed, **cell.point.settings.columns()}
        for cell in found.to_run
    ]
    return SweepPlan(
        name=spec.name, store=store.location, cells=len(found.cells), done=counts.done, failed=counts.failed,
        missing=counts.missing, to_run=pd.DataFrame(rows).convert_dtypes(),
        expected_seconds=found.estimate().seconds if found.to_run else 0.0,
        looks=look_table(found.looks.rows() if found.looks else []).to_pandas(), cells_at_most=found.cells_at_most,
    )  # fmt: skip


def run_sweep(
    sweep: Sweep,
    *,
    results: str | Path = "results",
    in_process: bool = False,
    address: str | None = None,
    max_concurrent: int | None = None,
    retry_failed: bool = False,
    time_budget: float | None = None,
    gpu_hours: float | None = None,
    progress: Callable[[SweepProgress], None] | None = None,
) -> pd.DataFrame:
    """Runs the cells that the sweep's store does not hold yet, and returns all of its rows as `load_results` does.

    A failed cell is a row whose `status` is not `ok`. `in_process` runs one cell at a time without Ray; otherwise Tune
    runs them on the cluster at `address`, or on a local one of its own. `time_budget` is in seconds; where it or
    `gpu_hours` is spent no further cell begins, and the rows so far are returned. `progress` is called in this thread
    several times a second; what it raises ends the sweep.

    May be called in any thread. In the main thread Ctrl-C stops the sweep: rows are kept, then `KeyboardInterrupt` is
    raised. The same call resumes a sweep that did not end.

    A file of the store that cannot be read is set aside with a warning, and its cells are run again. Where processes of
    a Ray cluster of its own are killed, this process ends too, with exit code 4: Ray leaves no other way.

    Raises `SweepError` with all problems where it cannot be run: of the file, its data, its store, or resources.
    """
    if in_process and (address or max_concurrent):
        raise ValueError("in_process excludes address and max_concurrent: it runs one cell at a time")
    progress_type = partial(_Reported, report=progress) if progress else Progress
    try:
        run = SweepRun(
            _spec(sweep), str(results), in_process=in_process, address=address, max_concurrent=max_concurrent,
            retry_failed=retry_failed, time_budget=time_budget, gpu_hours=gpu_hours,
        )  # fmt: skip
        for line in run.prepare_store():
            warnings.warn(line, stacklevel=2)
        code = run.run(Console(quiet=True), progress_type)
    except REFUSALS as error:
        raise SweepError(str(error)) from error
    if code == INTERRUPTED:
        raise KeyboardInterrupt
    return load_results(run.store.location)


def _spec(sweep: Sweep) -> SweepSpec:
    if isinstance(sweep, Mapping):
        return parse_sweep(write_yaml(sweep), str(sweep.get("name", "sweep")))
    return load_sweep(Path(sweep))


class _Reported(Progress):
    def __init__(self, *args: Any, report: Callable[[SweepProgress], None], **options: Any) -> None:
        super().__init__(*args, **options)
        self._report = report

    def tick(self, running: int) -> None:
        super().tick(running)
        self._report(
            SweepProgress(
                done=self.done, failed=self.failed, total=self.total, running=running, last=self.last,
                best=self.best, best_cell_id=self.best_cell_id, elapsed_seconds=self.elapsed_seconds(),
            )
        )  # fmt: skip

    def last_line(self) -> None:
        self.tick(0)
