"""A search under Tune: the searcher that hands out packs, what comes back, and stopping early."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from dvq_ray.execution.executor import Death
from dvq_ray.execution.job import Job
from dvq_ray.execution.tune.trainables import LOGGED, TRAINING_STEP, WATCHED
from dvq_ray.execution.tune.watch import Watch
from dvq_ray.search.supply import Logged, Supply
from dvq_ray.sweep.cells import Pack

if TYPE_CHECKING:
    from ray.tune.experiment import Trial

_FOR_EVER = 2**62


class PackSearcher(Searcher):
    """Hands out the packs of a supply, no more at once than there is room for: Optuna learns from those that ended."""

    def __init__(self, supply: Supply, slots: Callable[[], int], ending: Callable[[], bool]) -> None:
        super().__init__()
        self._ending = ending
        self._supply = supply
        self._slots = slots
        self.packs: dict[str, Pack] = {}
        """Of the trials that have not ended."""

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]
        """The configuration of a trial; None where there is none just now."""
        if self._supply.finished or self._ending():
            return Searcher.FINISHED
        if len(self.packs) >= self._slots() or (pack := self._supply.next()) is None:
            return None
        assert pack.suggested is not None
        self.packs[trial_id] = pack
        return {"pack": json.dumps(pack.to_plain()), "number": pack.suggested.number}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """`Feedback` hears of it, and knows more."""

    def set_search_properties(self, *_: Any, **__: Any) -> bool:
        """There is nothing to be set."""
        return True

    def save(self, checkpoint_path: str) -> None:
        """The state is in the journal and the store."""

    def restore(self, checkpoint_path: str) -> None:
        """As `save`."""

    def __deepcopy__(self, memo: Any) -> PackSearcher:
        return self

    def __reduce__(self) -> Any:  # Tune pickles what it is given, but never comes back to it
        return object, ()


class Feedback(Watch):
    """Tells the supply how trials end, and why."""

    def __init__(self, searcher: PackSearcher, supply: Supply, job: Job, gate: Any) -> None:
        super().__init__(job, gate)
        self._searcher = searcher
        self._supply = supply
        self._logged: dict[str, Logged] = {}
        self._done: set[str] = set()

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **_: Any
    ) -> None:
        """Keeps the curve so far: the row of a cell that is stopped early is written from here."""
        super().on_trial_result(iteration, trials, trial, result)
        if LOGGED in result:
            self._logged[trial.trial_id] = Logged(curve=result[LOGGED])
        if result.get("pack_done"):
            self._done.add(trial.trial_id)

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **_: Any) -> None:
        """Its pack came to its end, or the scheduler stopped it; or everything is to stop."""
        super().on_trial_complete(iteration, trials, trial)
        logged = self._logged.pop(trial.trial_id, None)
        pack = self._searcher.packs.pop(trial.trial_id, None)
        if pack is None or (self.job.ending and trial.trial_id not in self._done):
            return
        self._supply.ended(pack, stopped=None if trial.trial_id in self._done else logged)

    def died(self, trial: Trial, death: Death) -> None:
        """Its cells are handed out again where it is none of their doing."""
        pack = self._searcher.packs.pop(trial.trial_id, None)
        if pack is not None:
            self._supply.ended(pack, error=death.error if death.its_own else None, status=death.status)


def scheduler_of(supply: Supply) -> TrialScheduler:
    """Successive halving where the search asks for it, as far on as the stored curves bring it."""
    search = supply.search
    if search.stop_early is None:
        return FIFOScheduler()  # type: ignore[no-untyped-call]
    direction = next(iter(search.objectives.values()))
    asha = AsyncHyperBandScheduler(
        time_attr=TRAINING_STEP,
        metric=WATCHED,
        mode="min" if direction == "minimize" else "max",
        grace_period=search.stop_early.grace_steps,
        reduction_factor=search.stop_early.reduction,
        max_t=_FOR_EVER,  # a training ends by itself
    )
    for cell_id, curve in supply.earlier_scouts():
        trial: Any = SimpleNamespace(trial_id=cell_id)
        asha.on_trial_add(None, trial)  # type: ignore[arg-type]
        for step, value in curve[["step", search.watched]].itertuples(index=False, name=None):
            asha.on_trial_result(None, trial, {TRAINING_STEP: int(step), WATCHED: float(value)})  # type: ignore[arg-type]
    return asha
