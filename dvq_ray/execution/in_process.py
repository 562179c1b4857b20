"""Packs in this process, without Ray."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

from dvq_ray.execution.executor import PackSource, ResourcesError
from dvq_ray.execution.job import Job
from dvq_ray.execution.pack import run_pack
from dvq_ray.sweep.spec import Resources


class InProcess:
    """One pack after the other in this process, without Ray: for debugging, and to measure what Ray costs."""

    def check(self, resources: Resources) -> None:
        """A GPU is needed where one is requested."""
        if resources.gpu:
            import torch

            if not torch.cuda.is_available():
                raise ResourcesError(f"resources.gpu is {resources.gpu:g}, and torch finds no GPU in this process")

    @contextmanager
    def started(self, resources: Resources) -> Iterator[int]:
        """One slot, in this process."""
        self.check(resources)
        yield 1

    def run(self, source: PackSource, job: Job) -> None:
        """Runs one pack after the other."""
        job.budget.hold(job.resources.gpu)
        while (pack := source.next()) is not None:
            stopped = None
            with closing(run_pack(pack, job.store, job.run, job.surroundings)) as advances:
                logged = 0
                for advance in advances:
                    source.counted(int(advance.done), int(advance.failed), advance.nominal_seconds, advance.values)
                    job.progress.tick(running=1)
                    if job.ends_after(advance):
                        return
                    if advance.status is None and len(advance.logged) > logged:
                        logged = len(advance.logged)
                        if source.stops(pack, advance.logged):
                            stopped = [*advance.logged]
                            break
            source.ended(pack, stopped=stopped)
