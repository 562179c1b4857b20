"""Sweeps on several nodes of one machine, and what is left when a node goes and another comes."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner

from dvq_ray.cli.sweep import main
from dvq_ray.execution.budget import BUDGET_SPENT
from tests.nodes import nodes, workers_of
from tests.sweep_files import write

pytestmark = pytest.mark.ray

SWEEP = """\
name: nodes
trainable: static_prior
seeds: 24
fixed: {factors: 8, train_samples: 256, codebook_size: 16, dimension: 8, steps: 200000}
grids:
  plain: {quantizer: vq}
"""
"""24 cells of some 0.3 s each."""
TRIALS_ON_A_GPU = 2


@pytest.fixture
def cluster() -> Iterator[Any]:
    """Two nodes with a logical GPU each."""
    with nodes(2, num_cpus=2, num_gpus=1) as started:
        yield started


def start(folder: Path, cluster: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.logical_gpus", str(write(folder, SWEEP)), str(folder / "nodes")]
    return subprocess.Popen([*command, cluster.address], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def test_a_sweep_fills_its_gpus_and_outlives_a_node(tmp_path: Path, cluster: Any) -> None:
    driver = start(tmp_path, cluster)
    cells = tmp_path / "nodes" / "cells"
    most = [0, 0]
    deadline = time.monotonic() + 120
    while min(most) < TRIALS_ON_A_GPU or not cells.exists():
        assert time.monotonic() < deadline, f"at most {most} trials ran on the nodes"
        assert driver.poll() is None, driver.communicate()
        most = [max(so_far, len(workers_of([node]))) for so_far, node in zip(most, cluster.worker_nodes, strict=True)]
    cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)
    cluster.add_node(num_cpus=2, num_gpus=1)
    output, _ = driver.communicate(timeout=180)
    assert driver.returncode == 0, output
    assert most == [TRIALS_ON_A_GPU, TRIALS_ON_A_GPU]
    rows = pd.read_parquet(cells)
    assert len(rows) == rows["cell_id"].nunique() == 24
    assert set(rows["status"]) == {"ok"}
    assert CliRunner().invoke(main, [str(tmp_path / "sweep.yaml"), "--results", str(tmp_path / "alone"), "--in-process",
                                     "--set", "seeds=2"]).exit_code == 0  # fmt: skip
    alone = pd.read_parquet(tmp_path / "alone" / "nodes" / "cells").set_index("cell_id")["test_mse"]
    pd.testing.assert_series_equal(rows.set_index("cell_id")["test_mse"].loc[alone.index], alone, check_exact=True)


def test_an_address_of_rays_client_is_refused_before_anything_starts(tmp_path: Path) -> None:
    result = CliRunner().invoke(
        main, [str(write(tmp_path, SWEEP)), "--results", str(tmp_path), "--address", "ray://x:1"]
    )
    assert result.exit_code == 2
    assert "allowed: HOST:PORT from a machine of the cluster's network" in result.output
    assert not (tmp_path / "nodes").exists()


def test_a_sweep_for_which_no_node_ever_comes_ends_when_its_time_is_spent(tmp_path: Path) -> None:
    """As where the set-up of nodes fails and the cluster replaces them. No trial runs, so GPU hours stay 0."""
    with nodes(0) as head:
        command = [sys.executable, "-m", "dvq_ray.sweep", str(write(tmp_path, SWEEP)), "--results", str(tmp_path)]
        limits = ["--address", head.address, "--time-budget", "3s", "--gpu-hours", "0.0001"]
        driver = subprocess.run([*command, *limits], capture_output=True, text=True, timeout=120, check=False)
    assert driver.returncode == BUDGET_SPENT, driver.stdout + driver.stderr
    assert "the time budget of 3 s is spent" in driver.stdout
    assert not list((tmp_path / "nodes" / "cells").glob("*"))
