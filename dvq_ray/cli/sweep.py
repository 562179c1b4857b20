"""`python -m dvq_ray.sweep sweeps/static_prior.yaml`: plan a sweep, run what is missing, say what came of it."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import click
from rich.console import Console

from dvq_ray.cli import commands
from dvq_ray.cli.duration import Duration
from dvq_ray.cli.terminal import Command, complain, console, counts_table
from dvq_ray.declarations.settings import Settings
from dvq_ray.execution.budget import BUDGET_SPENT, Budget
from dvq_ray.execution.executor import Executor, ResourcesError
from dvq_ray.execution.in_process import InProcess
from dvq_ray.execution.machine import usable_cores, usable_gpus
from dvq_ray.execution.progress import Progress
from dvq_ray.execution.running import running
from dvq_ray.execution.sequential_packs import packs_of
from dvq_ray.execution.tune.ray_address import cluster_address
from dvq_ray.execution.tune.under_tune import UnderTune
from dvq_ray.problems import SweepFileError
from dvq_ray.process.interruption import INTERRUPTED
from dvq_ray.store import Store, StoreError
from dvq_ray.sweep.cells import Cell, pack_cells
from dvq_ray.sweep.plan import Plan, make_plan
from dvq_ray.sweep.search import Search, SearchError
from dvq_ray.sweep.spec import SweepSpec, load_sweep

RESUMES = "The same command resumes once that is fixed."


def _not_empty(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    if value == "":  # from an unset shell variable: a sweep meant for a cluster would run here
        raise click.BadParameter("it is empty")
    return value


def _number(context: click.Context, parameter: click.Parameter, value: float | None) -> float | None:
    if value is not None and math.isnan(value):  # click considers it to be in any range
        raise click.BadParameter("nan is not a number of hours")
    return value


@click.command(cls=Command, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.argument("spec", type=click.Path(path_type=Path))
@click.option("--results", default="results", show_default=True, help="Folder or URI that holds the stores.")
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a value of the file. Can be repeated."
)
@click.option("--dry-run", is_flag=True, help="Say what is done and what would run; start nothing and write nothing.")
@click.option("--retry-failed", is_flag=True, help="Run the failed cells again too.")
@click.option("--address", callback=_not_empty, help="Ray cluster to run on. Without it a local one is started.")
@click.option("--in-process", is_flag=True, help="Run in this process, without Ray.")
@click.option("--max-concurrent", type=click.IntRange(min=1), metavar="N", help="Run no more trials at once.")
@click.option(
    "--time-budget", type=Duration(), metavar="TIME", help="Begin no cell after so long, for example 90min or 2h."
)
@click.option(
    "--gpu-hours",
    type=click.FloatRange(min=0, min_open=True),
    metavar="HOURS",
    callback=_number,
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
    """Run the cells of the sweep file SPEC that its store does not hold yet.

    Exit codes: 0 all cells are done; 1 some failed; 2 the sweep cannot be run as it is written, or its store cannot be
    used; 3 a budget was spent before all cells were done; 4 Ray's own processes ended; 130 interrupted. After 1, 3, 4
    and 130, and after 2 once its cause is fixed, the same command resumes. A sweep continues if its output can no
    longer be written.

    --dry-run exits as the run would, as far as that shows beforehand: 0 it would start, or nothing is left to do; 1
    nothing is left to do and some cells failed; 2 it would not start.
    """
    if in_process and (address or max_concurrent):
        raise click.UsageError("--in-process excludes --address and --max-concurrent: it runs one cell at a time")
    screen = console()
    on_cluster = not in_process and cluster_address(address) is not None
    try:
        sweep = load_sweep(spec, overrides)
        store = Store.under(results, sweep.name)
        budget = Budget(seconds=time_budget, gpu_hours=gpu_hours)
        executor = InProcess() if in_process else UnderTune(address, max_concurrent)
        if not dry_run:
            store.check_writable()
            for aside in store.set_aside_unreadable():
                complain(f"warning: {aside.path} {aside.reason}; set aside as {aside.moved_to}")
        slots = 1 if in_process else max_concurrent or _local_slots(sweep)
        if sweep.search is not None:
            asked = {"dry_run": dry_run, "retry_failed": retry_failed, "on_cluster": on_cluster}
            sys.exit(_search(screen, sweep, sweep.search, store, executor, budget, slots, **asked))
        plan = make_plan(sweep, store, retry_failed=retry_failed)
        problems = [] if on_cluster else data_problems(sweep, (cell.point.settings for cell in plan.to_run))
        if dry_run:
            _print_plan(screen, plan, store, slots)
            sys.exit(_exit_code_of_a_run(sweep, store, executor, problems, len(plan.to_run), plan.counts().failed))
        refuse(problems)
        sys.exit(_run(screen, plan, store, executor, budget))
    except (SweepFileError, SearchError, DataError, StoreError, ResourcesError) as error:
        complain(str(error))
        sys.exit(2)
    except KeyboardInterrupt:
        complain("interrupted: the same command resumes with what is not in the store")
        sys.exit(INTERRUPTED)


class DataError(RuntimeError):
    """Data sets that are not there, or not what they are said to be."""


def refuse(problems: Sequence[str]) -> None:
    """Raises `DataError` with all problems, where there are any."""
    if problems:
        raise DataError("\n".join([*problems, "nothing was started and nothing written"]))


def data_problems(spec: SweepSpec, settings: Iterable[Settings]) -> list[str]:
    """What is wrong with the data sets that these settings name, on this machine's disks."""
    data_sets = spec.experiment.data_sets
    return (
        data_sets.problems(settings, spec.data, lambda text: click.echo(f"note: {text}", err=True)) if data_sets else []
    )


