"""Sweeps from Python: the same cells, problems and results as the command line's."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner
from pandas.testing import assert_frame_equal

import dvq_ray
from dvq_ray import SweepError, SweepProgress, load_results, plan, run_sweep
from dvq_ray.cli.sweep import main
from dvq_ray.sweep.yaml_writer import write_yaml
from tests.sweep_files import NOT_A_RESULT, write

TINY: dict[str, Any] = {
    "name": "tiny",
    "trainable": "static_prior",
    "seeds": 2,
    "fixed": {"dimension": 4, "factors": 8, "train_samples": 64, "steps": 20, "codebook_size": 4},
    "grids": {"vq": {"quantizer": "vq"}, "dvq": {"quantizer": "dvq", "slices": [2, 4]}},
}
SEARCH: dict[str, Any] = {
    "name": "searched",
    "trainable": "static_prior",
    "seeds": 1,
    "fixed": TINY["fixed"],
    "search": {"objective": {"test_mse": "minimize"}, "suggestions": 3, "space": {"slices": {"choices": [1, 2, 4]}}},
}


def results(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.drop(columns=[*NOT_A_RESULT, "store"], errors="ignore")


def test_every_public_name_is_there() -> None:
    assert {name for name in dvq_ray.__all__ if getattr(dvq_ray, name) is None} == set()
    assert {*dvq_ray.__all__} <= {*dir(dvq_ray)}
    with pytest.raises(AttributeError, match="no attribute 'other'"):
        _ = dvq_ray.other


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = "import dvq_ray, sys; print(*{'torch', 'pandas', 'ray', 'pyarrow', 'optuna'} & {*sys.modules})"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "\n"


def test_a_dict_gives_the_cells_and_numbers_of_the_same_file(tmp_path: Path) -> None:
    ours = run_sweep(TINY, results=tmp_path / "ours", in_process=True)
    file = write(tmp_path, write_yaml(TINY))
    result = CliRunner().invoke(main, [str(file), "--results", str(tmp_path / "theirs"), "--in-process"])
    assert result.exit_code == 0, result.output
    theirs = load_results(tmp_path / "theirs" / "tiny")
    assert_frame_equal(results(ours), results(theirs), check_exact=True)
    assert str(ours["codebook_size"].dtype) == "Int64"
    again = run_sweep(file, results=tmp_path / "theirs", in_process=True)  # nothing is left to run
    assert_frame_equal(again, theirs, check_exact=True)


def test_a_plan_says_what_would_run_and_writes_nothing(tmp_path: Path) -> None:
    before = plan(TINY, results=tmp_path)
    assert (before.cells, before.done, before.failed, before.missing) == (6, 0, 0, 6)
    assert not [*tmp_path.iterdir()]
    assert before.expected_seconds is not None
    assert before.expected_seconds > 0
    frame = run_sweep(TINY, results=tmp_path, in_process=True)
    assert sorted(before.to_run["cell_id"]) == sorted(frame["cell_id"])
    after = plan(TINY, results=tmp_path)
    assert (after.done, len(after.to_run), after.expected_seconds) == (6, 0, 0.0)


def test_all_problems_are_raised_at_once_and_nothing_is_written(tmp_path: Path) -> None:
    wrong = {**TINY, "seeds": 0, "grids": {"vq": {"quantizer": "vqq"}, "b": {"quantizer": "vq", "sices": 2}}}
    for call in (lambda: plan(wrong, results=tmp_path), lambda: run_sweep(wrong, results=tmp_path, in_process=True)):
        with pytest.raises(SweepError) as error:
            call()
        text = str(error.value)
        assert "seeds" in text
        assert "did you mean vq?" in text
        assert "did you mean slices?" in text or "sices" in text
        assert "nothing was started and nothing written" in text
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("sweep", ["nowhere.yaml", Path("nowhere.yaml"), {}])
def test_a_sweep_that_is_not_there_is_an_error_of_its_own(sweep: Any, tmp_path: Path) -> None:
    with pytest.raises(SweepError):
        run_sweep(sweep, results=tmp_path, in_process=True)


def test_progress_is_reported_up_to_the_end(tmp_path: Path) -> None:
    seen: list[SweepProgress] = []
    frame = run_sweep(TINY, results=tmp_path, in_process=True, progress=seen.append)
    last = seen[-1]
    assert (last.done, last.failed, last.total, last.running) == (6, 0, 6, 0)
    assert last.best == frame["test_mse"].min()
    assert last.best_cell_id == frame.sort_values("test_mse")["cell_id"].iloc[0]
    assert [each.done for each in seen] == sorted(each.done for each in seen)


def test_a_callback_that_raises_ends_the_sweep_and_loses_no_row(tmp_path: Path) -> None:
    def stop(progress: SweepProgress) -> None:
        if progress.done >= 2:
            raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        run_sweep(TINY, results=tmp_path, in_process=True, progress=stop)
    assert 2 <= plan(TINY, results=tmp_path).done < 6
    assert len(run_sweep(TINY, results=tmp_path, in_process=True)) == 6


def test_a_sweep_runs_in_a_thread(tmp_path: Path) -> None:
    frames: list[pd.DataFrame] = []
    thread = threading.Thread(target=lambda: frames.append(run_sweep(TINY, results=tmp_path, in_process=True)))
    thread.start()
    thread.join(120)
    assert [len(frame) for frame in frames] == [6]


def test_a_search_runs_and_has_no_plan(tmp_path: Path) -> None:
    frame = run_sweep(SEARCH, results=tmp_path, in_process=True)
    assert set(frame["status"]) == {"ok"}
    assert frame["search_suggestion"].notna().all()
    with pytest.raises(ValueError, match="searched is a search"):
        plan(SEARCH, results=tmp_path)


def test_a_budget_that_is_spent_returns_what_there_is(tmp_path: Path) -> None:
    frame = run_sweep(TINY, results=tmp_path, in_process=True)
    spent = run_sweep({**TINY, "seeds": 4000}, results=tmp_path, in_process=True, time_budget=0.05)
    assert len(frame) <= len(spent) < 3 * 4000


def test_options_that_exclude_each_other_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="in_process excludes"):
        run_sweep(TINY, results=tmp_path, in_process=True, max_concurrent=2)


@pytest.mark.ray
def test_a_sweep_under_ray_from_a_thread_gives_the_same_numbers(tmp_path: Path) -> None:
    code = f"""
import threading, dvq_ray
frames = []
sweep = {TINY!r}
thread = threading.Thread(target=lambda: frames.append(dvq_ray.run_sweep(sweep, results={str(tmp_path / "ray")!r})))
thread.start(); thread.join()
print(len(frames[0]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=240, check=False)
    assert done.stdout.strip() == "6", done.stderr
    ours = run_sweep(TINY, results=tmp_path / "here", in_process=True)
    assert_frame_equal(results(load_results(tmp_path / "ray" / "tiny")), results(ours), check_exact=True)
