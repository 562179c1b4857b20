"""What a search does with points that were stopped, repeated, learned, or that other searches left."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest
from click.testing import CliRunner, Result
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from dvq_ray.cli.status import main as status
from dvq_ray.cli.sweep import main as sweep
from dvq_ray.store import Store
from tests.search import curves
from tests.sweep_files import write

QUANTIZER = "dvq_ray.testing.executor:Nothing"
OTHER = "tests.search.curves:Other"
LEVELS = [float(level) for level in range(1, 13)]
HEAD = f"""\
name: found
trainable: tests.search.curves:CURVES
seeds: 2
fixed: {{quantizer: "{QUANTIZER}"}}
"""
ASHA = "{scheduler: asha, grace_steps: 1, reduction: 2}"


@pytest.fixture(autouse=True)
def quiet_optuna() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)


def search(*, levels: Sequence[float] = LEVELS, head: str = HEAD, **keys: Any) -> str:
    found = {
        "objective": "{loss: minimize}",
        "sampler": "random",
        "suggestions": len(levels),
        "space": f"{{level: {{choices: {[*levels]}}}}}",
    } | keys
    return head + "search:\n" + "".join(f"  {key}: {value}\n" for key, value in found.items())


def grid(levels: Sequence[float] = LEVELS, seeds: int = 2) -> str:
    return HEAD.replace("seeds: 2", f"seeds: {seeds}") + f"grids: {{all: {{level: {[*levels]}}}}}\n"


def run(folder: Path, text: str, *arguments: str) -> Result:
    command = [str(write(folder, text)), "--results", str(folder / "results"), "--in-process"]
    return CliRunner().invoke(sweep, [*command, *arguments])


def store(folder: Path) -> Store:
    return Store(folder / "results" / "found")


def study(folder: Path, place: int = 0) -> optuna.Study:
    """As Optuna's own tools read it."""
    storage = JournalStorage(JournalFileBackend(str(folder / "results" / "found" / "search" / "journal.log")))
    return optuna.load_study(study_name=optuna.get_all_study_names(storage)[place], storage=storage)


def states(folder: Path, place: int = 0) -> list[TrialState]:
    return [trial.state for trial in study(folder, place).trials]


# Early stopping


@pytest.mark.long
@pytest.mark.parametrize(
    "rule",
    [
        ASHA,
        "{scheduler: hyperband, grace_steps: 1, reduction: 2}",
        "{scheduler: median, grace_steps: 1, startup: 2}",
        "{scheduler: percentile, grace_steps: 1, startup: 2, percentile: 50}",
    ],
)
def test_a_rule_stops_what_is_worse_and_keeps_what_it_logged(rule: str, tmp_path: Path) -> None:
    result = run(tmp_path, search(stop_early=rule))
    assert result.exit_code == 0, result.output
    found, rows = study(tmp_path).trials, store(tmp_path).load()
    stopped = [trial for trial in found if trial.state is TrialState.PRUNED]
    complete = [trial for trial in found if trial.state is TrialState.COMPLETE]
    assert stopped
    assert min(found, key=lambda trial: float(trial.params["level"])) in complete
    assert all(trial.intermediate_values for trial in found)
    assert {*rows.loc[rows["status"] == "stopped", "level"]} == {trial.params["level"] for trial in stopped}
    assert rows.loc[rows["status"] == "stopped", "loss"].isna().all()
    # Nothing is stopped at its last step, where all that is left is to measure it.
    assert (rows["search_stopped_at_step"].dropna() < curves.LAST).all()
    for trial in stopped:
        (row,) = rows[rows["level"] == trial.params["level"]].to_dict("records")
        assert row["search_stopped_at_step"] == max(trial.intermediate_values)
        assert row["search_study"] == study(tmp_path).study_name
    # Those that came through have all of their repetitions.
    assert (rows[rows["status"] == "ok"].groupby("level").size() == 2).all()


def test_the_same_file_again_leaves_what_was_stopped_alone(tmp_path: Path) -> None:
    run(tmp_path, search(stop_early=ASHA))
    before = store(tmp_path).load()
    assert "to come" not in run(tmp_path, search(stop_early=ASHA)).output
    pd.testing.assert_frame_equal(store(tmp_path).load(), before)
    assert CliRunner().invoke(status, [store(tmp_path).location]).exit_code == 0


