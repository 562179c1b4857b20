from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from dvq_ray.cli.sweep import main
from dvq_ray.experiment.registry import find_experiment
from dvq_ray.experiments.learned_prior.device import DataSet, Device, multiplies_bfloat16
from dvq_ray.experiments.learned_prior.run import run
from dvq_ray.experiments.learned_prior.training import Training
from dvq_ray.sweep.cells import Point
from tests.learned_prior.test_training import CPU, Kept, around, images, settings

CELL: dict[str, Any] = {"quantizer": "dvq", "slices": 3}
WITH_BFLOAT16 = pytest.mark.skipif(not multiplies_bfloat16(), reason="this processor does not multiply bfloat16")


def losses(device: Device, steps: int = 24) -> list[float]:
    training = Training(settings(**CELL), 0, DataSet(images(), device), device)
    with device.prepared():
        training.begin()
        while not training.done:
            training.advance()
    return [point["reconstruction_bits_per_dim"] for point in training.curve]


@WITH_BFLOAT16
def test_bfloat16_on_a_cpu_trains_as_float32_does_within_rounding() -> None:
    rounded, exact = losses(Device("cpu", cpu_precision="bfloat16")), losses(CPU)
    assert rounded != exact
    np.testing.assert_allclose(rounded, exact, rtol=0.02)


@WITH_BFLOAT16
def test_bfloat16_on_a_cpu_gives_the_same_bytes_again() -> None:
    device = Device("cpu", cpu_precision="bfloat16")
    assert losses(device) == losses(device)


@WITH_BFLOAT16
def test_cell_says_in_which_precision_it_was_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dvq_ray.experiments.learned_prior.run.data_set", lambda *of: DataSet(images(), CPU))
    found = {
        precision: list(run(settings(**CELL, cpu_precision=precision), [0], around(Kept())))[-1]
        for precision in ("float32", "bfloat16")
    }
    assert {name: outcome.metrics["precision"] for name, outcome in found.items()} == {  # type: ignore[union-attr]
        "float32": "float32",
        "bfloat16": "bfloat16",
    }


def test_float32_cells_keep_their_ids_and_bfloat16_cells_have_their_own() -> None:
    plain, stated, rounded = (
        Point(experiment=find_experiment("learned_prior"), settings=settings(**CELL, **more)).cell_id(0)
        for more in ({}, {"cpu_precision": "float32"}, {"cpu_precision": "bfloat16"})
    )
    assert plain == stated != rounded


def test_checkpoint_from_before_a_field_was_added_is_resumed() -> None:
    training = Training(settings(**CELL), 0, DataSet(images(), CPU), CPU)
    of = training._identity()
    older = json.loads(of["settings"])
    del older["cpu_precision"]
    assert training._is_of_this_cell({**of, "settings": json.dumps(older)})
    assert not training._is_of_this_cell({**of, "settings": json.dumps({**older, "cpu_precision": "bfloat16"})})


def test_bfloat16_is_refused_before_the_start_where_the_processor_lacks_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    sweep = tmp_path / "rounded.yaml"
    fields = json.dumps({"dataset": "photos", "cpu_precision": "bfloat16", "dimension": 4, "steps": 1})
    sweep.write_text(
        f"name: rounded\ntrainable: learned_prior\nseeds: 1\nfixed: {fields}\ngrids: {{one: {{quantizer: vq}}}}\n"
    )
    done = CliRunner().invoke(main, [str(sweep), "--in-process", "--results", str(tmp_path / "results")])
    assert done.exit_code == 2
    assert "cpu_precision is bfloat16, which this processor has no instructions for; allowed: float32" in done.output
    assert not list((tmp_path / "results").rglob("*.parquet"))
