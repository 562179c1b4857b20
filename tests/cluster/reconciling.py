"""Ray's second autoscaler, which `ray up` uses, over moto's AWS: round by round, from the file that `ray up` sends.

Whole are the autoscaler with its reconciler, scheduler and AWS provider. Made up are what Ray's head would say of its
nodes and of the work, and whether a node can be set up.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import botocore.client  # type: ignore[import-untyped]
import pytest
from botocore.exceptions import ClientError  # type: ignore[import-untyped]
from ray.autoscaler.v2 import autoscaler as autoscaler_module
from ray.autoscaler.v2.autoscaler import Autoscaler
from ray.autoscaler.v2.instance_manager.config import FileConfigReader
from ray.autoscaler.v2.instance_manager.ray_installer import RayInstaller
from ray.autoscaler.v2.utils import ResourceRequestUtil
from ray.core.generated import autoscaler_pb2 as messages

from tests.cluster.account import Up

SPOT, ON_DEMAND = "spot", "on demand"


class _Head:
    """As much of Ray's head as the autoscaler asks for besides the state."""

    address = "10.0.0.1:6379"

    def drain_node(self, **_: object) -> tuple[bool, str]:
        return True, ""


@dataclass
class Rounds:
    """The autoscaler of a cluster, and what AWS was asked for."""

    up: Up
    trials: int = 0
    """Trials that wait for a GPU each."""
    setup_succeeds: bool = True
    refused: frozenset[str] = frozenset()
    """What AWS has none of: `SPOT`, `ON_DEMAND`."""
    asked: Counter[str] = field(default_factory=Counter)
    """Instances that were requested, refused ones too."""
    most_billed: int = 0
    """The largest number of GPU instances that were up after a round."""
    _joined: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    """The node type and Ray's id of each instance that was set up."""
    _rounds: int = 0

    def __post_init__(self) -> None:
        reader = FileConfigReader(str(self.up.bootstrap_file))
        self._autoscaler: Any = Autoscaler("session", reader, _Head())

    def run(self, count: int) -> None:
        """So many rounds, each of which waits for what the one before began."""
        for _ in range(count):
            self._rounds += 1
            assert self._autoscaler.update_autoscaling_state() is not None
            self._settle()
            self.most_billed = max(self.most_billed, len(self.billed()))

    def billed(self) -> list[dict[str, Any]]:
        """The GPU instances that are up."""
        return [
            instance
            for instance in self.up.instances()
            if instance["State"]["Name"] in ("pending", "running") and instance["InstanceType"].startswith("g5")
        ]

    def _settle(self) -> None:
        """Threads have done what they were asked."""
        provider = self._autoscaler._cloud_instance_provider
        for pool in (provider._main_executor, provider._node_launcher_executors):
            for waiting in [pool.submit(lambda: None) for _ in range(pool._max_workers)]:
                waiting.result()
        for subscriber in self._autoscaler._instance_manager._status_update_subscribers:
            pool = getattr(subscriber, "_ray_installation_executor", None) or getattr(subscriber, "_executor", None)
            for waiting in [pool.submit(lambda: None) for _ in range(pool._max_workers)] if pool else []:
                waiting.result()

    def state(self) -> Any:
        """What the head says: its nodes, and trials that wait."""
        here = self.up.instances()
        (head,) = [i["InstanceId"] for i in here if i["InstanceType"].startswith("m7i") and _is_up(i)]
        alive = {instance["InstanceId"] for instance in self.billed()}
        joined = [_node(node, *names) for node, names in self._joined.items() if node in alive]
        waiting = max(self.trials - len(joined), 0)
        trial = ResourceRequestUtil.make({"CPU": 2, "GPU": 1})
        demands = [messages.ResourceRequestByCount(request=trial, count=waiting)] if waiting else []  # type: ignore[attr-defined]
        return messages.ClusterResourceState(  # type: ignore[attr-defined]
            cluster_resource_state_version=self._rounds,
            node_states=[_node(head, "head", b"h" * 28), *joined],
            pending_resource_requests=demands,
        )

    def install(self, instance: Any) -> None:
        """What a node's set-up comes to."""
        if not self.setup_succeeds:
            raise RuntimeError("a setup command failed")
        self._joined[instance.cloud_instance_id] = (instance.instance_type, secrets.token_bytes(28))

    def request(self, parameters: Mapping[str, Any]) -> None:
        """Notes a request for instances; raises where AWS has none."""
        if not parameters["InstanceType"].startswith("g5"):
            return
        kind = SPOT if "InstanceMarketOptions" in parameters else ON_DEMAND
        self.asked[kind] += parameters["MaxCount"]
        if kind in self.refused:
            error = {"Error": {"Code": "InsufficientInstanceCapacity", "Message": "There is no capacity."}}
            raise ClientError(error, "RunInstances")


def _is_up(instance: Mapping[str, Any]) -> bool:
    return instance["State"]["Name"] in ("pending", "running")


def _node(instance: str, node_type: str, name: bytes) -> Any:
    return messages.NodeState(  # type: ignore[attr-defined]
        node_id=name, instance_id=instance, ray_node_type_name=node_type,
        status=messages.NodeStatus.RUNNING,  # type: ignore[attr-defined]
        total_resources={"CPU": 8, "GPU": 1} if node_type != "head" else {"node:__internal_head__": 1},
    )  # fmt: skip


@contextmanager
def autoscaling(up: Up, **settings: Any) -> Iterator[Rounds]:
    """The autoscaler of a head that is up. Its workers are ended afterwards."""
    with pytest.MonkeyPatch.context() as patch:
        call: Callable[..., Any] = botocore.client.BaseClient._make_api_call
        rounds = Rounds(up, **settings)

        def watched(client: Any, operation: str, parameters: dict[str, Any]) -> Any:
            if operation == "RunInstances":
                rounds.request(parameters)
                parameters = {**parameters, "MinCount": parameters["MaxCount"]}  # moto makes the fewest
            return call(client, operation, parameters)

        patch.setattr(botocore.client.BaseClient, "_make_api_call", watched)
        patch.setattr(autoscaler_module, "get_cluster_resource_state", lambda _: rounds.state())
        patch.setattr(RayInstaller, "install_ray", lambda _, instance, head: rounds.install(instance))
        try:
            yield rounds
        finally:
            rounds._settle()
            if left := [instance["InstanceId"] for instance in rounds.billed()]:
                up.ec2.terminate_instances(InstanceIds=left)
