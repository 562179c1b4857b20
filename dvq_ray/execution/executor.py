"""What an executor is: it runs packs, and leaves rows in the store and nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from dvq_ray.execution.job import Job
from dvq_ray.store import Status
from dvq_ray.sweep.cells import Pack
from dvq_ray.sweep.spec import Resources

if TYPE_CHECKING:
    from dvq_ray.search.supply import Supply


class ResourcesError(RuntimeError):
    """No such cluster, or a trial needs more than there is and would wait for ever. Raised before anything starts."""


@dataclass(frozen=True, kw_only=True)
class Death:
    """Why a cell has no row: its worker died, again and again."""

    status: Status
    error: str
    its_own: bool
    """Whether the cell may have done it. A lost node, or a worker that did not come up, is none of its doing."""


class Executor(Protocol):
    """Runs packs until they are done, a budget is spent or an interruption is asked for."""

    def check(self, resources: Resources) -> None:
        """Raises `ResourcesError` where `started` would, as far as that shows without starting anything."""
        ...

    def started(self, resources: Resources) -> AbstractContextManager[int]:
        """Holds what the packs run on, and gives the number of packs that run at once.

        Raises `ResourcesError` where no trial could ever start.
        """
        ...

    def run(self, packs: Sequence[Pack], job: Job) -> Mapping[str, Death]:
        """Returns, by id, the cells whose worker died for good before it wrote the cell's row.

        Raises `StoreError` where a worker could not write to the store, or read from it.
        """
        ...

    def search(self, supply: Supply, job: Job) -> None:
        """Runs what `supply` hands out until it is finished or an interruption is asked for."""
        ...
