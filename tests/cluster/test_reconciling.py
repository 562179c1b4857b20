"""What Ray's second autoscaler asks AWS for with `cluster/gpu.yaml`, and what stays up, when things go wrong."""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.account import Up, cluster_up
from tests.cluster.cluster_file import GPU_FILE, load
from tests.cluster.reconciling import ON_DEMAND, SPOT, autoscaling
from tests.cluster.test_readme import commands

MOST = load()["max_workers"]


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with cluster_up(tmp_path_factory.mktemp("reconciling")) as account:
        yield account


@pytest.mark.long
def test_spot_nodes_come_for_trials_up_to_the_limit_and_no_others(up: Up) -> None:
    with autoscaling(up, trials=100) as rounds:
        rounds.run(12)
        assert len(rounds.billed()) == rounds.most_billed == MOST
        assert rounds.asked[ON_DEMAND] == 0


@pytest.mark.long
def test_ray_asks_for_spot_again_and_again_where_aws_refuses_it_and_never_for_on_demand(up: Up) -> None:
    """A refusal leaves an instance ALLOCATION_FAILED, and Ray lowers the priority of types with ALLOCATION_TIMEOUT
    alone. Where this fails Ray has been mended, and `cluster/README.md` has to say so.
    """
    with autoscaling(up, trials=3, refused=frozenset({SPOT})) as rounds:
        rounds.run(25)
        assert rounds.asked[SPOT] >= 8
        assert rounds.asked[ON_DEMAND] == 0
        assert rounds.billed() == []


@pytest.mark.long
def test_the_commands_of_the_readme_switch_a_running_cluster_to_on_demand_nodes(up: Up, tmp_path: Path) -> None:
    (edit,) = [command for command in commands() if "priority" in command and command.startswith("sed ")]
    (again,) = [command for command in commands() if "--no-restart" in command and "on_demand" in command]
    file = tmp_path / "on_demand.yaml"
    subprocess.run(["bash", "-c", edit.replace("on_demand.yaml", str(file))], check=True)
    assert again == "ray up on_demand.yaml --yes --no-restart"
    before = [instance["InstanceId"] for instance in up.instances()]
    with autoscaling(up, trials=3, refused=frozenset({SPOT})) as rounds:
        rounds.run(5)
        assert rounds.asked[ON_DEMAND] == 0
        up.ray_up(file, "--no-restart")  # the autoscaler that runs reads its file again
        rounds.run(10)
        assert len(rounds.billed()) == 3
        assert all("InstanceLifecycle" not in instance for instance in rounds.billed())
        up.ray_up(GPU_FILE, "--no-restart")
    with autoscaling(up, trials=1) as rounds:
        rounds.run(3)
        assert (rounds.asked[SPOT], rounds.asked[ON_DEMAND]) == (1, 0)
    assert [i["InstanceId"] for i in up.instances() if i["InstanceType"].startswith("m7i")] == before[:1]


@pytest.mark.long
def test_nodes_whose_setup_fails_are_replaced_for_as_long_as_there_is_work_and_no_longer(up: Up) -> None:
    """`--gpu-hours` counts trials that run, and none does: `--time-budget` ends the sweep, and so the demand."""
    with autoscaling(up, trials=3, setup_succeeds=False) as rounds:
        rounds.run(9)
        assert rounds.asked[SPOT] >= 4
        assert rounds.most_billed <= MOST
        rounds.trials = 0  # the budget is spent, and the driver is gone
        rounds.run(4)
        asked = rounds.asked.total()
        rounds.run(5)
        assert rounds.billed() == []
        assert rounds.asked.total() == asked


@pytest.mark.long
def test_nodes_end_themselves_where_the_head_is_gone(up: Up) -> None:
    with autoscaling(up, trials=2) as rounds:
        rounds.run(5)
        assert len(rounds.billed()) == 2  # and nobody is left to end them
        for instance in rounds.billed():
            told = [_attribute(up, instance, name) for name in ("instanceInitiatedShutdownBehavior", "userData")]
            assert told[0] == "terminate"
            # boto3 encodes what the file says. In the launch template it would be encoded a second time by Ray's way.
            assert base64.b64decode(told[1]).decode() == _user_data()


def _attribute(up: Up, instance: dict[str, Any], name: str) -> str:
    answer = up.ec2.describe_instance_attribute(InstanceId=instance["InstanceId"], Attribute=name)
    return str(answer[name[0].upper() + name[1:]]["Value"])


def _user_data() -> str:
    node_config: dict[str, str] = load()["available_node_types"]["gpu_spot"]["node_config"]
    return node_config["UserData"]


@pytest.mark.parametrize(
    ("raylet", "minutes"),
    [
        ("never", 60),
        ("for 100 minutes", 115),
        pytest.param("always", None, marks=pytest.mark.slow),
        pytest.param("with pauses of 10 minutes", None, marks=pytest.mark.slow),
    ],
)
def test_a_node_ends_itself_once_ray_has_not_run_for_long(raylet: str, minutes: int | None, tmp_path: Path) -> None:
    """The script of the nodes as it is, in which a minute takes no time."""
    runs = {"never": "false", "always": "true", "for 100 minutes": "[ $now -le 100 ]"}
    stubs = {
        "sleep": f'now=$(($(cat {tmp_path}/now) + 1)); echo $now > {tmp_path}/now\n[ "$1" = 60 ] && [ $now -le 150 ]',
        "pgrep": f'[ "$*" = "-x raylet" ] || exit 2\nnow=$(cat {tmp_path}/now)\n'
        + runs.get(raylet, "[ $((now % 20)) -ge 10 ]"),
        "shutdown": f'echo "$*" > {tmp_path}/ended',
        "systemd-run": 'while case "$1" in --*) true ;; *) false ;; esac; do shift; done\nexec bash "$@"',
    }
    for name, does in stubs.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{does}\n")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "now").write_text("0")
    script = _user_data().replace("/usr/local/sbin", str(tmp_path))
    subprocess.run(["bash", "-c", script], env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, check=False)
    assert (tmp_path / "ended").exists() is (minutes is not None)
    if minutes is not None:
        assert (tmp_path / "ended").read_text() == "-h now\n"
        assert int((tmp_path / "now").read_text()) == minutes


@pytest.mark.long
def test_a_changed_address_leaves_the_head_alone_and_a_changed_image_replaces_it(up: Up) -> None:
    def heads() -> list[tuple[str, str]]:
        found = [instance for instance in up.instances() if instance["InstanceType"].startswith("m7i")]
        return [(instance["InstanceId"], instance["State"]["Name"]) for instance in found]

    before = heads()
    assert up.stack.deploy(SshFrom="198.51.100.9/32") == ["Nodes"]
    up.ray_up()
    assert heads() == before
    touched = up.stack.deploy(Image=up.images()[1])
    assert touched == ["Worker", "Head"]
    up.ray_up()
    assert dict(heads())[before[0][0]] == "terminated"
    assert len([state for _, state in heads() if state == "running"]) == 1


def test_costs_of_the_account_are_watched(up: Up) -> None:
    account = up.stack.known["AWS::AccountId"]
    (budget,) = up.stack.budgets.describe_budgets(AccountId=account)["Budgets"]
    assert budget["TimeUnit"] == "MONTHLY"
    assert float(budget["BudgetLimit"]["Amount"]) == 200
    notices = up.stack.budgets.describe_notifications_for_budget(AccountId=account, BudgetName="dvq-ray")
    assert {notice["Threshold"] for notice in notices["Notifications"]} == {50, 100}
