"""`python -m benchmarks.analysis`: `python -m analysis` on a store of a million rows, against reading it naively.

The store is written as a sweep writes it, outside of the timing: real cells of the static prior with made-up numbers.
The command runs as users run it, in as many processes as there are usable cores: all of it, and the figures and claims
alone. Its memory is that of all its processes together. Its parts run one by one in one process. The naive way is
`pandas.read_parquet` of everything, then mean, deviation and number of every point by `groupby`: the least that an
analysis by hand would do.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import click

from benchmarks.made_up_rows import EXPERIMENT, write_store
from benchmarks.static_prior.tables import say, show

SECONDS, GIBIBYTES = 15.0, 1.5
"""What figures and claims of the static prior may take on two cores."""


class _Phases:
    """Prints a line of JSON for each phase: seconds, CPU seconds and the process' peak memory by its end."""

    def __init__(self) -> None:
        self._started = time.perf_counter(), time.process_time()

    def end(self, name: str) -> None:
        wall, cpu = time.perf_counter(), time.process_time()
        status = Path("/proc/self/status").read_text()  # getrusage would count the parent's memory before exec
        peak_kib = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
        print(json.dumps([name, wall - self._started[0], cpu - self._started[1], peak_kib / 2**20]), flush=True)
        self._started = time.perf_counter(), time.process_time()


def naive(location: str) -> None:
    phases = _Phases()
    import pandas as pd

    phases.end("import")
    frame = pd.read_parquet(Path(location, "cells"))
    phases.end("read_parquet")
    assert len(frame.groupby("point_id")["test_mse"].agg(["mean", "std", "count"]))
    phases.end("groupby")


def parts(location: str) -> None:
    phases = _Phases()
    from analysis.build import Absent, Made, make
    from analysis.claims import product as claims
    from analysis.data.rows import load_rows
    from analysis.figures import ITEMS

    phases.end("import")
    rows = load_rows([location])
    phases.end("load")
    for name, item in ITEMS.items():
        attempt = make(item, rows, allow_missing=False)
        if not isinstance(attempt, Absent):
            phases.end(name if isinstance(attempt, Made) else f"{name} (refused)")
    claims.files(claims.decisions(rows), rows)
    phases.end("claims")


def figures_and_claims() -> list[str]:
    """Options that name the figures of the static prior, and the claims."""
    from analysis.figures import ITEMS

    tables = {"static_prior_table", "static_prior_table_dimensions", "static_prior_cost"}
    figures = [name for name, item in ITEMS.items() if item.needs.trainable == EXPERIMENT.name and name not in tables]
    return [word for name in (*figures, "claims") for word in ("--item", name)]


WAYS: dict[str, Callable[[str], None]] = {"naive": naive, "parts": parts}


def _command(name: str, location: str, *options: str) -> tuple[str, float, float, float]:
    """`python -m analysis` as users run it: seconds, CPU seconds and the memory of its processes together."""
    with tempfile.TemporaryDirectory(prefix="bench_") as out:
        started, before, peak_kib = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN), 0
        command = [sys.executable, "-m", "analysis", location, "--out", out, *options]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        while process.poll() is None:
            peak_kib = max(peak_kib, _proportional_kib(process.pid))
            time.sleep(0.1)
        seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    if process.returncode:
        raise click.ClickException(f"{' '.join(command)} ended with {process.returncode}")
    cpu_seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return name, seconds, cpu_seconds, peak_kib / 2**20


def _proportional_kib(pid: int) -> int:
    """Memory of a process and its children; what several share counts once."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        children = [int(child) for task in Path(f"/proc/{pid}/task").iterdir()
                    for child in (task / "children").read_text().split()]  # fmt: skip
    except (FileNotFoundError, ProcessLookupError):  # ended meanwhile
        return 0
    own = next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
    return own + sum(map(_proportional_kib, children))


def _measured(way: str, location: str) -> list[tuple[str, float, float, float]]:
    """Each phase, then all of them together."""
    command = [sys.executable, "-m", "benchmarks.analysis", "--way", way, "--store", location]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    phases = [tuple(json.loads(line)) for line in printed.splitlines()]
    seconds, cpu_seconds = (sum(phase[place] for phase in phases) for place in (1, 2))
    return [*phases, ("in all", seconds, cpu_seconds, max(phase[3] for phase in phases))]


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--quick", is_flag=True, help="A fifteenth of the rows, to see that everything works.")
@click.option("--store", type=click.Path(exists=True), help="Measure on this store and make none up.")
@click.option("--way", type=click.Choice(list(WAYS)), hidden=True, help="Run one way in this process.")
def main(quick: bool, store: str | None, way: str | None) -> None:
    """Print seconds and peak memory of each phase, and of the naive way."""
    if way is not None:
        assert store is not None
        WAYS[way](store)
        return
    with ExitStack() as stack:
        if store is None:
            store = stack.enter_context(tempfile.TemporaryDirectory(prefix="bench_"))
            count = write_store(Path(store), quick=quick)
            say(f"a store of {count:,} rows in {len(list(Path(store, 'cells').iterdir())):,} files")
        found = {name: _measured(name, store) for name in WAYS}
        found["python -m analysis"] = [
            _command("all items and the report", store),
            _command("figures and claims", store, *figures_and_claims()),
        ]
    for name, phases in found.items():
        say(name)
        show(
            ("phase", "seconds", "CPU seconds", "peak GiB so far"),
            [(phase, *(f"{value:.2f}" for value in values)) for phase, *values in phases],
        )
    (_, *theirs), (_, *mine) = found["naive"][-1], found["python -m analysis"][-1]
    ratios = [f"{a / b:.1f}" for a, b in zip(mine, theirs, strict=True)]
    say(
        f"figures and claims over naive: {ratios[0]} times the seconds, {ratios[1]} times the CPU seconds, {ratios[2]} "
        f"times the memory; wanted: under {SECONDS:g} s and {GIBIBYTES:g} GiB"
    )


if __name__ == "__main__":
    main()