def test_a_search_that_stops_nothing_computes_what_another_one_stopped(tmp_path: Path) -> None:
    run(tmp_path, search(stop_early=ASHA))
    assert "stopped" in store(tmp_path).statuses().values()
    result = run(tmp_path, search())
    assert "12 complete, of 12 wanted" in result.output
    assert "best: loss 1 (n = 2)" in result.output
    assert {*store(tmp_path).statuses().values()} == {"ok"}
    # The first one knows what it stopped, though the cells have metrics now.
    again = run(tmp_path, search(stop_early=ASHA))
    assert "warning" not in again.output
    assert "stopped early, of 12 wanted" in again.output


def test_a_grid_computes_what_a_search_stopped(tmp_path: Path) -> None:
    run(tmp_path, search(stop_early=ASHA))
    stopped = sum(state == "stopped" for state in store(tmp_path).statuses().values())
    dry = run(tmp_path, grid(seeds=1), "--dry-run")
    assert re.search(rf"all\s+{12 - stopped}\s+0\s+{stopped}$", dry.output, re.MULTILINE), dry.output
    assert CliRunner().invoke(status, [store(tmp_path).location]).exit_code == 0  # of the search still
    result = run(tmp_path, grid(seeds=1))
    assert result.exit_code == 0, result.output
    rows = store(tmp_path).load()
    assert (rows["status"] == "ok").all()
    assert rows["loss"].notna().all()


def test_a_row_of_an_earlier_version_that_was_stopped_is_no_answer_to_a_search_that_stops_nothing(
    tmp_path: Path,
) -> None:
    run(tmp_path, search(stop_early=ASHA))
    folder = tmp_path / "results" / "found"
    for file in (folder / "cells").glob("*.parquet"):
        pd.read_parquet(file).drop(columns="search_study").to_parquet(file)
    (folder / "search" / "journal.log").unlink()
    assert "12 complete, of 12 wanted" in run(tmp_path, search()).output


# What Optuna's own tools find


def test_a_study_has_names_of_metrics_cells_and_samplers(tmp_path: Path) -> None:
    run(tmp_path, search(objective="{loss: minimize, extra: minimize}", sampler="nsga2"))
    found = study(tmp_path)
    assert found.metric_names == ["loss", "extra"]
    ids = [*store(tmp_path).statuses()]
    assert sorted(cell for trial in found.trials for cell in trial.user_attrs["cell_ids"]) == sorted(ids)
    assert {trial.user_attrs["sampler"] for trial in found.trials} == {"nsga2"}
    assert len(found.best_trials) == len(LEVELS)  # the objectives are opposed to each other


def test_the_best_trial_of_optuna_is_the_best_point(tmp_path: Path) -> None:
    result = run(tmp_path, search())
    best = study(tmp_path).best_trial
    assert best.params == {"level": 1.0}
    assert f"best: loss {best.value:.4g} (n = 2) at level=1" in result.output


def test_a_change_of_the_sampler_is_recorded(tmp_path: Path) -> None:
    run(tmp_path, search(suggestions=4))
    result = run(tmp_path, search(suggestions=7, sampler="{name: tpe, n_startup_trials: 2}"))
    assert "drawn: 4 by random, 3 by tpe" in result.output
    drawn = [trial.user_attrs["sampler"] for trial in study(tmp_path).trials]
    assert drawn == ["random"] * 4 + ["tpe"] * 3


# Several quantizers


@pytest.mark.long
def test_a_point_has_the_fields_of_its_quantizer_alone(tmp_path: Path) -> None:
    names = f'{{choices: ["{QUANTIZER}", "{OTHER}"]}}'
    space = f"{{quantizer: {names}, level: {{choices: [1.0, 2.0]}}, width: {{choices: [1, 2, 3]}}}}"
    head = HEAD.replace(f'fixed: {{quantizer: "{QUANTIZER}"}}\n', "")
    for sampler in ("tpe", "gp", "nsga2", "random"):
        folder = tmp_path / sampler
        folder.mkdir()
        result = run(folder, search(head=head, space=space, suggestions=20, sampler=sampler))
        assert result.exit_code == 0, result.output
        assert "no point is left to suggest: the space holds no more than 8" in result.output
        found = [{**trial.params} for trial in study(folder).trials]
        assert sorted("width" in params for params in found) == [False] * 2 + [True] * 6
        assert all(("width" in params) == (params["quantizer"] == OTHER) for params in found)


