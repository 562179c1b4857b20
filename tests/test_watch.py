"""What the driver makes of the errors that Ray reports."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from ray import cloudpickle, exceptions
from ray.air.execution import FixedResourceManager
from ray.air.execution._internal.actor_manager import RayActorManager
from ray.exceptions import (
    ActorDiedError,
    ActorUnavailableError,
    NodeDiedError,
    RayActorError,
    RuntimeEnvSetupError,
    TaskUnschedulableError,
)
from rich.console import Console

from dvq_ray.execution.executor import Death
from dvq_ray.execution.job import Job
from dvq_ray.execution.measured import Measured
from dvq_ray.execution.progress import Progress
from dvq_ray.execution.tune.kills_on_nodes import OOM_KILLS, KillsOnNodes
from dvq_ray.execution.tune.lost_workers import LostWorkerError, trials_take_failures
from dvq_ray.execution.tune.watch import NODE_LOSSES, WORKER_RESTARTS, Watch, is_node_loss
from dvq_ray.experiment.surroundings import Surroundings
from dvq_ray.process.interruption import Interruption
from dvq_ray.store import Store
from dvq_ray.store.provenance import Run
from dvq_ray.sweep.cells import Pack
from dvq_ray.sweep.spec import Resources

untyped: Any = exceptions
UNREACHED = ActorUnavailableError("RpcError: recvmsg:Connection reset by peer rpc_code: 14", None)
ON_A_LOST_NODE = RayActorError(error_msg="The actor died because its node has died. Node Id: 7f")
NOT_STARTED = ActorDiedError(
    untyped.RayTaskError("__init__", "Traceback\n  File x\nRuntimeError: no home", RuntimeError("no home"))
)
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


def job(folder: Path) -> Job:
    return Job(
        store=Store(folder / "store"), run=Run.start("watched"), resources=Resources(), surroundings=Surroundings(),
        progress=Progress(1, 1.0, Console(quiet=True)), interruption=Interruption(),
    )  # fmt: skip


class Source:
    """Takes note of how packs end."""

    learns, finished = False, False

    def __init__(self) -> None:
        self.deaths: list[Death | None] = []

    def next(self) -> Pack | None:
        return None

    def counted(self, done: int, failed: int, nominal_seconds: float, values: Sequence[Measured]) -> None:
        pass

    def stops(self, pack: Pack, logged: Sequence[Any]) -> bool:
        return False

    def ended(self, pack: Pack, *, death: Death | None = None, stopped: Any = None) -> None:
        self.deaths.append(death)


def watched(folder: Path, source: Source | None = None) -> Watch:
    """A watch over the trial `a`."""
    return Watch(job(folder), None, source or Source(), {"a": Pack(cells=())})


def trial_that_died_of(error: Exception, folder: Path) -> Any:
    """A trial as Tune passes it to callbacks, after one failure more than allowed."""
    path = folder / "error.pkl"
    path.write_bytes(cast(Any, cloudpickle).dumps(error))
    return trial(path, folder)


def trial(pickled: Path | None, folder: Path, failures: int = WORKER_RESTARTS + 1) -> Any:
    return SimpleNamespace(
        trial_id="a", pickled_error_file=pickled and str(pickled), max_failures=WORKER_RESTARTS,
        run_metadata=SimpleNamespace(num_failures=failures), error_file=str(folder / "error.txt"),
    )  # fmt: skip


@pytest.mark.parametrize(("error", "more"), [(UNREACHED, 1), (ON_A_LOST_NODE, 1), (BY_ITSELF, 0)])
def test_only_what_the_pack_did_not_cause_gives_it_another_chance(error: Exception, more: int, tmp_path: Path) -> None:
    watch, trial = watched(tmp_path), trial_that_died_of(error, tmp_path)
    watch.on_trial_recover(0, [trial], trial)
    assert trial.max_failures == WORKER_RESTARTS + more
    for _ in range(2 * NODE_LOSSES):
        watch.on_trial_recover(0, [trial], trial)
    assert trial.max_failures == WORKER_RESTARTS + more * NODE_LOSSES


def death(error: Exception, folder: Path) -> Death:
    source, trial = Source(), trial_that_died_of(error, folder)
    watched(folder, source).on_trial_error(0, [trial], trial)
    (found,) = source.deaths
    assert found is not None
    return found


@pytest.mark.parametrize(("error", "its_own"), [(UNREACHED, False), (ON_A_LOST_NODE, False), (BY_ITSELF, True)])
def test_a_cell_is_blamed_for_no_worker_that_was_lost_with_its_node(
    error: Exception, its_own: bool, tmp_path: Path
) -> None:
    found = death(error, tmp_path)
    assert (found.its_own, found.status) == (its_own, "error")
    assert str(error) in found.error


def task_error(cause: Exception) -> Exception:
    """What Ray makes of an exception in a worker, with its colours."""
    text = f"\x1b[36mray::PackTrainable.train()\x1b[39m (pid=7, ip=10.0.0.1)\n  File x\n{cause!r}"
    return cast(Exception, untyped.RayTaskError("train", text, cause).as_instanceof_cause())


@pytest.mark.parametrize(
    ("error", "first_line"),
    [
        (task_error(TypeError("not a store")), "TypeError: not a store"),
        (task_error(ValueError("\x1b[31mred\x1b[0m\0")), "ValueError: red"),
        (BY_ITSELF, "the worker died before the cell was done"),
        (LostWorkerError(RuntimeEnvSetupError("no such package")), "ray.exceptions.RuntimeEnvSetupError: "),
        (
            ActorDiedError(
                untyped.RayTaskError("__init__", "Traceback\n  File x\nRuntimeError: no home", RuntimeError("no home"))
            ),
            "the worker could not start: RuntimeError: no home",
        ),
    ],
)
def test_the_first_line_of_a_row_is_the_cause_and_not_what_ray_wraps_it_in(
    error: Exception, first_line: str, tmp_path: Path
) -> None:
    text = death(error, tmp_path).error
    assert text.startswith(first_line)
    assert "\x1b" not in text
    assert "\0" not in text


@pytest.mark.parametrize(
    "error",
    [
        LostWorkerError(untyped.OutOfMemoryError("1 worker(s) were killed due to the node running low on memory")),
        task_error(MemoryError("no room")),
    ],
)
def test_a_worker_that_died_for_want_of_memory_has_that_status_after_a_few_tries(
    error: Exception, tmp_path: Path
) -> None:
    assert death(error, tmp_path).status == "out_of_memory"
    watch, trial = watched(tmp_path), trial_that_died_of(error, tmp_path)
    trial.run_metadata.num_failures = 1
    watch.on_trial_recover(0, [trial], trial)
    assert trial.max_failures == 1  # the next failure is the last one


def test_a_kill_by_the_kernel_is_known_by_its_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = iter([1, 1])
    monkeypatch.setattr(KillsOnNodes.__init__, "__defaults__", (lambda address: next(counts),))
    source, packs = Source(), {"a": Pack(cells=())}
    watch = Watch(job(tmp_path), None, source, packs)
    died = trial_that_died_of(RayActorError(error_msg="The actor died.\n\tip: 10.0.0.1"), tmp_path)
    report = {"cells_done": 0, "cells_failed": 0, "seconds_done": 0.0, OOM_KILLS: 0, "node_ip": "10.0.0.1"}
    watch.on_trial_result(0, [died], died, report)
    watch.on_trial_error(0, [died], died)
    packs["a"] = Pack(cells=())
    watch.on_trial_error(0, [died], died)
    first, second = source.deaths
    assert first is not None
    assert second is not None
    assert [first.status, second.status] == ["out_of_memory", "error"]
    assert first.error.startswith(
        "the worker died while the kernel killed 1 process on 10.0.0.1 because memory ran out"
    )


class OnlyOnceError(Exception):
    """Like many, it can be pickled and not read again."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(first)


