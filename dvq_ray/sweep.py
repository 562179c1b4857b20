"""`python -m dvq_ray.sweep sweeps/static_prior.yaml`: plan a sweep, run what is missing, say what came of it."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import click
from rich.console import Console

from dvq_ray.budget import BUDGET_SPENT, Budget, Duration
from dvq_ray.cells import Cell, Pack, pack_cells
from dvq_ray.executors import (
    INTERRUPTED,
    Executor,
    InProcess,
    Job,
    UnderTune,
    running,
    usable_cores,
)
from dvq_ray.pack import failed_row
from dvq_ray.plan import Plan, make_plan
from dvq_ray.problems import SweepFileError
from dvq_ray.progress import Progress, counts_table, span
from dvq_ray.provenance import Run
from dvq_ray.ray_address import cluster_address
from dvq_ray.ray_errors import ResourcesError
from dvq_ray.search.spec import Search, SearchError
from dvq_ray.settings import Settings
from dvq_ray.spec import SweepSpec, load_sweep
from dvq_ray.store import FINISHED, Store, StoreError

GO_ON = "The same command goes on once that is mended."
ONE_BY_ONE = 3
"""How often cells whose worker died by no doing of theirs are tried one by one before that is their row."""


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.argument("spec", type=click.Path(path_type=Path))
@click.option("--results", default="results", show_default=True, help="Folder or URI that holds the stores.")
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a value of the file. Can be repeated."
)
@click.option("--dry-run", is_flag=True, help="Say what is done and what would run, and start nothing.")
@click.option("--retry-failed", is_flag=True, help="Run the failed cells again too.")
@click.option("--address", help="Ray cluster to run on. Without it a local one is started.")
@click.option("--in-process", is_flag=True, help="Run in this process, without Ray.")
@click.option("--max-concurrent", type=click.IntRange(min=1), metavar="N", help="Run no more trials at once.")
@click.option(
    "--time-budget", type=Duration(), metavar="TIME", help="Begin no cell after so long, for example 90min or 2h."
)
@click.option(
    "--gpu-hours",
    type=click.FloatRange(min=0, min_open=True),
    metavar="HOURS",
    help="Begin no cell once trials have held GPUs for so long in all.",
)
def main(
    spec: Path,
    results: str,
    overrides: Sequence[str],
    dry_run: bool,
    retry_failed: bool,
    address: str | None,
    in_process: bool,
    max_concurrent: int | None,
    time_budget: float | None,
    gpu_hours: float | None,
) -> None:
    """Run the cells of the sweep file SPEC that its store lacks.

    Exit codes: 0 all cells are done; 1 some failed; 2 the sweep cannot be run as it is written, or its store cannot be
    used; 3 a budget was spent before all cells were done; 4 Ray's own processes ended; 130 interrupted. After 1, 3, 4
    and 130, and after 2 once its cause is mended, the same command goes on.
    """
    if in_process and (address or max_concurrent):
        raise click.UsageError("--in-process excludes --address and --max-concurrent: it runs one cell at a time")
    console = Console(highlight=False, soft_wrap=True)
    on_cluster = not in_process and cluster_address(address) is not None
    try:
        sweep = load_sweep(spec, overrides)
        store = Store.under(results, sweep.name)
        budget = Budget(seconds=time_budget, gpu_hours=gpu_hours)
        executor = InProcess() if in_process else UnderTune(address, max_concurrent)
        if not dry_run:
            store.check_writable()
            for aside in store.set_aside_unreadable():
                click.echo(f"warning: {aside.path} {aside.reason}; set aside as {aside.moved_to}", err=True)
        if sweep.search is not None:
            asked = {"dry_run": dry_run, "retry_failed": retry_failed, "on_cluster": on_cluster}
            sys.exit(_search(console, sweep, sweep.search, store, executor, budget, **asked))
        plan = make_plan(sweep, store, retry_failed=retry_failed)
        problems = [] if on_cluster else _data_problems(sweep, (cell.point.settings for cell in plan.to_run))
        if dry_run:
            _print_plan(console, plan, store, 1 if in_process else _local_slots(sweep))
            console.print("\n".join(problems), markup=False)
            return
        if problems:
            raise DataError("\n".join([*problems, "nothing was started and nothing written"]))
        sys.exit(_run(console, plan, store, executor, budget))
    except (SweepFileError, SearchError, DataError, StoreError, ResourcesError) as error:
        click.echo(str(error), err=True)
        sys.exit(2)
    except KeyboardInterrupt:
        click.echo("interrupted: the same command goes on with what is not in the store", err=True)
        sys.exit(INTERRUPTED)


class DataError(RuntimeError):
    """Data sets that are not there, or not what they are said to be."""


def _data_problems(spec: SweepSpec, settings: Iterable[Settings]) -> list[str]:
    """Of this machine's disks; a cluster has its own."""
    data_sets = spec.experiment.data_sets
    return data_sets.problems(settings, spec.data) if data_sets else []


