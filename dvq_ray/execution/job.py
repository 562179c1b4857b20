"""What every executor needs to know besides the packs."""

from __future__ import annotations

from dataclasses import dataclass, field

from dvq_ray.execution.budget import Budget
from dvq_ray.execution.pack import Advance
from dvq_ray.execution.progress import Progress
from dvq_ray.experiment.surroundings import Surroundings
from dvq_ray.process.interruption import Interruption
from dvq_ray.store import Store
from dvq_ray.store.provenance import Run
from dvq_ray.sweep.spec import Resources


@dataclass(frozen=True, kw_only=True)
class Job:
    """What an executor needs to know besides the packs."""

    store: Store
    run: Run
    resources: Resources
    surroundings: Surroundings
    progress: Progress
    interruption: Interruption
    budget: Budget = field(default_factory=Budget)

    @property
    def ending(self) -> bool:
        """Whether no further cell is to begin."""
        return self.interruption.asked or bool(self.budget.spent())

    def ends_after(self, advance: Advance) -> bool:
        """Whether a process that did this goes no further: an interruption cuts a cell off, a spent budget does not."""
        return self.interruption.asked or (advance.status is not None and bool(self.budget.spent()))