@pytest.mark.parametrize("content", [pickle.dumps(OnlyOnceError("a", "b")), b"", b"nonsense", None])
def test_an_error_that_cannot_be_read_is_reported_as_text(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "error.pkl"
    if content is not None:
        path.write_bytes(content)
    (tmp_path / "error.txt").write_bytes(b"Failure # 1\nOnlyOnceError: \x1b[31ma\xff")
    source, died = Source(), trial(path, tmp_path)
    watch = watched(tmp_path, source)
    watch.on_trial_recover(0, [died], died)
    watch.on_trial_error(0, [died], died)
    (death,) = source.deaths
    assert death is not None
    assert "OnlyOnceError: a" in death.error


def test_no_cell_is_blamed_when_ray_itself_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(KillsOnNodes, "started_here", lambda self: None)
    source, died = Source(), trial_that_died_of(BY_ITSELF, tmp_path)
    watch = watched(tmp_path, source)
    watch.begin(cast(Any, SimpleNamespace(refused=lambda: "the raylet is gone")))
    watch.on_trial_error(0, [died], died)
    assert source.deaths == []


@pytest.mark.parametrize(
    "error", [untyped.OutOfMemoryError("low"), untyped.NodeDiedError("gone"), RuntimeEnvSetupError("no package")]
)
def test_an_error_that_tune_does_not_know_ends_one_trial_and_not_the_run(error: Exception) -> None:
    told: list[Exception] = []
    task: Any = SimpleNamespace(_tracked_actor=SimpleNamespace(actor_id=1, _on_error=None))
    task._on_error = lambda _, exception: told.append(exception)
    manager: Any = RayActorManager(FixedResourceManager(total_resources={"CPU": 1}))
    with pytest.raises(RuntimeError, match="Caught unexpected exception"):
        manager._actor_task_failed(task, error)
    manager._cleanup_actor = lambda tracked_actor: None
    with trials_take_failures():
        manager._actor_task_failed(tracked_actor_task=task, exception=error)
    assert isinstance(told[0], RayActorError)
    assert pickle.loads(pickle.dumps(told[0])).cause.args == error.args
    assert is_node_loss(told[0]) is isinstance(error, NodeDiedError)
    with pytest.raises(RuntimeError, match="Caught unexpected exception"):
        manager._actor_task_failed(task, error)
