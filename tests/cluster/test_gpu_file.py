"""`cluster/gpu.yaml` without any cloud: as Ray reads it, and beyond what Ray checks."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.autoscaler.v2.instance_manager.config import AutoscalingConfig
from ray.autoscaler.v2.scheduler import ResourceDemandScheduler, SchedulingRequest
from ray.autoscaler.v2.utils import ResourceRequestUtil
from ray.core.generated.autoscaler_pb2 import ResourceRequestByCount  # type: ignore[attr-defined]

from dvq_ray.sweep.spec import load_sweep
from tests.cluster.cluster_file import load, problems, resources

ON_GPUS = [
    path.name for path in sorted(Path("sweeps").glob("*.yaml"))
    if "codes_of" not in path.read_text() and load_sweep(path).resources.gpu
]  # fmt: skip


def test_ray_accepts_the_file_and_nothing_is_wrong_that_it_would_miss() -> None:
    validate_config(prepare_config(copy.deepcopy(load())))
    assert problems(load()) == []


@pytest.mark.parametrize(
    ("break_it", "reported"),
    [
        (lambda file: file.pop("cluster_name"), "cluster_name: missing"),
        (lambda file: file["provider"].update(regoin="us-east-1"), "provider.regoin: unknown"),
        (lambda file: file["provider"].update(aws_credentials={}), "provider.aws_credentials: unknown"),
        (lambda file: file["file_mounts"].update({"~/x": "nowhere.txt"}), "file_mounts.~/x: there is no nowhere.txt"),
        (lambda file: _spot(file).update(InstanceType="g5.2xlarg"), "gpu_spot.InstanceType: there is no g5.2xlarg"),
        (lambda file: _spot(file).update(InstanceMarketOption={}), 'parameter in input: "InstanceMarketOption"'),
        (lambda file: _spot(file)["InstanceMarketOptions"].update(Market="spot"), 'InstanceMarketOptions: "Market"'),
    ],
)  # fmt: skip
def test_errors_that_ray_misses_are_reported(break_it: Callable[[dict[str, Any]], object], reported: str) -> None:
    config = copy.deepcopy(load())
    break_it(config)
    assert len(problems(config)) == 1
    assert reported in problems(config)[0]


def _spot(config: dict[str, Any]) -> dict[str, Any]:
    node_config: dict[str, Any] = config["available_node_types"]["gpu_spot"]["node_config"]
    return node_config


def test_there_are_no_gpu_nodes_without_work_and_a_stated_number_at_most() -> None:
    config = load()
    workers = [kind for name, kind in config["available_node_types"].items() if name != config["head_node_type"]]
    assert [kind["min_workers"] for kind in workers] == [0, 0]
    assert all(kind["max_workers"] == config["max_workers"] for kind in workers)
    assert config["idle_timeout_minutes"] <= 15
    assert config["provider"]["cache_stopped_nodes"] is False


@pytest.mark.parametrize("sweep", ON_GPUS)
def test_a_trial_of_every_sweep_on_gpus_fits_a_node(sweep: str) -> None:
    wanted = load_sweep(Path("sweeps") / sweep).resources
    types = load()["available_node_types"]
    for name in ("gpu_spot", "gpu_on_demand"):
        offered = resources(types[name])
        assert wanted.cpu <= offered["CPU"]
        assert wanted.gpu <= offered["GPU"]
        # as many trials as fit the GPU must fit the CPUs too, or the GPU idles
        assert offered["GPU"] / wanted.gpu <= offered["CPU"] / wanted.cpu


def test_some_sweeps_ask_for_gpus() -> None:
    assert {"cifar10.yaml", "imagenet64.yaml", "search_slices.yaml"} <= {*ON_GPUS}


def test_no_cell_runs_on_the_head() -> None:
    config = load()
    assert resources(config["available_node_types"][config["head_node_type"]])["CPU"] == 0


@pytest.mark.parametrize(
    ("trials", "spot_is_scarce", "launched"),
    [
        (3, False, {"gpu_spot": 3}),
        (3, True, {"gpu_on_demand": 3}),
        (100, False, {"gpu_spot": 8}),
        (100, True, {"gpu_on_demand": 8}),
    ],
)
def test_the_autoscaler_launches_spot_nodes_and_falls_back_to_on_demand(
    trials: int, spot_is_scarce: bool, launched: dict[str, int]
) -> None:
    """Ray's own scheduler, with the state in which a refused launch leaves it."""
    config = load()
    for node_type in config["available_node_types"].values():
        node_type["resources"] = resources(node_type)
    autoscaling = AutoscalingConfig(prepare_config(config), skip_content_hash=True)
    trial = ResourceRequestUtil.make({"CPU": 2, "GPU": 1})
    request = SchedulingRequest(
        disable_launch_config_check=True,
        node_type_configs=autoscaling.get_node_type_configs(),
        max_num_nodes=autoscaling.get_max_num_worker_nodes(),  # the head is not among the nodes here
        resource_requests=[ResourceRequestByCount(request=trial, count=trials)],
        cloud_resource_availabilities={"gpu_spot": 0.0} if spot_is_scarce else {},
        recoverable_resource_availabilities={"gpu_spot": 0.0} if spot_is_scarce else {},
    )
    reply = ResourceDemandScheduler().schedule(request)
    assert {launch.instance_type: launch.count for launch in reply.to_launch} == launched


def test_constraints_hold_no_build_of_torch_for_cpus_alone() -> None:
    pinned = [line for line in Path("constraints.txt").read_text().splitlines() if line.startswith("torch==")]
    assert len(pinned) == 1
    assert "+" not in pinned[0]
