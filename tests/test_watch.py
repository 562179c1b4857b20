"""What the driver makes of the errors that Ray reports."""

from __future__ import annotations

import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from ray.exceptions import ActorDiedError, ActorUnavailableError, RayActorError, TaskUnschedulableError

from dvq_ray.executors import WORKER_RESTARTS, Job
from dvq_ray.watch import NODE_LOSSES, PackWatch, is_node_loss

UNREACHED = ActorUnavailableError("RpcError: recvmsg:Connection reset by peer rpc_code: 14", None)
ON_A_LOST_NODE = RayActorError(error_msg="The actor died because its node has died. Node Id: 7f")
BY_ITSELF = RayActorError(error_msg="The actor died unexpectedly before finishing this task: SIGKILL")


@pytest.mark.parametrize(
    ("error", "is_lost"),
    [
        (UNREACHED, True),
        (ON_A_LOST_NODE, True),
        (BY_ITSELF, False),
        (ActorDiedError(), False),
        (TaskUnschedulableError("its node has died"), False),
        (ValueError("its node has died"), False),
        (None, False),
    ],
)
def test_a_worker_that_is_out_of_reach_counts_as_lost_with_its_node(error: object, is_lost: bool) -> None:
    assert is_node_loss(error) is is_lost


def trial_that_died_of(error: Exception, folder: Path) -> Any:
    """As Tune hands it to callbacks, after one failure more than it would bear."""
    path = folder / "error.pkl"
    path.write_bytes(pickle.dumps(error))
    return SimpleNamespace(
        trial_id="a", config={"pack": 0}, pickled_error_file=str(path), max_failures=WORKER_RESTARTS,
        run_metadata=SimpleNamespace(num_failures=WORKER_RESTARTS + 1),
    )  # fmt: skip


@pytest.mark.parametrize(("error", "more"), [(UNREACHED, 1), (ON_A_LOST_NODE, 1), (BY_ITSELF, 0)])
def test_only_what_is_no_fault_of_the_pack_gives_it_another_chance(error: Exception, more: int, tmp_path: Path) -> None:
    watch, trial = PackWatch(cast(Job, None), gate=None), trial_that_died_of(error, tmp_path)
    watch.on_trial_recover(0, [trial], trial)
    assert trial.max_failures == WORKER_RESTARTS + more
    for _ in range(2 * NODE_LOSSES):
        watch.on_trial_recover(0, [trial], trial)
    assert trial.max_failures == WORKER_RESTARTS + more * NODE_LOSSES


@pytest.mark.parametrize(("error", "its_own"), [(UNREACHED, False), (ON_A_LOST_NODE, False), (BY_ITSELF, True)])
def test_a_cell_is_blamed_for_no_worker_that_was_lost_with_its_node(
    error: Exception, its_own: bool, tmp_path: Path
) -> None:
    watch, trial = PackWatch(cast(Job, None), gate=None), trial_that_died_of(error, tmp_path)
    watch.on_trial_error(0, [trial], trial)
    (death,) = watch.deaths.values()
    assert (death.its_own, death.status) == (its_own, "error")
    assert str(error) in death.error
