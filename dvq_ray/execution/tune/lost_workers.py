"""Whatever Ray reports of a worker is a failure of the worker's trial."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ray.air.execution._internal.actor_manager import RayActorManager
from ray.exceptions import NodeDiedError, ObjectLostError, RayActorError, RayTaskError


class LostWorkerError(RayActorError):
    """Stands for an error that Ray reports in place of a worker's answer."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(error_msg=str(cause))
        self.cause = cause

    def __reduce__(self) -> Any:
        return LostWorkerError, (self.cause,)

    @property
    def machine_is_gone(self) -> bool:
        """Whether it went with its machine, or its answer did."""
        return isinstance(self.cause, NodeDiedError | ObjectLostError)


@contextmanager
def trials_take_failures() -> Iterator[None]:
    """Has Tune treat every error in place of a worker's answer as the end of that worker.

    It knows two kinds of errors and ends the whole run at any other, such as when Ray ends a worker because its node is
    short of memory.
    """
    manager: Any = RayActorManager
    before = manager._actor_task_failed

    def failed(self: Any, tracked_actor_task: Any, exception: Exception) -> None:
        known = isinstance(exception, RayActorError | RayTaskError)
        before(self, tracked_actor_task, exception if known else LostWorkerError(exception))

    manager._actor_task_failed = failed
    try:
        yield
    finally:
        manager._actor_task_failed = before
