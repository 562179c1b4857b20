"""Lets go of trials that have ended, so that one of Tune's controllers can run any number of them."""

from __future__ import annotations

from typing import Any

from ray.tune.experiment import Trial
from ray.tune.progress_reporter import TrialProgressCallback
from ray.tune.schedulers import FIFOScheduler

_OVER = (Trial.TERMINATED, Trial.ERROR)


class ForgetsEnded(FIFOScheduler):
    """Runs trials in their order. Of those that have ended Tune keeps the last one.

    Otherwise it keeps all of them, some 40 KB each, looks through them at every step, and writes all of them to a file
    at its end.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._ended: list[Trial] = []

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        """Its pack is done, or it was stopped early."""
        self._forget_former(tune_controller, trial)

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        """It was run again often enough."""
        self._forget_former(tune_controller, trial)

    def _forget_former(self, controller: Any, trial: Trial) -> None:
        """Forgets those that ended before. Tune still needs this one: it is about to stop it."""
        left = [trial]
        for former in self._ended:
            if former.status not in _OVER:
                left.append(former)
            elif former is not trial:
                controller._trials.remove(former)
                controller._trial_metadata.pop(former.trial_id, None)
                for trials in (
                    controller._live_trials, controller._stopped_trials, controller._failed_trials,
                    controller._trials_to_cache,
                ):  # fmt: skip
                    trials.discard(former)
        self._ended = list(dict.fromkeys(left))

    def __reduce__(self) -> Any:  # Tune pickles what it is given, but never comes back to it
        return object, ()


class NoTrialProgress(TrialProgressCallback):
    """Takes the place of Tune's own callback that prints what trials report. It too would keep all of them."""

    def on_trial_result(self, iteration: int, trials: list[Trial], trial: Trial, result: Any, **info: Any) -> None:
        """Prints nothing."""

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Prints nothing."""

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Prints nothing."""
