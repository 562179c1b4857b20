"""The command line as a user meets it, in this process."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner, Result

from dvq_ray.cli.rerun import main as rerun
from dvq_ray.cli.sweep import main as sweep
from dvq_ray.fitting import fit
from tests.sweep_files import TINY, write, write_pictures


def run(folder: Path, *arguments: str, text: str = TINY) -> Result:
    path = write(folder, text)
    return CliRunner().invoke(sweep, [str(path), "--results", str(folder / "results"), "--in-process", *arguments])


def cells(folder: Path, name: str = "tiny") -> pd.DataFrame:
    return pd.read_parquet(folder / "results" / name / "cells").set_index("cell_id").sort_index()


def test_a_sweep_fills_its_store_and_says_what_to_do_next(tmp_path: Path) -> None:
    result = run(tmp_path)
    assert result.exit_code == 0, result.output
    store = tmp_path / "results" / "tiny"
    assert "8 of 8 cells done, 0 failed" in result.output
    assert f"python -m analysis {store}" in result.output
    frame = cells(tmp_path)
    assert len(frame) == 8
    assert set(frame["status"]) == {"ok"}
    curves = pd.read_parquet(store / "curves")
    assert set(curves["cell_id"]) == set(frame.index)
    last = curves.sort_values("step").groupby("cell_id")["test_mse"].last()
    assert (last.sort_index() == frame["test_mse"]).all()


def test_the_same_command_again_runs_nothing(tmp_path: Path) -> None:
    run(tmp_path)
    before = cells(tmp_path)
    result = run(tmp_path)
    assert result.exit_code == 0
    assert "to run" not in result.output
    pd.testing.assert_frame_equal(cells(tmp_path), before)


def test_more_seeds_and_a_longer_axis_run_what_is_new_and_nothing_else(tmp_path: Path) -> None:
    run(tmp_path)
    before = cells(tmp_path)
    result = run(tmp_path, "--set", "seeds=3", "--set", "grids.plain.dimension=[2, 4, 8]")
    assert "7 cells to run, 8 at hand" in result.output
    after = cells(tmp_path)
    assert len(after) == 15
    pd.testing.assert_frame_equal(after.loc[before.index], before)


def test_a_dry_run_counts_each_grid_and_writes_nothing(tmp_path: Path) -> None:
    result = run(tmp_path, "--dry-run")
    assert result.exit_code == 0
    lines = [line.split() for line in result.output.splitlines()]
    assert ["plain", "0", "0", "4"] in lines
    assert ["slices", "0", "0", "4"] in lines
    assert "at nominal speed, not measured here" in result.output
    assert not (tmp_path / "results").exists()


def test_a_dry_run_tells_done_missing_and_unwanted_cells_and_the_time(tmp_path: Path) -> None:
    run(tmp_path)
    result = run(tmp_path, "--dry-run", "--set", "grids.plain.dimension=[4, 8]", "--set", "seeds=[1, 2]")
    lines = [line.split() for line in result.output.splitlines()]
    assert ["plain", "1", "0", "3"] in lines
    assert ["slices", "2", "0", "2"] in lines
    assert "no longer wanted: 5 cells" in result.output
    assert "to run: 5 cells in" in result.output
    assert "s with 1 at a time, going by measured durations\n" in result.output


def test_failed_cells_are_rows_and_only_they_are_retried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = fit._problem

    def broken(quantizer, start, training, data):  # type: ignore[no-untyped-def]
        if data.seed == 1:
            raise ValueError("seed one is cursed")
        return original(quantizer, start, training, data)

    with monkeypatch.context() as patch:
        patch.setattr(fit, "_problem", broken)
        result = run(tmp_path)
        assert result.exit_code == 1
        assert "4 of 8 cells done, 4 failed" in result.output
        assert "ValueError: seed one is cursed" in result.output
        assert run(tmp_path).exit_code == 1  # without being asked for, failed cells are left alone
    first = cells(tmp_path)
    assert (first["status"] == "error").sum() == 4
    assert "1       0        2" not in run(tmp_path, "--dry-run").output
    result = run(tmp_path, "--retry-failed")
    assert "4 cells to run, 4 at hand" in result.output
    assert result.exit_code == 0
    second = cells(tmp_path)
    assert len(second) == 8
    assert set(second["status"]) == {"ok"}
    good = first[first["status"] == "ok"]
    pd.testing.assert_series_equal(second.loc[good.index, "run_id"], good["run_id"])


def test_a_fit_that_explodes_is_a_diverged_row(tmp_path: Path) -> None:
    result = run(tmp_path, "--set", "learning_rate=1e38", "--set", "schedule=constant")
    assert result.exit_code == 1
    frame = cells(tmp_path)
    assert set(frame["status"]) == {"diverged"}
    assert frame["error"].str.startswith("the loss is not finite at step").all()
    assert frame["test_mse"].isna().all()


def test_results_do_not_depend_on_packing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    monkeypatch.setattr("dvq_ray.sweep.cells.PACKS_PER_SLOT", 1)
    run(other)
    metrics = ["test_mse", "train_mse", "untrained_test_mse", "data_variance", "perplexity", "last_relative_change"]
    pd.testing.assert_frame_equal(cells(other)[metrics], cells(tmp_path)[metrics], check_exact=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["absent.yaml"], "absent.yaml: cannot be read"),
        ([], "Missing argument 'SPEC'"),
        (["FILE", "--set", "steps"], "--set steps: allowed: KEY=VALUE"),
        (["FILE", "--sett", "steps=1"], "No such option"),
        (["FILE", "--in-process", "--address", "auto"], "excludes --address and --max-concurrent"),
        (["FILE", "--results", "nowhere://x"], "nowhere"),
        (["FILE", "extra"], "unexpected extra argument"),
    ],
)
def test_wrong_arguments_are_told_with_exit_code_2(tmp_path: Path, arguments: list[str], message: str) -> None:
    path = write(tmp_path)
    result = CliRunner().invoke(sweep, [str(path) if part == "FILE" else part for part in arguments])
    assert result.exit_code == 2
    assert message in result.output


def test_a_wrong_file_starts_and_writes_nothing(tmp_path: Path) -> None:
    result = run(tmp_path, text=TINY.replace("dimension: [2, 4]", "dimension: [2, -4]"))
    assert result.exit_code == 2
    assert "grids.plain.dimension[1]: found -4" in result.output
    assert not (tmp_path / "results").exists()


def test_a_gpu_that_is_not_there_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    result = run(tmp_path, "--set", "resources.gpu=1")
    assert result.exit_code == 2
    assert "finds no GPU" in result.output


def test_a_store_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("a file where the folder should be")
    result = run(tmp_path)
    assert result.exit_code == 2
    assert "results is a file, and should be a folder" in result.output


LEARNED = """\
name: tiny
trainable: learned_prior
seeds: 2
fixed: {image_size: 8, dimension: 4, codebook_size: 4, stem_channels: 4, body_channels: 4, residual_channels: 4,
        logistic_mixtures: 1, downsamplings: 1, batch_size: 2, steps: 3, dataset: mine}
