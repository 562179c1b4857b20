"""`python -m benchmarks.static_prior`: what sweeps of the static prior cost, measured side by side on these cores."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Sequence

import click

from dvq_ray.execution.machine import usable_cores

BENCHMARKS = {
    "throughput": "throughput:measure",
    "kernels": "kernels:measure",
    "builds": "builds:measure",
    "planning": "scale:planning",
    "resuming": "scale:resuming",
    "memory": "scale:memory",
}


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--quick", is_flag=True, help="Small counts, to see that everything works.")
@click.option("--only", "names", multiple=True, type=click.Choice(list(BENCHMARKS)), help="Can be repeated.")
def main(quick: bool, names: Sequence[str]) -> None:
    """Print tables of throughput, kernels, their builds, planning, resuming and memory."""
    if len(names) == 1:
        # Imported here, so that what one benchmark needs (torch) is not in the memory of another.
        module, _, function = BENCHMARKS[names[0]].partition(":")
        getattr(importlib.import_module(f"benchmarks.static_prior.{module}"), function)(quick)
        return
    for name in names or BENCHMARKS:
        # Each in a process of its own, because Ray and torch read settings once and keep memory.
        flags = ["--quick"] if quick else []
        print(f"\n{name}, load {os.getloadavg()[0]:.1f} on {usable_cores()} cores", flush=True)
        subprocess.run([sys.executable, "-m", "benchmarks.static_prior", "--only", name, *flags], check=True)


if __name__ == "__main__":
    main()
