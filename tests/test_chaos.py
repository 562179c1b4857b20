from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.ray
def test_random_kills_of_workers_nodes_and_drivers_lose_nothing() -> None:
    command = [sys.executable, "-m", "benchmarks.chaos", "--cells", "48", "--kills", "3", "--steps", "40000"]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=400, check=False
    )
    assert done.returncode == 0, done.stdout
