"""`python -m tests.logical_gpus FOLDER ADDRESS`: a sweep whose trials hold halves of GPUs that are only numbers."""

from __future__ import annotations

import sys
from pathlib import Path

from rich.console import Console

from dvq_ray.execution.grid_packs import GridPacks
from dvq_ray.execution.job import Job
from dvq_ray.execution.progress import Progress
from dvq_ray.execution.tune.under_tune import UnderTune
from dvq_ray.experiment.surroundings import Surroundings
from dvq_ray.process.interruption import Interruption
from dvq_ray.store import Store
from dvq_ray.store.provenance import Run
from dvq_ray.sweep.cells import Pack, expand
from dvq_ray.sweep.spec import Resources, load_sweep

HALF = Resources(cpu=1, gpu=0.5)


def main(file: Path, store: str, address: str) -> None:
    """A pack for each cell, computed on CPUs."""
    cells, _ = expand(load_sweep(file))
    executor = UnderTune(address)
    with (
        Interruption() as interruption,
        executor.started(HALF),
        Progress(len(cells), 1.0, Console(quiet=True)) as progress,
    ):
        interruption.listen()
        job = Job(
            store=Store(store), run=Run.start("nodes"), resources=HALF, surroundings=Surroundings(),
            progress=progress, interruption=interruption,
        )  # fmt: skip
        executor.run(GridPacks([Pack(cells=[cell]) for cell in cells], job), job)
    failed = job.store.load(["cell_id", "status", "error"]).query("status != 'ok'")
    print(failed.to_string())
    sys.exit(1 if len(failed) else 0)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
