"""Packs in this process, without Ray."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from dvq_ray.execution.executor import Death, ResourcesError
from dvq_ray.execution.job import Job
from dvq_ray.execution.pack import run_pack
from dvq_ray.sweep.cells import Pack
from dvq_ray.sweep.spec import Resources

if TYPE_CHECKING:
    from dvq_ray.search.supply import Supply


class InProcess:
    """One pack after the other in this process, without Ray: for debugging, and to measure what Ray costs."""

    def check(self, resources: Resources) -> None:
        """A GPU is needed where one is asked for."""
        if resources.gpu:
            import torch

            if not torch.cuda.is_available():
                raise ResourcesError(f"resources.gpu is {resources.gpu:g}, and torch finds no GPU in this process")

    @contextmanager
    def started(self, resources: Resources) -> Iterator[int]:
        """One slot, in this process."""
        self.check(resources)
        yield 1

    def run(self, packs: Sequence[Pack], job: Job) -> Mapping[str, Death]:
        """Ends at once where an interruption is asked for, and after the cell in hand where a budget is spent."""
        job.budget.hold(job.resources.gpu)
        for pack in packs:
            with closing(run_pack(pack, job.store, job.run, job.surroundings)) as advances:
                for advance in advances:
                    job.progress.advance(int(advance.done), int(advance.failed), advance.nominal_seconds)
                    if advance.value is not None:
                        job.progress.measured(advance.value)
                    job.progress.tick(running=1)
                    if job.ends_after(advance):
                        return {}
        return {}

    def search(self, supply: Supply, job: Job) -> None:
        """One pack after the other. Nothing is stopped early: halving compares trials that run side by side."""
        job.budget.hold(job.resources.gpu)
        while (pack := supply.next()) is not None:
            with closing(run_pack(pack, job.store, job.run, job.surroundings)) as advances:
                for advance in advances:
                    job.progress.tick(running=1)
                    if job.ends_after(advance):
                        return
            supply.ended(pack)
