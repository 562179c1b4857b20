"""`python -m dvq_ray.sweep sweeps/static_prior.yaml`: plan a sweep, run what is missing, say what came of it."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from dvq_ray.cli.duration import Duration
from dvq_ray.cli.sweep_run import REFUSALS, SweepRun
from dvq_ray.cli.terminal import Command, complain, console
from dvq_ray.process.interruption import INTERRUPTED
from dvq_ray.sweep.spec import load_sweep


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
    try:
        run = SweepRun(
            load_sweep(spec, overrides), results, in_process=in_process, address=address, max_concurrent=max_concurrent,
            retry_failed=retry_failed, time_budget=time_budget, gpu_hours=gpu_hours,
        )  # fmt: skip
        if dry_run:
            sys.exit(run.preview(console()))
        for line in run.prepare_store():
            complain(f"warning: {line}")
        sys.exit(run.run(console()))
    except REFUSALS as error:
        complain(str(error))
        sys.exit(2)
    except KeyboardInterrupt:
        complain("interrupted: the same command resumes with what is not in the store")
        sys.exit(INTERRUPTED)
