"""`cluster/slurm.sh` without Slurm: srun, scontrol, ray and python are replaced by scripts that record their calls.

What is shown: what is started, with which words, and what follows from a signal and from exit codes. What is not: that
a given site's Slurm sets the variables and sends the signals that its manual tells of.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import click
import pytest
from ray.scripts.scripts import start
from ray.scripts.symmetric_run import curate_and_validate_ray_start_args

from dvq_ray.cli.sweep import main as sweep
from dvq_ray.process.interruption import INTERRUPTED

SCRIPT = Path("cluster/slurm.sh").resolve()
SLURM = {"SLURM_JOB_ID": "17", "SLURM_JOB_NUM_NODES": "2", "SLURMD_NODENAME": "node3", "SLURM_CPUS_ON_NODE": "16",
         "SLURM_GPUS_ON_NODE": "4"}  # fmt: skip
SWEEP = ["sweeps/cifar10.yaml", "--results", "/shared/results", "--set", "seeds=[0, 1]"]

_RECORD = """#!/bin/sh
name=$(basename "$0")
{ printf '%s' "$name"; for word; do printf '\\037%s' "$word"; done; printf '\\n'; } >> "$RECORD/calls"
"""
STUBS = {
    "scontrol": '[ "$1" != getaddrs ] || echo "$2: $SLURM_KNOWS:6818"\n',
    "hostname": '[ "$1" = -I ] && echo "$OWN "\n',
    "getent": 'echo "127.0.1.1       STREAM node3"\n',
    # What stands behind the options of its own is run.
    "srun": 'while case "$1" in --*) true ;; *) false ;; esac; do shift; done\nexec "$@"\n',
    "ray": 'env > "$RECORD/environment"\nstat -c %a "$RAY_TMPDIR" > "$RECORD/mode"\n'
    'while [ "$1" != -- ]; do shift; done\nshift\n"$@"\nexit $?\n',
    "python": 'trap "exit 130" TERM\n: > "$RECORD/begun"\n'
    'if [ "$DRIVER" = waits ]; then while :; do sleep 0.05; done; fi\nexit "$DRIVER"\n',
}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    for name, does in STUBS.items():
        (programs / name).write_text(_RECORD + does)
        (programs / name).chmod(0o755)
    return tmp_path


def _start(place: Path, driver: str, job: str = "17", **more: str) -> subprocess.Popen[str]:
    outside = {key: value for key, value in os.environ.items() if not key.startswith(("SLURM", "RAY"))}
    variables = {
        **outside,
        **SLURM,
        "SLURM_JOB_ID": job,
        "SLURM_SUBMIT_DIR": str(place),
        "RECORD": str(place),
        "DRIVER": driver,
        "TMPDIR": str(place),
        "SLURM_KNOWS": "10.0.0.3",
        "OWN": "172.17.0.1 10.0.0.3 192.168.9.3 fd00::3",
        **more,
    }
    return subprocess.Popen(["bash", SCRIPT, *SWEEP], env=variables, stderr=subprocess.PIPE, text=True)


def _calls(place: Path) -> list[list[str]]:
    """What was called, questions left out."""
    calls = [line.split("\037") for line in (place / "calls").read_text().splitlines()]
    return [call for call in calls if call[0] not in ("hostname", "getent") and call[1:2] != ["getaddrs"]]


def _environment(place: Path) -> Mapping[str, str]:
    return dict(line.split("=", 1) for line in (place / "environment").read_text().splitlines() if "=" in line)


@pytest.mark.parametrize("code", [0, 1, 2])
def test_the_drivers_exit_code_is_the_jobs_and_nothing_is_queued_again(place: Path, code: int) -> None:
    assert _start(place, str(code)).wait(timeout=30) == code
    assert [call[0] for call in _calls(place)] == ["srun", "srun", "ray", "python", "srun"]


def test_every_node_is_started_alike_and_the_driver_gets_the_users_words(place: Path) -> None:
    _start(place, "0").wait(timeout=30)
    _, srun, ray, python, _ = _calls(place)
    assert srun[1:4] == ["--nodes=2", "--ntasks-per-node=1", "--cpus-per-task=16"]
    assert srun[4:] == ray
    assert python == ["python", "-m", "dvq_ray.sweep", "--address", "10.0.0.3:6379", *SWEEP]
    sweep.make_context("sweep", python[3:])  # raises where the sweep does not know an option


@pytest.mark.parametrize(
    ("more", "address"),
    [
        (
            {},
            "10.0.0.3",
        ),  # as Slurm knows it, though the node's name leads to 127.0.1.1 and docker's bridge comes first
        ({"SLURM_KNOWS": "127.0.1.1", "OWN": "10.0.0.3 172.17.0.1"}, "10.0.0.3"),
        ({"SLURM_KNOWS": "10.9.9.9"}, "172.17.0.1"),  # not one of this node's
        ({"HEAD_ADDRESS": "192.168.9.3"}, "192.168.9.3"),
    ],
)
def test_the_head_is_named_by_an_address_of_its_own_that_other_nodes_reach(
    place: Path, more: dict[str, str], address: str
) -> None:
    assert _start(place, "0", **more).wait(timeout=30) == 0
    _, _, ray, python, _ = _calls(place)
    assert ray[2:4] == python[3:5] == ["--address", f"{address}:6379"]


@pytest.mark.parametrize("more", [{"HEAD_ADDRESS": "10.0.0.4"}, {"HEAD_ADDRESS": "127.0.0.1"}, {"OWN": "fd00::3"}])
def test_without_such_an_address_nothing_is_started(place: Path, more: dict[str, str]) -> None:
    job = _start(place, "0", **more)
    _, error = job.communicate(timeout=30)
    assert job.returncode == 1
    assert "no address of node3 that other nodes can reach" in error
    assert "allowed: one of" in error
    assert _calls(place) == []


def test_ray_knows_every_option_that_it_is_given(place: Path) -> None:
    _start(place, "0").wait(timeout=30)
    _, _, ray, *_ = _calls(place)
    words = ray[: ray.index("--")]
    assert words[1:6] == ["symmetric-run", "--address", "10.0.0.3:6379", "--min-nodes", "2"]
    for_start = curate_and_validate_ray_start_args(words[2:])
    with click.Context(start) as context:
        options = start.make_context("start", ["--head", *for_start], parent=context).params
    assert (options["num_cpus"], options["num_gpus"]) == (16, 4)


def test_nodes_share_a_token_that_is_new_for_each_job(place: Path) -> None:
    tokens = []
    for _ in range(2):
        _start(place, "0").wait(timeout=30)
        environment = _environment(place)
        assert environment["RAY_AUTH_MODE"] == "token"
        assert environment["RAY_TMPDIR"] == "/tmp/dvq_ray_17"
        tokens.append(environment["RAY_AUTH_TOKEN"])
    assert all(re.fullmatch("[0-9a-f]{64}", token) for token in tokens)
    assert tokens[0] != tokens[1]


def test_rays_folder_is_closed_to_other_users_and_gone_afterwards(place: Path) -> None:
    _start(place, "0", job="18").wait(timeout=30)
    assert (place / "mode").read_text().strip() == "700"
    assert not Path("/tmp/dvq_ray_18").exists()


def test_nothing_is_started_in_a_folder_of_somebody_else(place: Path) -> None:
    Path("/tmp/dvq_ray_19").touch()
    try:
        assert _start(place, "0", job="19").wait(timeout=30) != 0
    finally:
        Path("/tmp/dvq_ray_19").unlink()
    assert [call[0] for call in _calls(place)] == ["srun"]


def test_near_its_time_limit_the_driver_is_notified_and_the_job_queued_again(place: Path) -> None:
    job = _start(place, "waits")
    try:
        deadline = time.monotonic() + 30
        while not (place / "begun").exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        job.send_signal(signal.SIGTERM)
        assert job.wait(timeout=30) == INTERRUPTED
    finally:
        job.kill()
    assert _calls(place)[-1] == ["scontrol", "requeue", "17"]


def test_what_is_requested_from_slurm() -> None:
    lines = re.findall(r"^#SBATCH --(.+)$", SCRIPT.read_text(), re.MULTILINE)
    asked = dict(line.partition("=")[::2] for line in lines)
    assert {"requeue", "exclusive"} <= {*asked}
    assert asked["signal"].startswith("B:TERM@")  # to the script alone, not to Ray on every node
    assert asked["ntasks-per-node"] == "1"
    assert asked["mem"] == "0"  # all of a node's, which --exclusive alone does not give
    assert asked["open-mode"] == "append"  # a job that goes on keeps the log of its first part


def test_the_script_is_in_order() -> None:
    subprocess.run(["bash", "-n", SCRIPT], check=True)
    shellcheck = Path(sys.executable).with_name("shellcheck")
    found = subprocess.run([shellcheck, SCRIPT], capture_output=True, text=True)
    assert found.returncode == 0, found.stdout
