"""`python -m dvq_ray.rerun`: one stored cell again, and what is printed if it differs."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner, Result

from dvq_ray.cli.agreement import explain
from dvq_ray.cli.rerun import main as rerun
from dvq_ray.cli.sweep import main as sweep
from dvq_ray.experiment.registry import find_experiment
from tests.sweep_files import TINY, write, write_pictures

AMD = "AMD EPYC 7763 64-Core Processor"
IMAGES = """\
name: tiny
trainable: learned_prior
seeds: 3
fixed: {image_size: 8, dimension: 4, codebook_size: 4, stem_channels: 4, body_channels: 4, residual_channels: 4,
        logistic_mixtures: 1, downsamplings: 1, batch_size: 2, steps: 3, dataset: mine}
data: {mine: {format: folder, train: FOLDER/train, test: FOLDER/test}}
grids: {plain: {quantizer: vq}}
"""


def stored(folder: Path, text: str = TINY) -> pd.DataFrame:
    path = write(folder, text.replace("FOLDER", str(folder)))
    assert CliRunner().invoke(sweep, [str(path), "--results", str(folder), "--in-process"]).exit_code == 0
    return pd.read_parquet(cells_file(folder))


def cells_file(folder: Path) -> Path:
    (path,) = (folder / "tiny" / "cells").iterdir()
    return path


def again(folder: Path, cell_id: str, *arguments: str) -> Result:
    return CliRunner().invoke(rerun, [str(folder / "tiny"), cell_id, *arguments])


def text_of(result: Result) -> str:
    return " ".join(result.output.split())


def test_a_stored_cell_runs_again_and_is_identical(tmp_path: Path) -> None:
    frame = stored(tmp_path)
    result = again(tmp_path, frame["cell_id"][0])
    assert result.exit_code == 0, result.output
    assert result.output.rstrip().endswith("identical")


@pytest.mark.long
@pytest.mark.parametrize("device", [None, AMD])
@pytest.mark.parametrize(("factor", "verdict", "code"), [(1.001, "within tolerance", 0), (1.5, "different", 1)])
def test_a_fit_that_differs_is_reported_whatever_computed_it(
    tmp_path: Path, factor: float, verdict: str, code: int, device: str | None
) -> None:
    frame = stored(tmp_path)
    frame["test_mse"] *= factor
    frame["run_device"] = device or frame["run_device"]
    frame.to_parquet(cells_file(tmp_path))
    result = again(tmp_path, frame["cell_id"][3])
    assert result.output.rstrip().endswith(f": {verdict}")
    assert result.exit_code == code
    assert ("they should be identical" in result.output) == (code == 1)


@pytest.mark.parametrize("column", ["perplexity", "start"])
@pytest.mark.parametrize("all_rows", [True, False])
def test_a_row_from_before_a_column_was_added_is_not_different_for_it(
    tmp_path: Path, column: str, all_rows: bool
) -> None:
    frame = stored(tmp_path)
    cell_id = frame.loc[frame["quantizer"] == "vq", "cell_id"].iloc[0]
    frame.loc[frame["cell_id"] == cell_id, column] = None
    (frame.drop(columns=column) if all_rows else frame).to_parquet(cells_file(tmp_path))
    result = again(tmp_path, cell_id)
    assert result.output.rstrip().endswith("identical")
    assert result.exit_code == 0


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    write_pictures(folder)
    stored(folder, IMAGES)
    return folder


METRIC = "reconstruction_bits_per_dim"


@pytest.mark.parametrize(
    ("device", "seeds", "by", "code", "said"),
    [
        (AMD, 3, 0.5, 0, ["computed on AMD EPYC", "numbers may differ", "n = 3", "different, as expected"]),
        (AMD, 3, 50.0, 1, ["computed on AMD EPYC", "n = 3", ": different"]),
        (AMD, 1, 0.5, 1, ["computed on AMD EPYC", "the store has 1 finished seeds of this point", ": different"]),
        (None, 3, 0.5, 1, ["they should be identical", ": different"]),
    ],
)
def test_a_training_on_another_processor_is_compared_with_the_spread_between_seeds(
    trained: Path, tmp_path: Path, device: str | None, seeds: int, by: float, code: int, said: list[str]
) -> None:
    (tmp_path / "tiny" / "cells").mkdir(parents=True)
    (tmp_path / "tiny" / "sweep.yaml").write_text((trained / "tiny" / "sweep.yaml").read_text())
    frame = pd.read_parquet(cells_file(trained)).sort_values("seed", ignore_index=True)
    computed = frame[METRIC][0]
    # A spread that a difference of more than 1% can be within.
    frame[METRIC] = [computed + by, computed + by + 1.0, computed + by + 2.0]
    frame["run_device"] = device or frame["run_device"]
    frame["status"] = ["ok" if place < seeds else "diverged" for place in range(3)]
    frame.to_parquet(tmp_path / "tiny" / "cells" / "a.parquet")
    result = again(tmp_path, frame["cell_id"][0])
    assert result.exit_code == code, result.output
    assert all(each in text_of(result) for each in said), text_of(result)
    if seeds == 3 and device:
        assert f"differs by {by:.4g}, which is {by:.1f} standard deviations between the seeds" in text_of(result)


def row(value: float | None = 6.172, **changes: Any) -> dict[str, Any]:
    versions = json.dumps({"torch": "2.9", "numpy": "2.1", "ray": "2.60"})
    return {METRIC: value, "run_device": "Intel", "run_versions": versions, "data_sha256": "d", **changes}


NEWER = {"run_versions": json.dumps({"torch": "2.10", "numpy": "2.1", "ray": "2.60"})}
OTHER_RAY = {"run_versions": json.dumps({"torch": "2.9", "numpy": "2.1", "ray": "3"})}


@pytest.mark.parametrize(
    ("now", "seeds", "expected", "said"),
    [
        (row(6.214, run_device=AMD), [6.1, 6.15, 6.2], True, "0.042, which is 0.8 standard deviations"),
        (row(6.314, run_device=AMD), [6.1, 6.15, 6.2], False, "0.142, which is 2.8 standard deviations"),
        (row(6.214, run_device="NVIDIA H100"), [6.1, 6.15, 6.2], True, "this one on NVIDIA H100"),
        (row(6.214, **NEWER), [6.1, 6.15, 6.2], True, "torch was 2.9 and is 2.10"),
        (row(6.214, **OTHER_RAY), [6.1, 6.15, 6.2], False, "they should be identical"),
        (row(6.214), [6.1, 6.15, 6.2], False, "they should be identical"),
        (row(6.214, run_device=AMD), [6.1, 6.1], False, "inf standard deviations"),
        (row(6.214, run_device=AMD), [], False, "the store has 0 finished seeds"),
        (row(None, run_device=AMD), [6.1, 6.15, 6.2], False, "only one of them has a finite"),
        (row(math.nan, run_device=AMD), [6.1, 6.15, 6.2], False, "only one of them has a finite"),
        (row(6.173, run_device=AMD, data_sha256="e"), [6.1, 6.15, 6.2], False, "not the data"),
        (row(6.214, run_device=None), [6.1, 6.15, 6.2], True, "an unknown processor"),
        (row(6.214, run_versions="{"), [6.1, 6.15, 6.2], True, "torch was 2.9 and is missing"),
    ],
)
def test_a_difference_is_explained(now: dict[str, Any], seeds: list[float], expected: bool, said: str) -> None:
    found = explain(find_experiment("learned_prior"), row(), now, seeds)
    assert found.is_expected == expected
    assert said in " ".join(found.lines)


def test_a_fit_on_a_gpu_may_differ_from_one_on_a_cpu() -> None:
    static = find_experiment("static_prior")
    before, now = {"test_mse": 1.0, "run_device": AMD}, {"test_mse": 1.1, "run_device": "Tesla T4"}
    assert explain(static, before, now, [1.0, 1.2]).is_expected
    assert not explain(static, before, {**now, "run_device": "Intel"}, [1.0, 1.2]).is_expected


def test_a_missing_cell_or_one_of_another_revision_is_reported(tmp_path: Path) -> None:
    frame = stored(tmp_path)
    absent = again(tmp_path, "0" * 16)
    assert absent.exit_code == 2
    assert "no cell of that id" in absent.output
    frame["cell_id"] = [f"{n:016x}" for n in range(len(frame))]
    frame.to_parquet(cells_file(tmp_path))
    changed = again(tmp_path, "0" * 16)
    assert changed.exit_code == 2
    assert "would compute something else" in changed.output


def test_an_id_that_is_cut_off_or_strange_is_rejected(tmp_path: Path) -> None:
    first = stored(tmp_path)["cell_id"][0]
    short = again(tmp_path, first[:9])
    assert short.exit_code == 2
    assert f"did you mean {first}?" in short.output
    for strange in ("", " ", "[red]", "\x1b[31m", "\udcff", "'\"\\", "日本", "x" * 9999, "../..", "*"):
        result = again(tmp_path, strange)
        assert result.exit_code == 2, strange
        assert "no cell of that id" in result.output
        assert "\x1b" not in result.output


def test_a_gpu_that_is_not_there_and_a_device_that_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    first = stored(tmp_path)["cell_id"][0]
    assert "finds no GPU" in again(tmp_path, first, "--device", "cuda").output
    assert again(tmp_path, first, "--device", "cuda").exit_code == 2
    assert again(tmp_path, first, "--device", "tpu").exit_code == 2


def test_a_row_without_a_seed_is_rejected(tmp_path: Path) -> None:
    frame = stored(tmp_path)
    frame.drop(columns=["seed", "sweep", "run_commit"]).to_parquet(cells_file(tmp_path))
    result = again(tmp_path, frame["cell_id"][0])
    assert result.exit_code == 2
    assert "has no seed" in result.output