# Changed files, other stores


def test_a_changed_space_says_what_differs_and_learns_from_what_is_there(tmp_path: Path) -> None:
    run(tmp_path, search(levels=LEVELS[:6]))
    wider = search(sampler="tpe", suggestions=3)
    for result in (run(tmp_path, wider, "--dry-run"), run(tmp_path, wider)):
        assert re.search(r"another search is in this store, found-\w{8}, of 6 suggestions", result.output)
        assert "space.level" in result.output
    assert "learns from 6 points of this store" in result.output
    learned = study(tmp_path, 1).user_attrs["learned"]
    assert {(each["params"]["level"], each["values"][0]) for each in learned["points"]} == {
        (level, level) for level in LEVELS[:6]
    }
    assert "learns" in run(tmp_path, search(sampler="tpe", suggestions=5)).output


def test_a_default_that_is_written_out_is_the_same_search(tmp_path: Path) -> None:
    run(tmp_path, search(suggestions=3))
    spelled = search(suggestions=3, head=HEAD.replace(f'"{QUANTIZER}"', f'"{QUANTIZER}", spread: 0.0'))
    assert "to come" not in run(tmp_path, spelled).output
    backwards = search(suggestions=3, levels=LEVELS[::-1])
    assert "to come" not in run(tmp_path, backwards).output


