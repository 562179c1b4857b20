"""`python -m benchmarks.analysis`: a store of a million rows: reading it, its status, resuming it and the analysis.

The store is written as a merge leaves it, outside of the timing: real cells of the static prior with made-up numbers.
Each command runs as users run it, by turns with the same of another checkout where one is named; its memory is that of
all its processes together. The parts of the analysis then run one by one in one process. The naive way is
`pandas.read_parquet` of everything, then mean, deviation and number of every point by `groupby`: the least that an
analysis by hand would do. `--ten-million` takes ten million rows, and runs two commands alone.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import click

from benchmarks.made_up_rows import EXPERIMENT, SEEDS, write_store
from benchmarks.static_prior.tables import say, show, spread

ROUNDS = 5
WANTED = {"load_results": (1.0, 0.0), "status": (2.0, 0.0), "resuming": (2.0, 0.0), "figures and claims": (7.0, 1.0)}
"""Seconds and GiB that a command may take on two quiet cores; the first without starting Python."""
READ = """\
import sys, time
from dvq_ray import load_results
from dvq_ray.store.columns import known_kinds
known_kinds()  # imports what experiments declare
began, began_cpu = time.perf_counter(), time.process_time()
load_results(sys.argv[1])
print(time.perf_counter() - began, time.process_time() - began_cpu)
"""


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
    from analysis.claims.decide import decide
    from analysis.data.rows import load_rows
    from analysis.figures import ITEMS

    phases.end("import")
    rows = load_rows([location])
    phases.end("load")
    for name, item in ITEMS.items():
        attempt = make(item, rows, allow_missing=False)
        if not isinstance(attempt, Absent):
            phases.end(name if isinstance(attempt, Made) else f"{name} (refused)")
    phases.end("items that it has no cells for")
    claims.files(decide(claims.CLAIMS, rows), rows)
    phases.end("claims")


def figures_and_claims() -> list[str]:
    """Options that name the figures of the static prior, and the claims."""
    from analysis.figures import ITEMS

    tables = {"static_prior_table", "static_prior_table_dimensions", "static_prior_cost"}
    figures = [name for name, item in ITEMS.items() if item.needs.trainable == EXPERIMENT.name and name not in tables]
    return [word for name in (*figures, "claims") for word in ("--item", name)]


WAYS: dict[str, Callable[[str], None]] = {"naive": naive, "parts": parts}


def _commands(store: str, out: str) -> dict[str, list[str]]:
    """Arguments of Python, by what they do."""
    analysis = ["-m", "analysis", store, "--out", out]
    return {
        "load_results": ["-c", READ, store],
        "status": ["-m", "dvq_ray.status", store],
        "resuming": ["-m", "dvq_ray.sweep", f"{store}/sweep.yaml", "--results", str(Path(store).parent)],
        "figures and claims": [*analysis, *figures_and_claims()],
        "all items and the report": analysis,
    }


def _commands_for_many(store: str, out: str) -> dict[str, list[str]]:
    """Those that are used on ten million rows; the others would hold all columns of all rows."""
    return {
        "status": ["-m", "dvq_ray.status", store],
        "a figure": ["-m", "analysis", store, "--item", "figure3a", "--out", out],
    }


def _measure(arguments: list[str], checkout: str) -> tuple[float, float, float]:
    """Seconds, CPU seconds and the memory of all processes together."""
    started, before, peak_kib = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN), 0
    environment = {**os.environ, "PYTHONPATH": checkout}
    process = subprocess.Popen(
        [sys.executable, *arguments], cwd=checkout, env=environment, stdout=subprocess.PIPE, text=True
    )
    while process.poll() is None:
        peak_kib = max(peak_kib, _proportional_kib(process.pid))
        time.sleep(0.05)
    seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    assert process.stdout
    if process.returncode:
        raise click.ClickException(f"{' '.join(arguments)} ended with {process.returncode}")
    cpu_seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    if READ in arguments:
        seconds, cpu_seconds = map(float, process.stdout.read().split())
    return seconds, cpu_seconds, peak_kib / 2**20


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
@click.option("--quick", is_flag=True, help="A fifteenth of the rows and one round, to see that everything works.")
@click.option("--ten-million", "are_many", is_flag=True, help="Ten million rows: the status and one figure.")
@click.option("--store", type=click.Path(exists=True), help="Measure on this store, named made_up, and make none up.")
@click.option("--against", type=click.Path(exists=True), help="Another checkout, whose commands are run by turns.")
@click.option("--rounds", default=ROUNDS, show_default=True)
@click.option("--way", type=click.Choice(list(WAYS)), hidden=True, help="Run one way in this process.")
def main(
    quick: bool, are_many: bool, store: str | None, against: str | None, rounds: int, way: str | None
) -> None:  # fmt: skip
    """Print seconds and memory of each command, of each phase of the analysis, and of the naive way."""
    if way is not None:
        assert store is not None
        WAYS[way](store)
        return
    with tempfile.TemporaryDirectory(prefix="bench_") as folder:
        if store is None:
            store = f"{folder}/made_up"
            Path(store).mkdir()
            repetitions = 10 * SEEDS if are_many else SEEDS
            count = write_store(Path(store), quick=quick, rows_of_a_file=200_000, repetitions=repetitions)
            say(f"a store of {count:,} rows in {len(list(Path(store, 'cells').iterdir())):,} files")
        checkouts = {"": str(Path(__file__).parents[1])} | (
            {"before: ": str(Path(against).resolve())} if against else {}
        )
        commands = _commands_for_many if are_many else _commands
        found: dict[str, list[tuple[float, float, float]]] = {}
        for turn in range(1 if quick else rounds):
            # Who goes second may get pages that the first has just given back, so they take turns at that too.
            in_turn = [*checkouts.items()][:: -1 if turn % 2 else 1]
            for name, arguments in commands(os.path.abspath(store), f"{folder}/out").items():
                for when, checkout in in_turn:
                    found.setdefault(f"{when}{name}", []).append(_measure(arguments, checkout))
        phases = {} if are_many else {name: _measured(name, store) for name in WAYS}
    say(f"commands, min / median / max of rounds by turns; load at the end {os.getloadavg()[0]:.1f}")
    show(
        ("command", "seconds", "CPU seconds", "peak GiB", "wanted"),
        [(name, *(spread([run[place] for run in runs]) for place in range(3)), "" if are_many else _wanted(name))
         for name, runs in found.items()],
    )  # fmt: skip
    for name, its in phases.items():
        say(name)
        show(
            ("phase", "seconds", "CPU seconds", "peak GiB so far"),
            [(phase, *(f"{value:.2f}" for value in values)) for phase, *values in its],
        )


def _wanted(name: str) -> str:
    seconds, gibibytes = WANTED.get(name, (0.0, 0.0))
    return " and ".join([f"< {seconds:g} s"] * (seconds > 0) + [f"< {gibibytes:g} GiB"] * (gibibytes > 0))


if __name__ == "__main__":
    main()
