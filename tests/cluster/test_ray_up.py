"""`ray up` and `ray down` with `cluster/gpu.yaml`, whole, against moto's AWS. Instead of ssh and rsync, a record.

What is shown: what AWS is asked for, and what would be run where. What is not: that AWS's images, quotas and prices are
as hoped, that its permissions suffice (moto grants everything), or that the commands succeed on a real node.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from ray.autoscaler._private.aws.node_provider import AWSNodeProvider
from ray.autoscaler.tags import NODE_KIND_WORKER, TAG_RAY_NODE_KIND, TAG_RAY_USER_NODE_TYPE
from ray.scripts.scripts import cli

from tests.cluster import stack
from tests.cluster.account import MINE, Up, cluster_up
from tests.cluster.cluster_file import GPU_FILE, load

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with cluster_up(tmp_path_factory.mktemp("up")) as account:
        yield account


def test_one_head_comes_up_and_no_worker(up: Up) -> None:
    (head,) = up.instances()
    assert head["State"]["Name"] == "running"
    assert head["InstanceType"] == load()["available_node_types"]["head"]["node_config"]["InstanceType"]
    assert "InstanceLifecycle" not in head  # bought on demand
    assert head["MetadataOptions"]["HttpTokens"] == "required"


def test_the_world_reaches_no_port(up: Up) -> None:
    worker = _launch(up, "gpu_spot")
    for instance in (*up.instances(), worker):
        rules = _ingress(up, instance)
        assert rules
        open_to = [address for rule in rules for address in _addresses(rule)]
        assert open_to == [MINE]
        assert [(rule["FromPort"], rule["ToPort"]) for rule in rules if _addresses(rule)] == [(22, 22)]
    groups = {group["GroupName"] for group in up.ec2.describe_security_groups()["SecurityGroups"]}
    assert groups == {"default", "stack-Nodes"}  # none of Ray's own making


def _ingress(up: Up, instance: Mapping[str, Any]) -> list[dict[str, Any]]:
    ids = [group["GroupId"] for group in instance["SecurityGroups"]]
    groups = up.ec2.describe_security_groups(GroupIds=ids)["SecurityGroups"]
    return [rule for group in groups for rule in group["IpPermissions"]]


def _addresses(rule: Mapping[str, Any]) -> list[str]:
    return [r["CidrIp"] for r in rule["IpRanges"]] + [r["CidrIpv6"] for r in rule["Ipv6Ranges"]]


def _launch(up: Up, node_type: str) -> dict[str, Any]:
    """A worker, launched as the head's autoscaler does it."""
    provider = AWSNodeProvider(up.bootstrap["provider"], "dvq-ray")  # type: ignore[no-untyped-call]
    tags = {TAG_RAY_NODE_KIND: NODE_KIND_WORKER, TAG_RAY_USER_NODE_TYPE: node_type}
    made = provider.create_node(up.bootstrap["available_node_types"][node_type]["node_config"], tags, 1)
    return next(instance for instance in up.instances() if instance["InstanceId"] in made)


def test_a_worker_is_a_spot_instance_or_one_on_demand_as_its_type_says(up: Up) -> None:
    spot, on_demand = _launch(up, "gpu_spot"), _launch(up, "gpu_on_demand")
    assert spot["InstanceLifecycle"] == "spot"
    assert "InstanceLifecycle" not in on_demand
    for worker in (spot, on_demand):
        assert worker["IamInstanceProfile"]["Arn"].endswith("stack-WorkerProfile")
        (disk,) = worker["BlockDeviceMappings"]
        volume = up.ec2.describe_volumes(VolumeIds=[disk["Ebs"]["VolumeId"]])["Volumes"][0]
        assert volume["Size"] == 150


def test_ray_reads_gpus_off_the_instance_type(up: Up) -> None:
    types = up.bootstrap["available_node_types"]
    assert types["head"]["resources"] == {"CPU": 0}
    for name in ("gpu_spot", "gpu_on_demand"):
        assert types[name]["resources"]["GPU"] >= 1
        assert types[name]["resources"]["accelerator_type:A10G"] >= 1


def test_every_command_of_the_file_is_sent_to_the_head_in_its_order(up: Up) -> None:
    config = load()
    commands = [*config["setup_commands"], *config["head_start_ray_commands"]]
    calls = up.calls.replace("""'"'"'""", "'")  # as bash quotes a quote
    places = [calls.index(command) for command in commands]
    assert places == sorted(places)
    for remote in config["file_mounts"]:
        assert f":{remote}\n" in calls
    assert "RAY_enable_autoscaler_v2=1" in calls  # priorities of node types are the second autoscaler's


def test_the_dashboard_and_the_job_server_listen_on_the_head_alone(up: Up) -> None:
    (start,) = [line for line in up.calls.splitlines() if "ray start" in line]
    assert "--dashboard-host=127.0.0.1" in start
    assert "RAY_AUTH_MODE=token RAY_JOB_STOP_WAIT_TIME_S=300 ray start" in start


def test_roles_are_those_of_the_stack_and_use_one_bucket() -> None:
    statements = [
        statement
        for resource in stack.template()["Resources"].values()
        for policy in _policies(resource)
        for statement in policy["Statement"]
    ]
    for statement in statements:
        if any(action.startswith("s3:") for action in statement["Action"]):
            assert statement["Resource"]["Sub"].startswith("arn:${AWS::Partition}:s3:::${Bucket}")
        assert not {"*", "s3:*", "ec2:*", "iam:*"} & {*statement["Action"]}


def _policies(resource: Mapping[str, Any]) -> list[Any]:
    properties = resource["Properties"]
    if resource["Type"] == "AWS::IAM::ManagedPolicy":
        return [properties["PolicyDocument"]]
    return [policy["PolicyDocument"] for policy in properties.get("Policies", [])]


@pytest.mark.parametrize(
    ("addresses", "accepted"),
    [(MINE, True), ("10.0.0.0/16", True), ("0.0.0.0/0", False), ("10.0.0.0/8", False), ("::/0", False)],
)
def test_the_stack_refuses_to_let_the_world_in(addresses: str, accepted: bool) -> None:
    assert stack.parameter_accepts("SshFrom", addresses) is accepted


def test_the_stack_uses_no_yaml_that_cloudformation_refuses() -> None:
    tokens = list(yaml.scan(stack.TEMPLATE.read_text()))
    assert not [token for token in tokens if isinstance(token, yaml.AliasToken)]


def test_down_ends_every_node(up: Up) -> None:
    _launch(up, "gpu_spot")
    cli(["down", str(GPU_FILE), "--yes"], standalone_mode=False)
    assert {instance["State"]["Name"] for instance in up.instances()} == {"terminated"}
