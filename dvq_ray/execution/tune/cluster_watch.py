"""Notices that Ray's own processes are gone. Ray itself waits for a minute, and then ends the driver without a word.

By then the driver's main thread often waits for an answer inside of Ray that never comes, out of reach of exceptions
and signals. So the loss is noticed by a thread, which also has to end the process.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self, cast

_EVERY_SECONDS = 1.0
_REFUSED_SECONDS = 2.0
"""How long connections are refused until a process of this machine that nothing restarts is taken for dead."""
_PATIENCE_SECONDS = 45.0
"""How long others may be out of reach: a head can be restarted, and a network can fail for a while. Ray ends the
process after 60 seconds."""


@dataclass(frozen=True, kw_only=True)
class Service:
    """One of Ray's processes that a driver cannot do without."""

    name: str
    host: str
    port: int
    own: bool
    """Whether it runs on this machine and is never restarted."""

    def problem(self) -> OSError | None:
        """Why it does not accept connections; None if it does."""
        try:
            socket.create_connection((self.host, self.port), timeout=_EVERY_SECONDS).close()
        except OSError as error:
            return error
        return None


class ClusterWatch:
    """Calls `on_lost` with a sentence, in a thread of its own, as soon as a service is lost."""

    def __init__(
        self,
        services: Sequence[Service],
        on_lost: Callable[[str], None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._services = services
        self._on_lost = on_lost
        self._clock = clock
        self._failing_since: dict[Service, float] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="cluster watch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()

    def refused(self) -> str:
        """Which service refuses connections just now, as a sentence; empty if none does."""
        for service in self._services:
            if isinstance(problem := service.problem(), ConnectionRefusedError):
                return _sentence(service, problem)
        return ""

    def lost(self) -> str:
        """Which service is lost, going by this look and the former ones."""
        for service in self._services:
            problem = service.problem()
            if problem is None or (service.own and not isinstance(problem, ConnectionRefusedError)):
                self._failing_since.pop(service, None)  # a machine under load answers late
                continue
            since = self._failing_since.setdefault(service, self._clock())
            if self._clock() - since >= (_REFUSED_SECONDS if service.own else _PATIENCE_SECONDS):
                return _sentence(service, problem)
        return ""

    def _watch(self) -> None:
        while not self._over.wait(_EVERY_SECONDS):
            if lost := self.lost():
                if not self._over.is_set():
                    self._on_lost(lost)
                return


def services_of_cluster(*, own: bool) -> list[Service]:
    """Ray's head, and this machine's agent of Ray's. `own` says whether this process started the cluster."""
    import ray

    context, nodes = ray.get_runtime_context(), cast(Any, ray).nodes()
    host, _, port = context.gcs_address.rpartition(":")
    services = [Service(name="Ray's head (GCS)", host=host.strip("[]"), port=int(port), own=own)]
    with suppress(StopIteration):
        node = next(each for each in nodes if each["NodeID"] == context.get_node_id())
        services.append(
            Service(
                name="the raylet of this machine",
                host=node["NodeManagerAddress"],
                port=node["NodeManagerPort"],
                own=True,
            )
        )
    return services


def _sentence(service: Service, problem: OSError) -> str:
    return f"{service.name} at {service.host}:{service.port} is gone: {problem.strerror or problem}"
