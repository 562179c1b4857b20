"""`python -m benchmarks.chaos`: a sweep on three nodes under random kills, held against an undisturbed one.

Nodes are Ray's own test cluster on this machine. At random moments a worker, a whole node or the driver is ended with
SIGKILL; a lost node is replaced, and a lost driver's command is given again. What counts is what is left: every cell
once, with the metrics of a run that nothing disturbed, to the bit.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import click
import pandas as pd
from rich.console import Console

from benchmarks.static_prior.tables import say, show
from tests.nodes import nodes, workers_of
from tests.sweep_files import NOT_A_RESULT

SWEEP = """\
name: chaos
trainable: static_prior
seeds: {seeds}
fixed: {{factors: 8, train_samples: 256, codebook_size: 16, steps: {steps}}}
grids:
  plain: {{quantizer: vq, dimension: [2, 4, 8, 16]}}
  slices: {{quantizer: dvq, dimension: 16, slices: [2, 4, 8, 16]}}
"""
POINTS = 8
NODES = 3
LONGEST_SECONDS = 3600.0


@click.command()
@click.option("--cells", default=2000, show_default=True, help="Cells of the sweep, a multiple of 8.")
@click.option("--kills", default=60, show_default=True, help="Kills while it runs, of all kinds together.")
@click.option("--steps", default=12000, show_default=True, help="Of each cell: 12,000 are some tenths of a second.")
@click.option("--seed", default=0, show_default=True, help="Of the kinds and moments of kills.")
def main(cells: int, kills: int, steps: int, seed: int) -> None:
    """Exit code 0: nothing lost, nothing twice, nothing different."""
    with tempfile.TemporaryDirectory(prefix="chaos_") as folder:
        file = Path(folder) / "chaos.yaml"
        file.write_text(SWEEP.format(seeds=cells // POINTS, steps=steps))
        say(f"undisturbed: {cells:,} cells in one process")
        subprocess.run([*_command(file, f"{folder}/calm"), "--in-process"], check=True, stdout=subprocess.DEVNULL)
        say(f"disturbed: the same on {NODES} nodes, {kills} kills")
        started = time.monotonic()
        with nodes(NODES, num_cpus=1) as cluster:
            killed, restarts = _disturbed(cluster, _command(file, f"{folder}/wild"), kills, random.Random(seed))
        seconds = time.monotonic() - started
        calm, wild = (_rows(f"{folder}/{name}/chaos/cells") for name in ("calm", "wild"))
    lost = len(calm.index.difference(wild.index))
    doubled = int(wild.index.duplicated().sum())
    both = calm.index.intersection(wild.index)
    different = _different(calm.loc[both], wild[~wild.index.duplicated()].loc[both])
    say(f"{cells:,} cells in {seconds:.0f} s, their start left in")
    show(
        ["what", "count"],
        [
            *([f"kills of {kind}s", str(count)] for kind, count in sorted(killed.items())),
            ["drivers started", str(restarts + 1)],
            ["cells lost", str(lost)],
            ["cells doubled", str(doubled)],
            ["cells that failed", str(int((wild["status"] != "ok").sum()))],
            ["metrics that differ", str(different)],
        ],
    )
    sys.exit(1 if lost or doubled or different or killed.total() < kills else 0)


def _command(file: Path, results: str) -> list[str]:
    return [sys.executable, "-m", "dvq_ray.sweep", str(file), "--results", results]


def _rows(cells: str) -> pd.DataFrame:
    """As pandas reads the files, without what differs from run to run."""
    return pd.read_parquet(cells).drop(columns=NOT_A_RESULT, errors="ignore").set_index("cell_id").sort_index()


def _different(calm: pd.DataFrame, wild: pd.DataFrame) -> int:
    """Values of rows that are not the same to the bit; lists count as one."""
    count = 0
    for column in calm:
        pairs = zip(calm[column], wild[column], strict=True)
        count += sum(repr(one) != repr(other) for one, other in pairs)
    return count


def _disturbed(cluster: Any, command: list[str], kills: int, choose: random.Random) -> tuple[Counter[str], int]:
    """Runs the command until it is done. Returns the kills by kind, and how often it was given again."""
    killed, restarts = Counter[str](), 0
    console, deadline = Console(stderr=True), time.monotonic() + LONGEST_SECONDS

    def start() -> subprocess.Popen[bytes]:
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        return subprocess.Popen([*command, "--address", cluster.address], **quiet)  # type: ignore[call-overload,no-any-return]

    driver = start()
    while driver.poll() is None or driver.returncode < 0:
        assert time.monotonic() < deadline, "the sweep does not come to its end"
        if driver.poll() is not None:
            driver, restarts = start(), restarts + 1
        time.sleep(choose.uniform(0.5, 3.0))
        workers = workers_of(cluster.worker_nodes)
        if killed.total() >= kills or not workers:  # nothing runs yet that could be lost
            continue
        kind = choose.choices(["worker", "node", "driver"], [4, 1, 1])[0]
        if kind == "worker":
            os.kill(choose.choice(workers), 9)
        elif kind == "node":
            cluster.remove_node(choose.choice(sorted(cluster.worker_nodes, key=id)), allow_graceful=False)
            cluster.add_node(num_cpus=1)
        else:
            driver.kill()
            driver.wait()
        killed[kind] += 1
        console.print(f"  {killed.total()} kills: {dict(killed)}", highlight=False)
    if driver.returncode:
        say(f"the last driver ended with exit code {driver.returncode}")
    return killed, restarts


if __name__ == "__main__":
    main()
