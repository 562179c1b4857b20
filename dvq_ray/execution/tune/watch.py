"""What the driver sees of Tune's trials: progress, what is spent, and by which fault a trial ended."""

from __future__ import annotations

import re
import traceback
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray
from ray import cloudpickle, tune
from ray.exceptions import ActorUnavailableError, OutOfMemoryError, RayActorError

from dvq_ray.execution.exception_text import clean
from dvq_ray.execution.executor import Death, PackSource
from dvq_ray.execution.job import Job
from dvq_ray.execution.measured import Measured
from dvq_ray.execution.tune.kills_on_nodes import KillsOnNodes
from dvq_ray.execution.tune.lost_workers import LostWorkerError
from dvq_ray.execution.tune.trainables import BEST, LAST, LOGGED
from dvq_ray.store import StoreError
from dvq_ray.sweep.cells import Pack

if TYPE_CHECKING:
    from ray.tune.experiment import Trial

    from dvq_ray.execution.tune.cluster_watch import ClusterWatch

WORKER_RESTARTS = 2
"""How often a pack whose worker died is run again before its cells are tried one by one."""
NODE_LOSSES = 100
"""How often a pack is run again because its node was lost, which it did not cause."""
_RAISED = re.compile(r"^(?!traceback)[A-Za-z_][\w.]*: \S.*$", re.MULTILINE)
"""The line of a traceback that names its exception."""
MEMORY_RESTARTS = 1
"""How often a pack is resumed after memory ran out and its worker was killed, perhaps because of another's cells."""


class Watch(tune.Callback):
    """Feeds the progress line and the budget, tells faults apart, and reports to the source how its packs end.

    A trial whose node was lost is run again and again, one whose worker died a few times. A store that cannot be
    written ends everything: what would be computed from there on would be lost.

    `packs` are those of the trials that have not ended. What has ended is removed here.
    """

    def __init__(self, job: Job, gate: Any, source: PackSource, packs: dict[str, Pack]) -> None:
        self.job = job
        self._source = source
        self._packs = packs
        self._logged: dict[str, Sequence[Mapping[str, Any]]] = {}
        self._done: set[str] = set()
        self._cluster: ClusterWatch | None = None
        self.store_error = ""
        """Why the store could not be used, by a worker."""
        self._kills = KillsOnNodes()
        self._gate = gate
        self._last_cells: set[str] | None = None
        self._node_losses: Counter[str] = Counter()
        self._store_faults = 0
        """Failures in a row, of any trial."""

    @property
    def over(self) -> bool:
        """Whether Tune is to end now, whatever runs."""
        return self.job.interruption.asked or bool(self.store_error) or self._last_cells == set()

    def begin(self, cluster: ClusterWatch) -> None:
        """Takes note of the state of things before the first trial."""
        self._cluster = cluster
        self._kills.started_here()

    def on_step_end(self, iteration: int, trials: list[Trial], **_: Any) -> None:
        """A tick of the progress line and of the budget."""
        running = {trial.trial_id for trial in trials if trial.status == "RUNNING"}
        self.job.progress.tick(running=len(running))
        self.job.budget.hold(len(running) * self.job.resources.gpu)
        if self._gate is not None and self._last_cells is None and self.job.budget.spent():
            ray.get(self._gate.shut.remote())
            self._last_cells = running

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **_: Any
    ) -> None:
        """Counts cells, and keeps the curve so far: the row of a cell that is stopped early is written from it."""
        self._store_faults = 0
        self._kills.reported(trial.trial_id, result)
        values = [Measured(*result[key]) for key in (BEST, LAST) if key in result]
        self._source.counted(result["cells_done"], result["cells_failed"], result["seconds_done"], values)
        if LOGGED in result:
            self._logged[trial.trial_id] = result[LOGGED]
        if result.get("pack_done"):
            self._done.add(trial.trial_id)

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **_: Any) -> None:
        """Its pack is done, or the scheduler stopped it; or everything is to stop."""
        pack, logged, is_done = self._ended(trial)
        if pack is not None and (is_done or not self.job.ending):
            self._source.ended(pack, stopped=None if is_done else logged)

    def on_trial_recover(self, iteration: int, trials: list[Trial], trial: Trial, **_: Any) -> None:
        """Its worker is gone and it is about to be run again."""
        error = _error(trial)
        if fault := _store_fault(error):
            self._store_faults += 1
            if self._store_faults > WORKER_RESTARTS:  # each was patient, so a few are enough to end
                self.store_error = fault
        elif is_node_loss(error) and self._node_losses[trial.trial_id] < NODE_LOSSES:
            self._node_losses[trial.trial_id] += 1
            trial.max_failures += 1
        elif self._memory_ran_out(trial, error):
            failures = trial.run_metadata.num_failures
            trial.max_failures = min(trial.max_failures, failures + MEMORY_RESTARTS - 1)

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **_: Any) -> None:
        """It was run again often enough."""
        pack = self._ended(trial)[0]
        error = _error(trial)
        if fault := _store_fault(error):
            self.store_error = fault
            return
        if self._cluster is not None and self._cluster.refused():
            return  # its thread is about to end everything: no cell has to do with it
        # Tune gives up at once what fails before it runs.
        never_ran = trial.run_metadata.num_failures <= trial.max_failures
        memory = self._memory_ran_out(trial, error)
        death = Death(
            status="out_of_memory" if memory else "error",
            error=_text(trial, error, memory),
            its_own=not is_node_loss(error) and not never_ran,
        )
        if pack is not None:
            self._source.ended(pack, death=death)

    def _memory_ran_out(self, trial: Trial, error: object) -> str:
        """How that is known; empty if it did not, or nothing says so."""
        if isinstance(_cause(error), OutOfMemoryError):
            return "Ray ended the worker because its node was short of memory"
        if isinstance(_cause(error), MemoryError):
            return "memory ran out in the worker"
        return self._kills.since_last_report(trial.trial_id, error) if isinstance(error, RayActorError) else ""

    def _ended(self, trial: Trial) -> tuple[Pack | None, Sequence[Mapping[str, Any]] | None, bool]:
        """Forgets a trial. Gives its pack, what it logged last, and whether it did all of its pack."""
        if self._last_cells is not None:
            self._last_cells.discard(trial.trial_id)
        is_done = trial.trial_id in self._done
        self._done.discard(trial.trial_id)
        return self._packs.pop(trial.trial_id, None), self._logged.pop(trial.trial_id, None), is_done

    def __reduce__(self) -> Any:  # Tune pickles what it is given, but never comes back to it
        return object, ()


