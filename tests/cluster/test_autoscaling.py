"""The node types of `cluster/gpu.yaml` under Ray's autoscaler, on make-believe nodes: processes of this machine.

GPUs are numbers here, which Ray hands out and nothing computes on; so the sweep asks for the CPUs of a whole node, and
plain tasks ask for halves of GPUs. The autoscaler is Ray's first: the second, which `ray up` uses, does not run on
make-believe nodes as Ray is packaged. What it makes of the node types is in `test_reconciling`.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
from ray.autoscaler._private.util import prepare_config

from tests.cluster.cluster_file import load, resources
from tests.sweep_files import write

pytestmark = pytest.mark.ray

PATIENCE_SECONDS = 120
SWEEP = """\
name: on_the_cluster
trainable: static_prior
seeds: 4
fixed: {factors: 8, train_samples: 256, codebook_size: 4, dimension: 8, steps: 200}
grids:
  plain: {quantizer: vq}
  slices: {quantizer: dvq, slices: [2, 4]}
resources: {cpu: 8}
"""
"""Its trials take all CPUs of a node each."""

WATCH = """
    import json, sys, time
    from ray._raylet import GcsClient
    client = GcsClient(address=sys.argv[1])
    while True:
        nodes = client.get_all_node_info().values()
        gpus = sum(node.resources_total.get("GPU", 0) for node in nodes if node.state == 0)
        print(json.dumps(gpus), flush=True)
        time.sleep(0.2)
"""
"""Prints how many GPUs the nodes alive have."""

TASKS = """
    import json, os, sys, time
    import ray
    ray.init(address=sys.argv[1], log_to_driver=False)
    folder = sys.argv[2]

    @ray.remote(num_cpus=2, num_gpus=0.5)
    def meet(number):
        open(os.path.join(folder, str(number)), "w").close()
        while len(os.listdir(folder)) < 4:  # over only when all four run at once
            time.sleep(0.05)
        return ray.get_runtime_context().get_node_id(), ray.get_gpu_ids()

    print(json.dumps(ray.get([meet.remote(number) for number in range(4)])))
"""
"""Four tasks that need two GPUs at once."""


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """A head without workers whose autoscaler may start some."""

    address: str
    environment: Mapping[str, str]
    gpus: Callable[[], list[float]]
    """How many GPUs there were, since the beginning."""

    def run(self, *words: str) -> str:
        """The output of a Python that ends well."""
        done = subprocess.run(
            [sys.executable, *words], env=self.environment, capture_output=True, text=True, timeout=PATIENCE_SECONDS
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    folder = Path(tempfile.mkdtemp(prefix="dvq"))  # the paths of Ray's sockets must be short
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    (folder / "config.json").write_text(json.dumps(_config(address)))
    environment = {
        **os.environ,
        "RAY_TMPDIR": str(folder),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    of_head = {
        "RAY_FAKE_CLUSTER": "1",
        "RAY_OVERRIDE_NODE_ID_FOR_TESTING": "f" * 51 + "00000",  # by which the make-believe provider knows the head
        "RAY_enable_autoscaler_v2": "0",
        "AUTOSCALER_UPDATE_INTERVAL_S": "1",
    }
    options = [
        "--node-ip-address=127.0.0.1", f"--port={address.partition(':')[2]}", "--num-cpus=0", "--num-gpus=0",
        "--include-dashboard=false", "--object-store-memory=100000000",
        f"--autoscaling-config={folder / 'config.json'}",
    ]  # fmt: skip
    ray = Path(sys.executable).with_name("ray")
    with (folder / "head").open("w") as head_log, (folder / "gpus").open("w") as gpus_log:
        head = subprocess.Popen(
            [ray, "start", "--head", "--block", *options], env=environment | of_head, stdout=head_log, stderr=head_log
        )
        watcher = None
        try:
            _until(lambda: head.poll() is not None or _answers(address))
            assert head.poll() is None, (folder / "head").read_text()
            watch = [sys.executable, "-c", textwrap.dedent(WATCH), address]
            watcher = subprocess.Popen(watch, env=environment, stdout=gpus_log, stderr=subprocess.DEVNULL)
            _until(lambda: (folder / "gpus").read_text() != "")
            yield Cluster(
                address=address,
                environment=environment,
                gpus=lambda: [float(line) for line in (folder / "gpus").read_text().split()],
            )
        finally:
            if watcher:
                watcher.kill()
                watcher.wait()
            head.send_signal(signal.SIGTERM)
            head.wait(timeout=PATIENCE_SECONDS)
            shutil.rmtree(folder, ignore_errors=True)


def _config(address: str) -> dict[str, object]:
    """`gpu.yaml`, its nodes made up and idle for seconds only."""
    config = load()
    types = config["available_node_types"]
    for node_type in types.values():
        node_type["resources"] = {**resources(node_type), "object_store_memory": 100_000_000}
    types["ray.head.default"] = types.pop(config["head_node_type"])  # the provider's name for it
    nothing_to_set_up: dict[str, object] = {key: [] for key in config if key.endswith("commands")}
    nothing_to_set_up["file_mounts"] = {}
    return {
        **prepare_config(config | nothing_to_set_up),
        "head_node_type": "ray.head.default",
        "provider": {
            "type": "fake_multinode",
            "gcs_address": address,
            "use_node_id_as_ip": True,  # all nodes have one address
            "disable_node_updaters": True,  # nothing is to be set up by ssh
            "disable_launch_config_check": True,
        },
        "idle_timeout_minutes": 0.15,
    }


def _answers(address: str) -> bool:
    host, _, port = address.partition(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_nodes_come_with_a_sweep_and_with_tasks_for_gpus_and_go_when_idle(cluster: Cluster, tmp_path: Path) -> None:
    assert {*cluster.gpus()} == {0}

    file = write(tmp_path, SWEEP)
    sweep = ["-m", "dvq_ray.sweep", str(file), "--results", str(tmp_path), "--max-concurrent", "2"]
    cluster.run(*sweep, "--address", cluster.address)
    cells = pd.read_parquet(tmp_path / "on_the_cluster" / "cells")
    assert len(cells) == 12
    assert {*cells["status"]} == {"ok"}
    # Ray asks again for a node that is slow to come, so that there may be one more for a while.
    most = load()["max_workers"]
    assert 1 <= max(cluster.gpus()) <= most

    (tmp_path / "meeting").mkdir()
    told = json.loads(cluster.run("-c", textwrap.dedent(TASKS), cluster.address, str(tmp_path / "meeting")))
    assert all(len(ids) == 1 for _, ids in told)
    assert len({node for node, _ in told}) >= 2
    assert max(Counter((node, *ids) for node, ids in told).values()) <= 2
    assert 2 <= max(cluster.gpus()) <= most

    _until(lambda: cluster.gpus()[-1] == 0)
