"""Searches as a user meets them, in this process."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from dvq_ray.cli.sweep import main as sweep
from dvq_ray.fitting import fit as fitting
from dvq_ray.search.sampling import Held
from dvq_ray.search.suggestions import Suggestions
from dvq_ray.store import Store
from dvq_ray.sweep.spec import load_sweep
from tests.sweep_files import write

TEXT = """\
name: found
trainable: static_prior
seeds: 2
fixed: {dimension: 8, factors: 16, train_samples: 256, steps: 20}
search:
  objective: {test_mse: minimize}
  sampler: random
  suggestions: 8
  max_bits: 10
  space:
    slices: {choices: [1, 2, 3, 4]}
    codebook_size: {choices: [4, 8, 16]}
"""
"""12 combinations, of which 7 can be: slices of 1 and 2 with all sizes, and 4 with the smallest."""


def run(folder: Path, *arguments: str, text: str = TEXT) -> Result:
    path = write(folder, text)
    return CliRunner().invoke(sweep, [str(path), "--results", str(folder / "results"), "--in-process", *arguments])


def cells(folder: Path) -> pd.DataFrame:
    return Store(folder / "results" / "found").load()


def trials(folder: Path) -> list[FrozenTrial]:
    storage = JournalStorage(JournalFileBackend(str(folder / "results" / "found" / "search" / "journal.log")))
    names = optuna.get_all_study_names(storage)
    assert len(names) == 1
    return optuna.load_study(study_name=names[0], storage=storage).get_trials()


def text(**changes: Any) -> str:
    found = TEXT
    for key, value in changes.items():
        line = next(line for line in TEXT.splitlines() if line.strip().startswith(f"{key}:"))
        found = found.replace(line, f"{line.partition(key)[0]}{key}: {value}")
    return found


@pytest.fixture(autouse=True)
def quiet_optuna() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)


def test_a_search_ends_with_as_many_suggestions_as_are_wanted_and_their_cells(tmp_path: Path) -> None:
    result = run(tmp_path, text=text(suggestions=5))
    assert result.exit_code == 0, result.output
    assert "5 complete, of 5 wanted" in result.output
    assert "next:    python -m analysis" in result.output
    rows = cells(tmp_path)
    assert len(rows) == 10
    assert rows.groupby("search_suggestion")["seed"].apply(sorted).tolist() == [[0, 1]] * 5
    assert (rows["search_objective"] == rows["test_mse"]).all()
    told = {trial.number: trial.value for trial in trials(tmp_path)}
    assert told == pytest.approx(rows.groupby("search_suggestion")["test_mse"].mean().to_dict())
    assert rows["point_id"].nunique() == 5


def test_what_cannot_be_is_never_suggested(tmp_path: Path) -> None:
    run(tmp_path, text=text(suggestions=7))
    found = {(trial.params["slices"], trial.params["codebook_size"]) for trial in trials(tmp_path)}
    assert found == {(1, 4), (1, 8), (1, 16), (2, 4), (2, 8), (2, 16), (4, 4)}


SAMPLERS = ["tpe", "gp", "random", "nsga2", "nsga3"]


@pytest.mark.long
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_point_is_suggested_once_and_a_search_ends_with_its_space(sampler: str, tmp_path: Path) -> None:
    result = run(tmp_path, text=text(suggestions=10, sampler=sampler))
    assert result.exit_code == 0, result.output
    assert "no point is left to suggest: the space holds no more than 7" in result.output
    found = {(trial.params["slices"], trial.params["codebook_size"]) for trial in trials(tmp_path)}
    assert found == {(1, 4), (1, 8), (1, 16), (2, 4), (2, 8), (2, 16), (4, 4)}
    assert len(trials(tmp_path)) == 7
    assert cells(tmp_path).groupby("point_id")["seed"].apply(sorted).tolist() == [[0, 1]] * 7


def test_points_that_the_store_holds_cost_nothing(tmp_path: Path) -> None:
    grid = TEXT.partition("search:")[0].replace("fixed: {", "fixed: {quantizer: dvq, ")
    run(tmp_path, text=f"{grid}grids: {{a: {{slices: [1, 2, 4], codebook_size: [4, 8, 16]}}}}\n")
    before = cells(tmp_path)
    result = run(tmp_path, text=text(suggestions=7))
    assert "7 complete" in result.output
    pd.testing.assert_frame_equal(cells(tmp_path)[before.columns], before)


def test_a_search_continues_in_a_store_of_a_grid_that_has_its_answers(tmp_path: Path) -> None:
    grid = TEXT.partition("search:")[0].replace("fixed: {", "fixed: {quantizer: dvq, ")
    run(tmp_path, text=f"{grid}grids: {{a: {{slices: [1, 2, 4], codebook_size: [4, 8, 16]}}}}\n")
    for wanted in (2, 4):  # rows of which none names a suggestion
        result = run(tmp_path, text=text(suggestions=wanted))
        assert f"{wanted} complete, of {wanted} wanted" in result.output
        assert "warning" not in result.output


def test_a_search_begins_in_a_store_that_has_no_value_of_its_objective(tmp_path: Path) -> None:
    run(tmp_path, text=text(suggestions=1))
    for file in (tmp_path / "results" / "found" / "cells").glob("*.parquet"):
        pq.write_table(pq.read_table(file).drop_columns(["rate_curve_mse"]), file)  # as of another trainable
    (tmp_path / "results" / "found" / "search" / "journal.log").unlink()
    other = text(suggestions=2, objective="{rate_curve_mse: minimize}").replace("steps: 20", "steps: 30")
    result = run(tmp_path, text=other)
    assert result.exit_code == 0, result.output
    assert "2 complete, of 2 wanted" in result.output
    assert "warning" not in run(tmp_path, text=other).output


def test_the_same_command_again_runs_nothing_and_more_suggestions_what_is_new(tmp_path: Path) -> None:
    run(tmp_path, text=text(suggestions=3))
    before = cells(tmp_path)
    assert "to come" not in run(tmp_path, text=text(suggestions=3)).output
    result = run(tmp_path, text=text(suggestions=5))
    assert "2 suggestions to come, 3 at hand" in result.output
    after = cells(tmp_path)
    assert len(after) == 10
    pd.testing.assert_frame_equal(after[after["cell_id"].isin(before["cell_id"])].reset_index(drop=True), before)


def test_start_points_come_first_and_are_completed_by_the_sampler(tmp_path: Path) -> None:
    run(tmp_path, text=text(suggestions=3) + "  start_from: [{slices: 4}, {slices: 1, codebook_size: 16}]\n")
    found = [trial.params for trial in trials(tmp_path)]
    assert found[0] == {"slices": 4, "codebook_size": 4}  # the only size that max_bits leaves
    assert found[1] == {"slices": 1, "codebook_size": 16}


def test_a_start_point_that_is_no_longer_in_the_file_is_not_run(tmp_path: Path) -> None:
    spec = load_sweep(write(tmp_path, text(suggestions=3)))
    assert spec.search is not None
    with Suggestions.held(spec.name, spec.search, Store(tmp_path / "results" / "found")) as earlier:
        earlier._study.enqueue_trial({"slices": 4, "codebook_size": 4})  # as earlier versions did
    result = run(tmp_path, text=text(suggestions=3))
    assert "3 complete" in result.output
    assert "warning" not in run(tmp_path, text=text(suggestions=4)).output
    assert [trial.state for trial in trials(tmp_path)] == [TrialState.WAITING, *[TrialState.COMPLETE] * 4]


def test_a_start_point_that_is_new_to_the_file_is_run_though_the_search_was_done(tmp_path: Path) -> None:
    run(tmp_path, text=text(suggestions=2) + "  start_from: [{slices: 2, codebook_size: 4}]\n")
    changed = text(suggestions=2) + "  start_from: [{slices: 2, codebook_size: 4}, {slices: 4}]\n"
    assert "to run: 1 suggestions" in run(tmp_path, "--dry-run", text=changed).output
    result = run(tmp_path, text=changed)
    assert "1 suggestions to come, 2 at hand" in result.output
    assert "3 complete, of 2 wanted" in result.output
    assert trials(tmp_path)[2].params == {"slices": 4, "codebook_size": 4}
    assert "to come" not in run(tmp_path, text=changed).output


def test_a_start_point_that_was_cut_off_while_it_was_drawn_is_suggested_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = text(suggestions=2) + "  start_from: [{slices: 4}]\n"
    with monkeypatch.context() as patch:

        def killed(*_: object) -> None:
            raise KeyboardInterrupt

        patch.setattr(Held, "sample_relative", killed)
        assert run(tmp_path, text=changed).exit_code != 0
    run(tmp_path, text=changed)
    first, second = trials(tmp_path)
    assert first.params == {"slices": 4, "codebook_size": 4}  # the only size that max_bits leaves
    assert [first.state, second.state] == [TrialState.COMPLETE] * 2


def test_a_failed_repetition_fails_its_suggestion_and_can_be_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fit(*arguments: Any, **more: Any) -> Any:
        raise RuntimeError("no such luck")

    with monkeypatch.context() as broken:
        broken.setattr(fitting, "fit_codebooks", fit)
        result = run(tmp_path, text=text(suggestions=2))
    assert result.exit_code == 1
    assert "2 failed, of 2 wanted" in result.output
    assert set(cells(tmp_path)["status"]) == {"error"}
    assert {trial.state for trial in trials(tmp_path)} == {TrialState.FAIL}
    assert run(tmp_path, text=text(suggestions=2)).exit_code == 1
    result = run(tmp_path, "--retry-failed", text=text(suggestions=2))
    assert "2 complete" in result.output
    rows = cells(tmp_path)
    assert set(rows["status"]) == {"ok"}
    assert len(rows) == 4


def test_a_space_whose_points_have_all_failed_ends_the_search_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fit(*arguments: Any, **more: Any) -> Any:
        raise RuntimeError("no such luck")

    monkeypatch.setattr(fitting, "fit_codebooks", fit)
    result = run(tmp_path, text=text(suggestions=9))
    assert result.exit_code == 1
    assert "7 failed, of 9 wanted" in result.output
    assert "no point is left to suggest" in result.output


def test_an_objective_without_a_number_fails_its_suggestion(tmp_path: Path) -> None:
    changed = text(suggestions=2, objective="{untrained_test_mse: minimize}")
    result = run(tmp_path, text=changed.replace("fixed: {", "fixed: {quantizer: kmeans, ").replace(", steps: 20", ""))
    assert result.exit_code == 1
    assert "2 failed" in result.output
    assert set(cells(tmp_path)["status"]) == {"ok"}


def test_two_objectives_give_a_front(tmp_path: Path) -> None:
    result = run(tmp_path, text=text(suggestions=7, objective="{test_mse: minimize, bits_per_vector: minimize}"))
    means = cells(tmp_path).groupby("point_id")[["test_mse", "bits_per_vector"]].mean().to_numpy()
    front = [p for p in means if not any((q <= p).all() and (q < p).any() for q in means)]
    assert result.output.count("  front: ") == len(front)


@pytest.mark.long
@pytest.mark.parametrize("sampler", ["tpe", "gp", "cmaes", "random", "nsga2", "nsga3"])
def test_every_sampler_works_and_continues_without_a_warning(sampler: str, tmp_path: Path) -> None:
    space = "{init_bound: {low: 0.1, high: 10.0, log: true}, learning_rate: {low: 0.01, high: 0.5}}"
    head = TEXT.partition("search:")[0].replace("fixed: {", "fixed: {slices: 2, codebook_size: 4, ")
    body = f"{head}search: {{objective: {{test_mse: minimize}}, sampler: {sampler}, suggestions: N, space: {space}}}\n"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert run(tmp_path, text=body.replace("N", "7")).exit_code == 0
        result = run(tmp_path, text=body.replace("N", "14"))
    assert result.exit_code == 0, result.output
    found = trials(tmp_path)
    assert len({tuple(trial.params.values()) for trial in found}) == len(found) == 14


def test_a_search_that_is_cut_off_resumes_as_it_would_have_continued(tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    (tmp_path / "parts").mkdir()
    run(tmp_path / "whole", text=text(suggestions=7, sampler="tpe"))
    for suggestions in (1, 3, 4, 7):
        run(tmp_path / "parts", text=text(suggestions=suggestions, sampler="tpe"))
    one, other = ([(trial.params, trial.value) for trial in trials(tmp_path / name)] for name in ("whole", "parts"))
    assert one == other


def test_one_search_at_a_time(tmp_path: Path) -> None:
    spec = load_sweep(write(tmp_path, TEXT))
    assert spec.search is not None
    with Suggestions.held(spec.name, spec.search, Store(tmp_path / "results" / "found")):
        result = run(tmp_path)
    assert result.exit_code == 2
    assert "another search runs on this store" in result.output


def test_a_dry_run_tells_the_space_and_what_is_stored_and_writes_nothing(tmp_path: Path) -> None:
    result = run(tmp_path, "--dry-run")
    assert "size: 12 combinations, of which 7 can be" in result.output
    assert "so far none" in result.output
    assert not (tmp_path / "results").exists()
    run(tmp_path, text=text(suggestions=3))
    assert "so far 3 complete" in run(tmp_path, "--dry-run").output


def test_what_is_searched_for_is_part_of_the_study_and_the_number_of_suggestions_is_not(tmp_path: Path) -> None:
    run(tmp_path, text=text(suggestions=3))
    result = run(tmp_path, text=text(suggestions=3, objective="{train_mse: minimize}"))
    assert "3 suggestions to come, 0 at hand" in result.output


def test_a_search_keeps_its_journal_in_a_folder(tmp_path: Path) -> None:
    path = write(tmp_path, TEXT)
    result = CliRunner().invoke(sweep, [str(path), "--results", f"file://{tmp_path}/results", "--in-process"])
    assert result.exit_code == 2
    assert "a search keeps its journal in a folder" in result.output


@pytest.mark.long
def test_killed_at_random_moments_it_ends_with_the_wanted_suggestions_and_no_cell_twice(tmp_path: Path) -> None:
    wanted = 25
    changed = text(suggestions=wanted, sampler="tpe") + "    init_bound: {low: 0.1, high: 10.0, log: true}\n"
    path = write(tmp_path, changed.replace("steps: 20", "steps: 2000"))
    results = str(tmp_path / "results")
    command = [sys.executable, "-m", "dvq_ray.sweep", str(path), "--results", results, "--in-process"]
    delays = random.Random(1)
    journal = tmp_path / "results" / "found" / "search" / "journal.log"
    for _ in range(3):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
        size = journal.stat().st_size if journal.exists() else 0
        while process.poll() is None and (not journal.exists() or journal.stat().st_size == size):
            time.sleep(0.01)  # until it has begun
        time.sleep(delays.uniform(0.0, 0.4))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = [trial for trial in trials(tmp_path) if len(trial.params) == 3]
    assert len(found) == wanted
    assert {trial.state for trial in found} == {TrialState.COMPLETE}
    parts = [pd.read_parquet(file) for file in (tmp_path / "results" / "found" / "cells").glob("*.parquet")]
    rows = pd.concat(parts)
    assert len(rows) == 2 * wanted
    assert not rows["cell_id"].duplicated().any()
    assert rows.groupby("search_suggestion")["test_mse"].mean().to_numpy() == pytest.approx(
        np.array([trial.value for trial in found])
    )
