"""Tune lets go of trials that have ended, and its results are as before."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.tune.experiment import Trial

from dvq_ray.execution.tune.ended_trials import ForgetsEnded
from dvq_ray.store import Store


def controller_of(*trials: Any) -> Any:
    """As much of Tune's as is looked at. Trials are in every set that may hold them."""
    sets = ("_live_trials", "_stopped_trials", "_failed_trials", "_trials_to_cache")
    keys = {each.trial_id: each for each in trials}
    held = {name: {*keys} for name in sets}
    return SimpleNamespace(_trials=[*keys], _trial_metadata=dict.fromkeys(keys, ""), **held)


class _Named(str):
    """A trial that is its own id."""

    status = Trial.RUNNING

    @property
    def trial_id(self) -> _Named:
        return self


def test_a_trial_that_has_ended_is_kept_until_the_next_one_ends() -> None:
    one, two, three, runs = (_Named(name) for name in ("one", "two", "three", "runs"))
    controller, scheduler = controller_of(one, two, three, runs), ForgetsEnded()
    scheduler.on_trial_complete(controller, one, {})  # type: ignore[arg-type]
    assert len(controller._trials) == 4
    one.status = Trial.TERMINATED
    scheduler.on_trial_error(controller, two)  # type: ignore[arg-type]
    assert controller._trials == ["two", "three", "runs"]
    scheduler.on_trial_complete(controller, three, {})  # type: ignore[arg-type]
    assert controller._trials == ["two", "three", "runs"]  # Tune has not stopped the second yet
    two.status, three.status = Trial.ERROR, Trial.TERMINATED
    scheduler.on_trial_complete(controller, runs, {})  # type: ignore[arg-type]
    assert all({*held} == {"runs"} for held in vars(controller).values())


ENDED = """
import sys
from benchmarks.static_prior.scale import run_tiny, tiny_packs
from dvq_ray.execution.tune.ended_trials import ForgetsEnded

ended, controllers, forget = [], set(), ForgetsEnded._forget_former

def watched(self, controller, trial):
    forget(self, controller, trial)
    controllers.add(id(controller))
    ended.append(sum(each.is_finished() for each in controller._trials))

ForgetsEnded._forget_former = watched
run_tiny(tiny_packs(40), sys.argv[1])
assert len(ended) == 40 and max(ended) <= 1 and len(controllers) == 1, (ended, controllers)
"""


@pytest.mark.ray
def test_a_controller_of_tune_runs_any_number_of_packs_and_keeps_none(tmp_path: Path) -> None:
    """In a process of its own: Ray does not start on another cluster in a process that had one of its own."""
    subprocess.run([sys.executable, "-c", ENDED, str(tmp_path / "tiny")], check=True)
    statuses = Store(tmp_path / "tiny").statuses()
    assert len(statuses) == 40
    assert {*statuses.values()} == {"ok"}
