"""Whether the kernel killed a worker because memory ran out, going by its counts on the nodes of a cluster.

Workers report the count of their node as they go. If it is higher after a worker's death than in the worker's last
report, the kernel has killed something there in between.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, cast

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from dvq_ray.execution.tune.oom_kills import oom_kills

OOM_KILLS = "oom_kills"
"""Key of the count in what a worker reports. Tune adds the address of its node."""
_ADDRESS = re.compile(r"\bip: (\S+)")
_SECONDS = 10.0
"""Time for a node to answer."""


def kills_on(address: str) -> int | None:
    """The count of the node at this address; None where it is unknown."""
    if address == _here():
        return oom_kills()
    nodes = [each for each in cast(Any, ray).nodes() if each["Alive"] and each["NodeManagerAddress"] == address]
    if not nodes:
        return None
    there = NodeAffinitySchedulingStrategy(nodes[0]["NodeID"], soft=False)
    asked = ray.remote(num_cpus=0)(oom_kills).options(scheduling_strategy=there).remote()
    try:
        return ray.get(asked, timeout=_SECONDS)
    except ray.exceptions.RayError:
        return None


def _here() -> str:
    return str(cast(Any, ray.util).get_node_ip_address())


class KillsOnNodes:
    """What is known of the counts. The first death on a node that never reported cannot be judged."""

    def __init__(self, kills_on: Callable[[str], int | None] = kills_on) -> None:
        self._kills_on = kills_on
        self._last: dict[tuple[str, str], int] = {}
        """By trial and address of its node; by "" and address what was seen there last."""

    def started_here(self) -> None:
        """Takes the count of this node before anything runs on it."""
        address = _here()
        self._note("", address, self._kills_on(address))

    def reported(self, trial_id: str, result: Mapping[str, Any]) -> None:
        """A worker is alive and reports the count of its node."""
        self._note(trial_id, str(result.get("node_ip")), result.get(OOM_KILLS))

    def since_last_report(self, trial_id: str, error: Exception) -> str:
        """Says, of a worker that died, by how much the count has risen; empty where it has not."""
        found = _ADDRESS.search(str(error))
        if found is None:
            return ""
        address = found[1]
        before = self._last.get((trial_id, address), self._last.get(("", address)))
        now = self._kills_on(address)
        self._note(trial_id, address, now)
        if now is None or before is None or now <= before:
            return ""
        kills = f"{now - before} process{'es' if now - before > 1 else ''}"
        return f"the worker died while the kernel killed {kills} on {address} because memory ran out"

    def _note(self, trial_id: str, address: str, count: int | None) -> None:
        if count is not None:
            self._last[trial_id, address] = self._last["", address] = count