def _search(
    console: Console, spec: SweepSpec, search: Search, store: Store, executor: Executor, budget: Budget, *,
    dry_run: bool, retry_failed: bool, on_cluster: bool,
) -> int:  # fmt: skip
    # Optuna takes a second to import, which a sweep of grids need not spend.
    from dvq_ray.search import drive

    problems = [] if on_cluster else _data_problems(spec, drive.examples(search))
    if dry_run:
        drive.print_plan(console, spec, search, store)
        console.print("\n".join(problems), markup=False)
        return 0
    if problems:
        raise DataError("\n".join([*problems, "nothing was started and nothing written"]))
    if search.stop_early and isinstance(executor, InProcess):
        raise SearchError("stop_early compares trials that run side by side; allowed: without --in-process")
    return drive.run_search(console, spec, search, store, executor, budget, retry_failed=retry_failed)


def _local_slots(spec: SweepSpec) -> int:
    return max(int(usable_cores() / spec.resources.cpu), 1)


def _print_plan(console: Console, plan: Plan, store: Store, slots: int) -> None:
    table = counts_table("grid", "done", "failed", "missing")
    for grid in plan.grids():
        table.add_row(grid.name, f"{grid.done:,}", f"{grid.failed:,}", f"{grid.missing:,}")
    console.print(table)
    console.print(f"no longer wanted: {plan.unwanted:,} cells, which stay in {store.location}")
    trials = len(pack_cells(plan.to_run, slots))
    expected = plan.expected_seconds(slots)
    time = "unknown" if expected is None else f"{span(expected)} with {slots} at a time, going by stored durations"
    console.print(f"to run: {len(plan.to_run):,} cells in {trials:,} Tune trials; expected time: {time}")


def _run(console: Console, plan: Plan, store: Store, executor: Executor, budget: Budget) -> int:
    """Runs what the plan says and reports it. Returns the exit code."""
    interrupted = False
    statuses = plan.statuses
    if plan.to_run:
        interrupted = _run_cells(console, plan, store, executor, budget)
        statuses = store.statuses()
    states = Counter(statuses.get(cell.cell_id, "missing") for cell in plan.cells)
    done = sum(states.pop(status, 0) for status in FINISHED)
    missing = states.pop("missing", 0)
    console.print(f"{plan.spec.name}: {done:,} of {len(plan.cells):,} cells done, {states.total():,} failed")
    for status, count in states.items():
        console.print(f"  {status}: {count:,}, for example {_example(store, plan.cells, status)}", markup=False)
    if states:
        console.print("  the column `error` has each exception; --retry-failed runs these cells again", markup=False)
    cells = store.place("cells")
    console.print(f"results: {store.location}   (pandas.read_parquet('{cells}'))")
    if interrupted:
        console.print("interrupted: the same command goes on from here")
        return INTERRUPTED
    if missing and budget.spent():
        console.print(f"{budget.spent()}: the same command goes on with the {missing:,} cells that are missing")
        return BUDGET_SPENT
    console.print(f"next:    python -m analysis {store.location}")
    return 1 if states or missing else 0


def _run_cells(console: Console, plan: Plan, store: Store, executor: Executor, budget: Budget) -> bool:
    """Runs the plan's cells. Returns whether a user or the system interrupted it."""
    console.print(
        f"{plan.spec.name}: {len(plan.to_run):,} cells to run, {len(plan.cells) - len(plan.to_run):,} at hand"
    )
    nominal_seconds = sum(cell.nominal_seconds() for cell in plan.to_run)
    progress = Progress(len(plan.to_run), nominal_seconds, console)
    with running(plan.spec, store, executor, budget, progress) as (job, slots):
        try:
            _run_packs(plan.to_run, slots, job, executor)
        except StoreError as error:
            raise StoreError(f"{error}\nthe sweep was ended; what was written is kept. {GO_ON}") from error
    return job.interruption.asked


def _run_packs(cells: Sequence[Cell], slots: int, job: Job, executor: Executor) -> None:
    executor.run(pack_cells(cells, slots), job)
    left = _left(cells, job.store, job.run)
    for attempt in range(ONE_BY_ONE):
        if not left or job.ending:
            return
        # Their worker died again and again. One by one, so that a cell that kills takes no other with it.
        died = executor.run([Pack(cells=[cell]) for cell in left], job)
        if job.interruption.asked:
            return
        without_row = _left(left, job.store, job.run)
        left = []
        for cell in without_row:
            death = died.get(cell.cell_id)
            if death and (death.its_own or attempt == ONE_BY_ONE - 1):
                row = failed_row(cell, job.run, death.status, death.error)
                job.store.write_cell(cell.point.experiment, row, ())
                job.progress.advance(0, 1, cell.nominal_seconds())
            else:
                left.append(cell)


def _left(cells: Sequence[Cell], store: Store, run: Run) -> list[Cell]:
    frame = store.load(columns=["cell_id", "run_id"])
    written = set(frame.loc[frame["run_id"] == run.run_id, "cell_id"])
    return [cell for cell in cells if cell.cell_id not in written]


def _example(store: Store, cells: Sequence[Cell], status: str) -> str:
    wanted = {cell.cell_id for cell in cells}
    frame = store.load(columns=["cell_id", "status", "error"])
    row = frame[(frame["status"] == status) & frame["cell_id"].isin(wanted)].iloc[0]
    return f"{row['cell_id']}: {str(row['error']).splitlines()[0]}"


if __name__ == "__main__":
    main()
