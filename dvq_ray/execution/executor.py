"""What an executor is, and what it runs: packs that a source hands out. All that it leaves are rows in the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from dvq_ray.execution.job import Job
from dvq_ray.execution.measured import Measured
from dvq_ray.store import Status
from dvq_ray.sweep.cells import Pack
from dvq_ray.sweep.spec import Resources


class ResourcesError(RuntimeError):
    """No such cluster, or a trial needs more than there is and would wait for ever. Raised before anything starts."""


@dataclass(frozen=True, kw_only=True)
class Death:
    """Why cells of a pack have no row: its worker died, again and again."""

    status: Status
    error: str
    its_own: bool
    """Whether a cell may have caused it. A cell causes neither the loss of a node nor a worker that does not start."""


class PackSource(Protocol):
    """Hands out packs, and learns what became of them. A grid is one, and a search another."""

    @property
    def learns(self) -> bool:
        """Whether the next pack depends on results: it is then requested only when it can start."""
        ...

    @property
    def finished(self) -> bool:
        """Whether no pack is left, and none that is underway can lead to another one."""
        ...

    def next(self) -> Pack | None:
        """Hands out a pack; None where there is none now."""
        ...

    def counted(self, done: int, failed: int, nominal_seconds: float, values: Sequence[Measured]) -> None:
        """Takes note of cells that ended while their pack runs, and of values of the main metric."""
        ...

    def stops(self, pack: Pack, logged: Sequence[Mapping[str, Any]]) -> bool:
        """Whether a pack is to be stopped early, given the curve so far of the cell that it watches."""
        ...

    def ended(
        self, pack: Pack, *, death: Death | None = None, stopped: Sequence[Mapping[str, Any]] | None = None
    ) -> None:
        """Takes note that nothing computes the pack's cells any more.

        Where its worker died, `death` says why. Where it was stopped early, `stopped` is the curve of the cell so far.
        """
        ...


class Executor(Protocol):
    """Runs packs until their source is finished, a budget is spent or an interruption is requested."""

    def check(self, resources: Resources) -> None:
        """Raises `ResourcesError` where `started` would, as far as that shows without starting anything."""
        ...

    def started(self, resources: Resources) -> AbstractContextManager[int]:
        """Holds what the packs run on, and gives the number of packs that run at once.

        Raises `ResourcesError` where no trial could ever start.
        """
        ...

    def run(self, source: PackSource, job: Job) -> None:
        """Runs the packs of a source, and reports to it how each ended.

        A pack that a budget or an interruption cuts off is not reported. Raises `StoreError` where a worker could not
        use the store.
        """
        ...