def _search(
    console: Console, spec: SweepSpec, search: Search, store: Store, executor: Executor, budget: Budget,
    slots: int, *, dry_run: bool, retry_failed: bool, on_cluster: bool,
) -> int:  # fmt: skip
    # Optuna takes a second to import, which a sweep of grids need not spend.
    from dvq_ray.cli import search as drive

    problems = [] if on_cluster else data_problems(spec, drive.examples(search))
    problems += drive.problems(search)
    if dry_run:
        ahead = drive.print_plan(console, spec, search, store, slots, retry_failed=retry_failed)
        return _exit_code_of_a_run(spec, store, executor, problems, ahead.left, ahead.failed)
    refuse(problems)
    return drive.run_search(console, spec, search, store, executor, budget, retry_failed=retry_failed)


def _exit_code_of_a_run(
    spec: SweepSpec, store: Store, executor: Executor, problems: Sequence[str], left: int, failed: int
) -> int:
    """The exit code that a run would have, 0 if that depends on its cells. Prints why it would not start.

    This is as far as it shows without starting or writing anything: a disk may be full, a cluster too small.
    """
    refusals = [*problems]
    try:
        store.check_place()
    except StoreError as error:
        refusals.insert(0, str(error))
    if left:
        try:
            executor.check(spec.resources)
        except ResourcesError as error:
            refusals.append(str(error))
    if refusals:
        complain("\n".join([*refusals, "a run would not start"]))
        return 2
    return 1 if failed and not left else 0


def _local_slots(spec: SweepSpec) -> int:
    slots = usable_cores() / spec.resources.cpu
    if spec.resources.gpu:
        slots = min(slots, usable_gpus() / spec.resources.gpu)
    return max(int(slots), 1)


