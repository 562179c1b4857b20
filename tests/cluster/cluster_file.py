"""What is wrong with a file for `ray up` on AWS that Ray itself finds out late or never."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import botocore.session  # type: ignore[import-untyped]
import yaml  # type: ignore[import-untyped]
from botocore.validate import ParamValidator  # type: ignore[import-untyped]

GPU_FILE = Path("cluster/gpu.yaml")
_PROVIDER_KEYS = {"type", "region", "availability_zone", "cache_stopped_nodes", "use_internal_ips", "security_group",
                  "key_pair", "max_terminate_nodes"}  # fmt: skip
"""What Ray's AWS provider looks up in its section, credentials left out: a file must not hold any."""


def load(path: Path = GPU_FILE) -> dict[str, Any]:
    """A cluster file as data."""
    loaded: dict[str, Any] = yaml.safe_load(path.read_text())
    return loaded


def problems(config: Mapping[str, Any]) -> list[str]:
    """Each error that Ray's own validation misses, with its place in the file."""
    return list(_problems(config))


def _problems(config: Mapping[str, Any]) -> Iterator[str]:
    if "cluster_name" not in config:
        yield "cluster_name: missing, and Ray would call it default"
    for key in config["provider"].keys() - _PROVIDER_KEYS:
        yield f"provider.{key}: unknown"
    for remote, local in config.get("file_mounts", {}).items():
        if not local.startswith("~") and not Path(local).exists():
            yield f"file_mounts.{remote}: there is no {local}"
    for name, node_type in config["available_node_types"].items():
        node = node_type["node_config"]
        if node.get("InstanceType") not in _instance_types():
            yield f"{name}.InstanceType: there is no {node.get('InstanceType')}"
        asked = {key: value for key, value in node.items() if key != "SubnetIds"}
        report = ParamValidator().validate({**asked, "MinCount": 1, "MaxCount": 1}, _run_instances())
        if report.has_errors():
            yield f"{name}: {report.generate_report()}"


@cache
def _run_instances() -> Any:
    """The parameters of the EC2 call that a node_config goes to, as boto3 knows them."""
    return botocore.session.get_session().get_service_model("ec2").operation_model("RunInstances").input_shape


@cache
def _instance_types() -> Mapping[str, Mapping[str, Any]]:
    from moto.ec2.models.instance_types import INSTANCE_TYPES  # takes seconds, which collecting tests need not

    found: Mapping[str, Mapping[str, Any]] = INSTANCE_TYPES
    return found


def resources(node_type: Mapping[str, Any]) -> dict[str, int]:
    """What a node offers: as the file says, or else what its instance type has."""
    kind = _instance_types()[node_type["node_config"]["InstanceType"]]
    gpus = sum(gpu["Count"] for gpu in kind.get("GpuInfo", {}).get("Gpus", []))
    return {"CPU": kind["VCpuInfo"]["DefaultVCpus"], "GPU": gpus, **node_type["resources"]}
