"""Trials that hold parts of GPUs, on a node with several: which device each sees, and its part of the memory.

The GPUs are numbers that Ray hands out.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from tests.nodes import nodes
from tests.sweep_files import write

pytestmark = [pytest.mark.ray, pytest.mark.slow]

SWEEP = """\
name: shared
trainable: "devices:EXPERIMENT"
seeds: 4
grids:
  plain: {quantizer: vq, dimension: 4, codebook_size: 4}
resources: {cpu: 1, gpu: 0.5}
"""
DEVICES = '''\
"""An experiment whose cells, four at once, tell which GPU they were given."""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from dvq_ray.declarations.field import Axis
from dvq_ray.declarations.metric import Metric
from dvq_ray.declarations.settings import Settings
from dvq_ray.experiment.experiment import Experiment, Outcome

MEETING = Path(__file__).parent / "meeting"


class DeviceSettings(Settings):
    dimension: Annotated[int, Field(ge=1), Axis(label="dimension", symbol="D", role="data")]

    def nominal_seconds(self):
        return 3600.0  # each has a trial of its own

    def code_bits(self):
        return self.bits()


@dataclass(frozen=True, kw_only=True)
class DeviceMetrics:
    device: Annotated[float, Metric(label="GPU", better="lower")]
    devices: Annotated[float, Metric(label="GPUs that can be seen")]
    share: Annotated[float, Metric(label="part of its memory")]


@dataclass(frozen=True, kw_only=True)
class NoCurve:
    step: Annotated[int, Metric(label="step")]


def run(settings, seeds, surroundings):
    MEETING.mkdir(exist_ok=True)
    for seed in seeds:
        (MEETING / str(seed)).touch()
        until = time.monotonic() + 60
        while len(list(MEETING.iterdir())) < 4 and time.monotonic() < until:
            time.sleep(0.05)
        seen = os.environ["CUDA_VISIBLE_DEVICES"].split(",")
        metrics = {"device": float(seen[0]), "devices": float(len(seen)), "share": surroundings.gpu_share}
        yield Outcome(metrics=metrics, curve=[], diverged_at_step=None)


EXPERIMENT = Experiment(
    name="devices", label="devices", revision=1, fields_for=lambda quantizer: (DeviceSettings,),
    metrics=DeviceMetrics, main_metric="device", curve=NoCurve, run=run,
)
'''


def test_each_trial_sees_one_device_with_as_many_others_as_fit_and_takes_its_part_of_the_memory(tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "devices.py").write_text(DEVICES.replace("Path(__file__).parent", f"Path({str(tmp_path)!r})"))
    with nodes(1, num_cpus=4, num_gpus=2) as cluster:
        command = [sys.executable, "-m", "dvq_ray.sweep", str(write(tmp_path, SWEEP)), "--results", str(tmp_path)]
        environment = {**os.environ, "PYTHONPATH": f"{Path.cwd()}:{tmp_path / 'code'}"}
        driver = subprocess.run(
            [*command, "--address", cluster.address], env=environment, capture_output=True, text=True, timeout=120
        )
    assert driver.returncode == 0, driver.stdout + driver.stderr
    rows = pd.read_parquet(tmp_path / "shared" / "cells")
    assert sorted(rows["device"]) == [0, 0, 1, 1]
    assert {*rows["devices"]} == {1}
    assert {*rows["share"]} == {0.5}