def _print_plan(console: Console, plan: Plan, store: Store, slots: int) -> None:
    table = counts_table("grid", "done", "failed", "missing")
    for grid in plan.grids():
        table.add_row(grid.name, f"{grid.done:,}", f"{grid.failed:,}", f"{grid.missing:,}")
    console.print(table)
    console.print(f"no longer wanted: {plan.unwanted:,} cells, which stay in {store.location}")
    if plan.without_curve:
        console.print(f"run again: {plan.without_curve:,} cells that are done, but for their curve, which is missing")
    print_looks(console, plan)
    trials = len(pack_cells(plan.to_run, slots))
    time = f"; expected time: {plan.estimate().in_words(slots)}" if plan.to_run else ""
    console.print(f"to run: {len(plan.to_run):,} cells in {trials:,} Tune trials{time}{_may_follow(plan)}")


def _may_follow(plan: Plan) -> str:
    further = plan.cells_at_most - len(plan.cells)
    return f"; up to {further:,} may follow" if plan.to_run and further else ""


def print_looks(console: Console, plan: Plan) -> None:
    """Says what was decided, where repetitions are added until they suffice."""
    for line in plan.looks_in_words():
        console.print(line)


def _run(console: Console, plan: Plan, store: Store, executor: Executor, budget: Budget) -> int:
    """Runs what the plan says and reports it. Returns the exit code."""
    interrupted = False
    if plan.to_run:
        interrupted = run_cells(console, plan, store, executor, budget)
        plan = plan.held_against(store)
    keep_looks(plan, store)
    counts, failures = plan.counts(), plan.failures()
    console.print(f"{plan.spec.name}: {counts.done:,} of {len(plan.cells):,} cells done, {counts.failed:,} failed")
    for status, count in failures.items():
        console.print(f"  {status}: {count:,}, for example {_example(store, plan.cells, status)}")
    if failures:
        console.print("  the column `error` has each exception; --retry-failed runs these cells again")
    print_looks(console, plan)
    console.print(f"results: {store.location}   ({commands.read_cells(store.place('cells'))})")
    if interrupted:
        console.print("interrupted: the same command resumes from here")
        return INTERRUPTED
    if counts.missing and budget.spent():
        console.print(f"{budget.spent()}: the same command resumes with the {counts.missing:,} cells that are missing")
        return BUDGET_SPENT
    console.print(f"next:    {commands.what_next(store.location, counts.done)}")
    return 1 if counts.failed or counts.missing else 0


def run_cells(
    console: Console, plan: Plan, store: Store, executor: Executor, budget: Budget,
    progress_type: Callable[..., Progress] = Progress,
) -> bool:  # fmt: skip
    """Runs the plan's cells. Returns whether a user or the system interrupted it."""
    at_hand = len(plan.cells) - len(plan.to_run)
    console.print(f"{plan.spec.name}: {len(plan.to_run):,} cells to run, {at_hand:,} at hand{_may_follow(plan)}")
    nominal_seconds = sum(cell.nominal_seconds() for cell in plan.to_run)
    progress = progress_type(len(plan.to_run), nominal_seconds, console, metric=plan.spec.experiment.main_metric)
    with running(plan.spec, store, executor, budget, progress) as (job, slots):
        progress.expect(plan.estimate(), slots)
        try:
            executor.run(packs_of(plan, job, slots), job)
        except StoreError as error:
            raise StoreError(f"{error}\nthe sweep was ended; what was written is kept. {RESUMES}") from error
    return job.interruption.asked


def keep_looks(plan: Plan, store: Store) -> None:
    """Writes into the store what was decided, where repetitions are added until they suffice."""
    if plan.looks:
        store.write_looks(plan.looks.rows())


def _example(store: Store, cells: Sequence[Cell], status: str) -> str:
    wanted = {cell.cell_id for cell in cells}
    frame = store.load(columns=["cell_id", "status", "error"])
    found = frame[(frame["status"] == status) & frame["cell_id"].isin(wanted)]
    if found.empty:
        return "a cell that another run has computed since"
    cell_id, error = found[["cell_id", "error"]].iloc[0]
    return f"{cell_id}: {str(error).partition(chr(10))[0]}"