data: {mine: {format: folder, train: FOLDER/train, test: FOLDER/test}}
grids: {plain: {quantizer: vq}, slices: {quantizer: dvq, slices: 2}}
"""


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    write_pictures(tmp_path)
    return tmp_path


def test_images_of_ones_own_are_trained_on_and_a_cell_runs_again_identically(pictures: Path) -> None:
    result = run(pictures, text=LEARNED.replace("FOLDER", str(pictures)))
    assert result.exit_code == 0, result.output
    frame = cells(pictures)
    assert set(frame["status"]) == {"ok"}
    assert set(frame["train_images"]) == {3}
    store = pictures / "results" / "tiny"
    assert all((store / "artifacts" / cell_id / "reconstructions.png").exists() for cell_id in frame.index)
    again = CliRunner().invoke(rerun, [str(store), frame.index[0]])
    assert again.exit_code == 0, again.output
    assert "identical" in again.output


@pytest.mark.parametrize("arguments", [(), ("--dry-run",)])
def test_images_that_are_not_there_are_told_before_anything_starts(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    result = run(tmp_path, *arguments, text=LEARNED.replace("FOLDER", str(tmp_path)))
    assert f"mine: {tmp_path}/train" in result.output
    assert result.exit_code == 2
    assert not (tmp_path / "results").exists()


def test_an_image_that_cannot_be_read_is_the_error_of_the_cells_that_wanted_it(pictures: Path) -> None:
    image = pictures / "train" / "2.png"
    image.write_bytes(image.read_bytes()[:100])  # its header is whole, and passes the look at all of them
    result = run(pictures, text=LEARNED.replace("FOLDER", str(pictures)))
    assert result.exit_code == 1
    frame = cells(pictures)
    assert set(frame["status"]) == {"error"}
    assert frame["error"].str.contains("2.png").all()