def is_node_loss(error: object) -> bool:
    """Whether a worker is gone because its machine is, or out of reach, and did not die by itself.

    Of a machine that is known to be lost Ray says so in words alone. Where it cannot reach a worker it does not know
    yet what became of it; a worker's own death is known within a second, so the machine is the more likely loss. Where
    a machine was pre-empted with notice Tune itself does not count that as a failure.
    """
    if isinstance(error, ActorUnavailableError) or (isinstance(error, LostWorkerError) and error.machine_is_gone):
        return True
    lost = ("its node has died", "node was terminated")
    return isinstance(error, RayActorError) and any(words in str(error) for words in lost)


def stopper(over: Callable[[], bool]) -> tune.Stopper:
    """Ends a run of Tune at the next moment at which `over` is true."""

    class Stopper(tune.Stopper):
        def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
            return False

        def stop_all(self) -> bool:
            return over()

        def __reduce__(self) -> Any:
            return object, ()

    return Stopper()


def _store_fault(error: object) -> str:
    """Why a worker could not use the store; empty where it ended by something else."""
    cause = _cause(error)
    return str(cause) if isinstance(cause, StoreError) else ""


def _cause(error: object) -> object:
    """What was raised in the worker, where anything was."""
    return getattr(error, "cause", None)


def _error(trial: Trial) -> Any:
    """What its actor died of; None where that cannot be read. Tune wrote it to this process's own folder just now."""
    path = trial.pickled_error_file
    # An exception may refuse to be pickled and read again, and its class may be missing here.
    with suppress(Exception):
        return cloudpickle.loads(Path(path).read_bytes()) if path else None
    return None


def _text(trial: Trial, error: Any, memory: str) -> str:
    """What a row says about a worker that is gone: what it died of first, and then all that Ray knows."""
    text = clean(str(error)) if error is not None else ""
    with suppress(OSError):
        text = text or clean(Path(trial.error_file or "").read_text(errors="replace"))
    cause = _cause(error)
    if memory:
        first = memory
    elif isinstance(cause, BaseException):
        first = "".join(traceback.format_exception_only(cause))
    elif getattr(error, "actor_init_failed", False):
        raised = _RAISED.findall(text)
        first = f"the worker could not start: {raised[-1] if raised else 'see below'}"
    else:
        first = "the worker died before the cell was done"
    return clean(f"{clean(first)}\n{text}")