def test_a_search_learns_from_another_store(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    run(tmp_path / "one", grid())
    other = store(tmp_path / "one").location
    text = search(sampler="tpe", suggestions=2, learn_from=f'["{other}"]')
    result = run(tmp_path / "two", text)
    assert f"learns from 12 points of {other}" in result.output
    # It knows which level is best, and asks for it first; its own store has no cell of it yet.
    assert study(tmp_path / "two").trials[0].params == {"level": 1.0}
    assert len(store(tmp_path / "two").statuses()) == 4


def test_a_store_to_learn_from_that_is_not_there_is_reported_before_anything_starts(tmp_path: Path) -> None:
    result = run(tmp_path, search(learn_from='["nowhere/at/all"]'))
    assert result.exit_code == 2
    assert "learn_from: nowhere/at/all cannot be read: there is no store" in result.output
    assert not (tmp_path / "results").exists()


def test_a_sampler_that_is_not_installed_is_reported_before_anything_starts(tmp_path: Path) -> None:
    result = run(tmp_path, search(sampler='"optunahub:samplers/nonesuch"'))
    assert result.exit_code == 2
    assert 'sampler "optunahub:samplers/nonesuch"' in result.output
    assert not (tmp_path / "results").exists()


def test_a_sampler_of_optunahub_is_used_where_it_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys
    import types

    class Hubbed(optuna.samplers.RandomSampler):
        """A sampler of a package."""

        def __init__(self, favourite: float, seed: int) -> None:
            super().__init__(seed=seed)

    hub, package = types.ModuleType("optunahub"), types.ModuleType("hubbed")
    Hubbed.__module__ = "hubbed"
    package.__dict__["Hubbed"] = Hubbed
    hub.__dict__["load_module"] = lambda path: package
    monkeypatch.setitem(sys.modules, "optunahub", hub)
    text = search(sampler="{name: 'optunahub:samplers/hubbed', favourite: 2.0}", suggestions=3)
    result = run(tmp_path, text)
    assert result.exit_code == 0, result.output
    assert study(tmp_path).trials[0].user_attrs["sampler"] == "optunahub:samplers/hubbed"


# The best point


def contest(**changes: Any) -> str:
    """Two good points that noise hardly tells apart, and ten that are clearly worse."""
    levels = [1.0, 1.5, *[float(10 + i) for i in range(10)]]
    rule = "{" + ", ".join(f"{key}: {value}" for key, value in changes.items()) + "}"
    head = HEAD.replace("seeds: 2", "seeds: 4").replace(f'"{QUANTIZER}"', f'"{QUANTIZER}", spread: 0.3')
    return search(levels=levels, head=head, stop_when=rule)


def test_contenders_get_repetitions_until_the_winner_is_clear(tmp_path: Path) -> None:
    result = run(tmp_path, contest(winner_clear=0.9))
    assert result.exit_code == 0, result.output
    assert "winner: clear at 90%" in result.output
    rows = store(tmp_path).load()
    counts = rows.groupby("level").size()
    assert counts[1.0] == counts[1.5] > 4  # as many of both: they are compared seed by seed
    assert counts[counts.index >= 10].max() < counts[1.0]
    assert "12 complete, of 12 wanted" in result.output  # repeats are not counted
    before = store(tmp_path).load()
    again = run(tmp_path, contest(winner_clear=0.9))
    assert "winner: clear at 90%" in again.output
    pd.testing.assert_frame_equal(store(tmp_path).load(), before)


def test_a_contest_ends_with_the_seeds_that_are_allowed(tmp_path: Path) -> None:
    result = run(tmp_path, contest(winner_clear=0.999999, most_seeds=8))
    assert result.exit_code == 0
    assert "winner: not clear at 100%" in result.output
    assert re.search(r"other points? may be better after 8 repetitions", result.output)
    assert store(tmp_path).load().groupby("level").size().max() == 8


def test_a_point_within_the_margin_does_not_count(tmp_path: Path) -> None:
    result = run(tmp_path, contest(winner_clear=0.9, margin=0.9))
    assert "winner: clear at 90%" in result.output
    assert (store(tmp_path).load().groupby("level").size() <= 8).all()


@pytest.mark.long
def test_a_small_regret_ends_a_search(tmp_path: Path) -> None:
    levels = [i / 50 for i in range(100)]
    space = "{level: {low: 0.0, high: 2.0}}"
    text = search(levels=levels, space=space, suggestions=60, sampler="gp", stop_when="{regret_below: 0.5}")
    result = run(tmp_path, text)
    assert result.exit_code == 0, result.output
    assert re.search(r"regret: at most \S+, with high probability \(ends the search\)", result.output)
    count = len(study(tmp_path).trials)
    assert 20 <= count < 60
    assert "no point is left" not in result.output
    again = run(tmp_path, text)
    assert again.exit_code == 0
    assert len(study(tmp_path).trials) == count


# Failures


def test_a_search_whose_failures_were_all_tried_again_with_success_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(**_: object) -> Any:
        raise RuntimeError("no such luck")

    with monkeypatch.context() as patch:
        patch.setattr(curves, "Underway", fails)
        assert run(tmp_path, search(suggestions=3)).exit_code == 1
    result = run(tmp_path, search(suggestions=3), "--retry-failed")
    assert result.exit_code == 0, result.output
    assert "3 complete, of 3 wanted" in result.output
    assert "retry" not in result.output
    again = run(tmp_path, search(suggestions=3))
    assert again.exit_code == 0
    assert CliRunner().invoke(status, [store(tmp_path).location]).exit_code == 0


def test_every_draw_is_new_and_possible_and_made_by_the_sampler(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The shipped space, of which 42% of the combinations are impossible."""
    from dvq_ray.search.drawing import Drawing
    from dvq_ray.search.points import Points
    from dvq_ray.sweep.spec import load_sweep

    spec = load_sweep(Path("sweeps/search_static_slices.yaml"))
    assert spec.search is not None
    replaced = list[Any]()
    instead = Drawing._instead

    def counted(*some: Any) -> Any:
        replaced.append(some)
        return instead(*some)

    monkeypatch.setattr(Drawing, "_instead", counted)
    seen = set[str]()
    drawing, points = Drawing(spec.search, Points(spec.search)), Points(spec.search)
    rng = np.random.default_rng(0)
    for number in range(60):
        params = drawing.draw(number, {})
        assert params is not None
        point_id = points.id_of(params)
        assert point_id is not None
        assert point_id not in seen
        seen.add(point_id)
        value = np.log2(params["codebook_size"]) * params["slices"] + rng.normal()
        drawing.told(number, TrialState.COMPLETE, [-value], {})
    assert not replaced
