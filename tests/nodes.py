"""Ray's own test cluster: several nodes on this machine."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from dvq_ray.execution.tune.under_tune import QUIET_RAY


@contextmanager
def nodes(count: int, **resources: float) -> Iterator[Any]:
    """A cluster of a head without work and so many nodes with these resources each."""
    with patch.dict(os.environ, {**QUIET_RAY, "RAY_AUTH_MODE": "disabled"}):
        from ray.cluster_utils import Cluster

        cluster: Any = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        try:
            for _ in range(count):
                cluster.add_node(**resources)
            yield cluster
        finally:
            cluster.shutdown()


def workers_of(nodes: Iterable[Any]) -> list[int]:
    """Processes on these nodes that hold a trial just now."""
    raylets = {f"RAY_RAYLET_PID={node.all_processes['raylet'][0].process.pid}" for node in nodes}
    found = []
    for path in Path("/proc").iterdir():
        try:
            if path.name.isdecimal() and b"Trainable" in (path / "cmdline").read_bytes():
                environment = (path / "environ").read_text(errors="replace").split("\0")
                found += [int(path.name)] if raylets & {*environment} else []
        except OSError:
            continue
    return sorted(found)
