"""What a node does when its head is gone: Ray's process on it ends, after which the node ends itself."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from tests.nodes import nodes

pytestmark = [pytest.mark.ray, pytest.mark.slow]

LONGEST_SECONDS = 120
"""The script of `cluster/gpu.yaml` looks every minute and waits for 15."""


def test_rays_process_on_a_node_ends_soon_after_the_head_is_gone() -> None:
    with nodes(1, num_cpus=1) as cluster:
        head, node = cluster.head_node, next(iter(cluster.worker_nodes))
        raylet = node.all_processes["raylet"][0].process
        # The name by which the nodes' script finds it.
        assert Path(f"/proc/{raylet.pid}/comm").read_text() == "raylet\n"
        assert str(raylet.pid) in subprocess.check_output(["pgrep", "-x", "raylet"], text=True).split()
        for kind in ("gcs_server", "raylet"):
            for started in head.all_processes[kind]:
                os.kill(started.process.pid, 9)
        began = time.monotonic()
        while raylet.poll() is None:
            assert time.monotonic() - began < LONGEST_SECONDS
            time.sleep(0.5)
