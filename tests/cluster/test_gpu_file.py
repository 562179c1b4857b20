"""`cluster/gpu.yaml` without any cloud: as Ray reads it, and beyond what Ray checks."""

from __future__ import annotations

import copy
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ray.autoscaler._private.util import prepare_config, validate_config

from tests.cluster.cluster_file import load, problems, resources
from tests.cluster.sweeps_on_gpus import on_gpus


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


def test_a_trial_of_every_sweep_on_gpus_fits_a_node() -> None:
    types = load()["available_node_types"]
    for name in ("gpu_spot", "gpu_on_demand"):
        offered = resources(types[name])
        for sweep, wanted in on_gpus().items():
            assert wanted.cpu <= offered["CPU"], sweep
            assert wanted.gpu <= offered["GPU"], sweep
            # as many trials as fit the GPU must fit the CPUs too, or the GPU idles
            assert offered["GPU"] / wanted.gpu <= offered["CPU"] / wanted.cpu, sweep


def test_some_sweeps_ask_for_gpus() -> None:
    assert {"cifar10.yaml", "imagenet64.yaml", "search_slices.yaml"} <= {*on_gpus()}


def test_no_cell_runs_on_the_head() -> None:
    config = load()
    assert resources(config["available_node_types"][config["head_node_type"]])["CPU"] == 0


UBUNTUS_BASHRC = """\
case $- in
    *i*) ;;
      *) return;;
esac
"""
"""The beginning of the file that Ubuntu gives a new user: what follows is read by interactive shells alone."""


def test_ray_status_in_a_fresh_shell_of_a_node_is_rays_of_the_environment_and_shows_the_token(tmp_path: Path) -> None:
    """The set-up commands that change shells, and then a command as `ray exec` runs it."""
    (tmp_path / "venv/bin").mkdir(parents=True)
    (tmp_path / "venv/bin/ray").write_text('#!/bin/sh\necho "$0 $* with $RAY_AUTH_MODE"\n')
    (tmp_path / "venv/bin/ray").chmod(0o755)
    (tmp_path / ".bashrc").write_text(UBUNTUS_BASHRC)
    environment = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}

    def told(command: str) -> str:
        shell = ["bash", "--login", "-c", "-i", f"source ~/.bashrc; export OMP_NUM_THREADS=1 && ({command})"]
        return subprocess.run(shell, env=environment, stdout=subprocess.PIPE, text=True, check=False).stdout

    assert told("ray status") == ""
    for command in [command for command in load()["setup_commands"] if ".bashrc" in command] * 2:
        told(command)
    assert told("ray status") == f"{tmp_path}/venv/bin/ray status with token\n"
    assert (tmp_path / ".bashrc").read_text().count("export") == 2  # a second `ray up` adds nothing


def test_every_node_serves_metrics_on_one_port() -> None:
    for key in ("head_start_ray_commands", "worker_start_ray_commands"):
        (start,) = [command for command in load()[key] if "ray start" in command]
        assert "--metrics-export-port=8080" in start.split()


def test_a_stopped_job_has_time_for_checkpoints() -> None:
    (start,) = [command for command in load()["head_start_ray_commands"] if "ray start" in command]
    (wait,) = re.findall(r"RAY_JOB_STOP_WAIT_TIME_S=(\d+) ray start", start)
    assert int(wait) >= 60


def test_constraints_hold_no_build_of_torch_for_cpus_alone() -> None:
    pinned = [line for line in Path("constraints.txt").read_text().splitlines() if line.startswith("torch==")]
    assert len(pinned) == 1
    assert "+" not in pinned[0]
