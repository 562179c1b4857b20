"""The command line of grids: what is there, running what is missing, saying what came of it."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Console

from dvq_ray.cli import commands
from dvq_ray.cli.terminal import counts_table
from dvq_ray.execution.budget import BUDGET_SPENT, Budget
from dvq_ray.execution.executor import Executor
from dvq_ray.execution.progress import Progress
from dvq_ray.execution.running import running
from dvq_ray.execution.sequential_packs import packs_of
from dvq_ray.process.interruption import INTERRUPTED
from dvq_ray.store import Store, StoreError
from dvq_ray.sweep.cells import pack_cells
from dvq_ray.sweep.plan import Plan

RESUMES = "The same command resumes once that is fixed."


def print_plan(console: Console, plan: Plan, store: Store, slots: int) -> None:
    """Prints what each grid has and what would run in so many `slots`. Writes nothing."""
    table = counts_table("grid", "done", "failed", "missing")
    for grid in plan.grids():
        table.add_row(grid.name, f"{grid.done:,}", f"{grid.failed:,}", f"{grid.missing:,}")
    console.print(table)
    console.print(f"no longer wanted: {plan.unwanted:,} cells, which stay in {store.location}")
    if plan.without_curve:
        console.print(f"run again: {plan.without_curve:,} cells that are done, but for their curve, which is missing")
    if plan.without_kept:
        kept = ", ".join(sorted(plan.spec.keep))
        console.print(f"run again: {plan.without_kept:,} cells that are done, but have not kept all of: {kept}")
    _print_looks(console, plan)
    trials = len(pack_cells(plan.to_run, slots))
    time = f"; expected time: {plan.estimate().in_words(slots)}" if plan.to_run else ""
    console.print(f"to run: {len(plan.to_run):,} cells in {trials:,} Tune trials{time}{_may_follow(plan)}")


def run_plan(
    console: Console, plan: Plan, store: Store, executor: Executor, budget: Budget,
    progress_type: Callable[..., Progress] = Progress,
) -> int:  # fmt: skip
    """Runs what the plan says and reports it. Returns the exit code of the command line."""
    interrupted = False
    if plan.to_run:
        interrupted = _run(console, plan, store, executor, budget, progress_type)
        plan = plan.held_against(store)
    if plan.looks:
        store.write_looks(plan.looks.rows())
    return _report(console, plan, store, budget, interrupted=interrupted)


def _run(
    console: Console, plan: Plan, store: Store, executor: Executor, budget: Budget,
    progress_type: Callable[..., Progress],
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


def _report(console: Console, plan: Plan, store: Store, budget: Budget, *, interrupted: bool) -> int:
    counts, failures = plan.counts(), plan.states.failures()
    console.print(f"{plan.spec.name}: {counts.done:,} of {len(plan.cells):,} cells done, {counts.failed:,} failed")
    for status, count in failures.items():
        console.print(f"  {status}: {count:,}, for example {_example(store, plan, status)}")
    if failures:
        console.print("  the column `error` has each exception; --retry-failed runs these cells again")
    _print_looks(console, plan)
    console.print(f"results: {store.location}   ({commands.read_cells(store.place('cells'))})")
    if interrupted:
        console.print("interrupted: the same command resumes from here")
        return INTERRUPTED
    if counts.missing and budget.spent():
        console.print(f"{budget.spent()}: the same command resumes with the {counts.missing:,} cells that are missing")
        return BUDGET_SPENT
    console.print(f"next:    {commands.what_next(store.location, counts.done)}")
    return 1 if counts.failed or counts.missing else 0


def _may_follow(plan: Plan) -> str:
    further = plan.cells_at_most - len(plan.cells)
    return f"; up to {further:,} may follow" if plan.to_run and further else ""


def _print_looks(console: Console, plan: Plan) -> None:
    """Prints what was decided, where repetitions are added until they suffice."""
    for line in plan.looks_in_words():
        console.print(line)


def _example(store: Store, plan: Plan, status: str) -> str:
    frame = store.load(columns=["cell_id", "point_id", "seed", "status", "error"])
    failed = frame[frame["status"] == status]
    found = failed[plan.cells.find(failed) >= 0]
    if found.empty:
        return "a cell that another run has computed since"
    cell_id, error = found[["cell_id", "error"]].iloc[0]
    return f"{cell_id}: {str(error).partition(chr(10))[0]}"
