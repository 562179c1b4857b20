"""`python -m benchmarks.long_search`: what a search of thousands of suggestions costs its driver.

One process for each sampler searches a space of numbers, whose cells take a few milliseconds each, in this process.
Reported are the mean CPU time from one suggestion to the next, its cell included, for the first and the last tenth of
them; the most memory of the process up to a quarter of the suggestions and up to the end; and the CPU time of running
the finished search again, which reads the journal and finds nothing left. CPU time holds on a busy machine too.
"""

from __future__ import annotations

import itertools
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click

from benchmarks.static_prior.tables import say, show

SAMPLERS = ("random", "tpe", "gp", "nsga2", "cmaes")


def sweep_of(sampler: str, suggestions: int) -> dict[str, object]:
    """A search with three numbers; its cells take some milliseconds."""
    return {
        "name": "long_search",
        "trainable": "static_prior",
        "seeds": 1,
        "fixed": {"quantizer": "dvq", "dimension": 4, "slices": 2, "codebook_size": 4, "factors": 16, "steps": 20},
        "search": {
            "objective": {"test_mse": "minimize"},
            "sampler": sampler,
            "suggestions": suggestions,
            "space": {
                "init_bound": {"low": 0.05, "high": 10.0, "log": True},
                "learning_rate": {"low": 0.001, "high": 1.0, "log": True},
                "batch_size": {"low": 8, "high": 64},
            },
        },
    }


def search(sampler: str, suggestions: int) -> dict[str, object]:
    """Runs the search and then runs it again: what both took, of this process."""
    from dvq_ray import SweepProgress, run_sweep

    at: list[float] = []
    memory: list[int] = []  # the most so far, in KiB

    def progress(now: SweepProgress) -> None:
        while len(at) < now.done:
            at.append(time.process_time())
            memory.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)

    with tempfile.TemporaryDirectory() as folder:
        sweep = sweep_of(sampler, suggestions)
        rows = run_sweep(sweep, results=folder, in_process=True, progress=progress)
        began = time.process_time()
        run_sweep(sweep, results=folder, in_process=True)
        again = time.process_time() - began
    tenth = max(2, len(at) // 10)
    gaps = [later - earlier for earlier, later in itertools.pairwise(at)]
    return {
        "sampler": sampler,
        "suggestions": len(rows),
        "first": statistics.mean(gaps[:tenth]),
        "last": statistics.mean(gaps[-tenth:]),
        "memory_at_a_quarter": memory[len(memory) // 4] / 2**10,
        "memory_at_the_end": memory[-1] / 2**10,
        "again": again,
        "seconds": at[-1] - at[0],
    }


@click.command()
@click.option("--suggestions", default=2000, show_default=True)
@click.option("--sampler", "names", multiple=True, type=click.Choice(SAMPLERS), help="Default: random and tpe.")
@click.option("--alone", is_flag=True, hidden=True, help="Search in this process and print JSON.")
def main(suggestions: int, names: tuple[str, ...], alone: bool) -> None:
    """What a search of thousands of suggestions costs its driver."""
    if alone:
        print(json.dumps(search(names[0], suggestions)))
        return
    table = []
    for name in names or ("random", "tpe"):
        command = [sys.executable, "-m", "benchmarks.long_search", "--alone"]
        command += ["--suggestions", str(suggestions), "--sampler", name]
        printed = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=Path(__file__).parents[1])
        row = json.loads(printed.stdout.splitlines()[-1])
        table.append(
            [
                name,
                f"{row['first'] * 1000:.1f}",
                f"{row['last'] * 1000:.1f}",
                f"{row['memory_at_a_quarter']:.0f}",
                f"{row['memory_at_the_end']:.0f}",
                f"{row['again']:.2f}",
                f"{row['seconds']:.0f}",
            ]
        )
    say(f"{suggestions} suggestions, one process")
    headings = "CPU ms each, at first", "at last", "MiB at a quarter", "at the end", "again, CPU s", "all, CPU s"
    show(["", *headings], table)


if __name__ == "__main__":
    main()
