"""The frame of every run of a sweep: what is held while it lasts, and what is written before and after."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from dvq_ray.execution.budget import Budget
from dvq_ray.execution.executor import Executor
from dvq_ray.execution.job import Job
from dvq_ray.execution.progress import Progress
from dvq_ray.process.interruption import Interruption
from dvq_ray.store import Store
from dvq_ray.store.heartbeat import Heartbeat
from dvq_ray.store.provenance import Run
from dvq_ray.sweep.spec import SweepSpec


@contextmanager
def running(
    spec: SweepSpec, store: Store, executor: Executor, budget: Budget, progress: Progress
) -> Iterator[tuple[Job, int]]:
    """The length of a run of a sweep: its job, and the number of packs that run at once.

    The sweep file is kept before, the store is merged after. Where an error comes out of it nothing is merged.
    """
    run = Run.start(spec.name)
    with (
        Interruption() as interruption,
        executor.started(spec.resources) as slots,
        Heartbeat(store, run, lambda: "interrupted" if interruption.asked else budget.spent()),
    ):
        interruption.listen()  # Ray sets signal handlers of its own when it starts
        store.write_sweep(spec.as_yaml())
        with progress:
            job = Job(
                store=store,
                run=run,
                resources=spec.resources,
                surroundings=spec.surroundings(),
                progress=progress,
                interruption=interruption,
                budget=budget,
            )
            yield job, slots
            progress.last_line()
        store.merge()
