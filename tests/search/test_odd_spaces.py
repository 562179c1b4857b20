"""Legal sweep files that are easily got wrong, and searches that are written in another way."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from dvq_ray.experiment.experiment import Outcome
from dvq_ray.search.drawing import Drawing
from dvq_ray.search.points import Points
from dvq_ray.sweep.search import Search
from dvq_ray.sweep.spec import load_sweep
from tests.search import curves
from tests.search.test_rules import HEAD, LEVELS, OTHER, QUANTIZER, contest, grid, run, search, store, study
from tests.sweep_files import write

SAMPLERS = ["tpe", "gp", "random", "nsga2", "nsga3"]


@pytest.fixture(autouse=True)
def quiet_optuna() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)


def test_choices_in_another_order_continue_the_search(tmp_path: Path) -> None:
    run(tmp_path, search(suggestions=3))
    run(tmp_path, search(suggestions=2, objective="{extra: minimize}"))  # another study in the journal
    result = run(tmp_path, search(suggestions=5, levels=LEVELS[::-1]))
    assert "warning" not in result.output
    assert "2 suggestions to come, 3 at hand" in result.output
    assert len(study(tmp_path, 1).trials) == 2


def test_numbers_that_are_written_differently_are_the_same_search(tmp_path: Path) -> None:
    run(tmp_path, search(suggestions=3, space="{level: {low: 1.0, high: 8.0, step: 1.0}}"))
    result = run(tmp_path, search(suggestions=3, space="{level: {low: 1, high: 8, step: 1}}"))
    assert "to come" not in result.output


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_rare_points_are_found(sampler: str, tmp_path: Path) -> None:
    """One in fifteen thousand combinations takes at most 8 bits."""
    text = (
        "name: found\ntrainable: static_prior\nseeds: 1\n"
        "fixed: {quantizer: kmeans, dimension: 64, factors: 4, train_samples: 70000}\n"
        f"search: {{objective: {{test_mse: minimize}}, sampler: {sampler}, suggestions: 4, max_bits: 8,\n"
        "         space: {slices: {low: 1, high: 64}, codebook_size: {low: 2, high: 65536}}}\n"
    )
    drawing, found = _drawing(text, tmp_path)
    points = [drawing.draw(number, {}) for number in range(4) if _told(drawing, number - 1)]
    assert None not in points
    assert len({str(point) for point in points}) == 4
    assert all(found.settings(point).code_bits() <= 8 for point in points if point)


def _drawing(text: str, folder: Path) -> tuple[Drawing, Search]:
    found = load_sweep(write(folder, text)).search
    assert found is not None
    return Drawing(found, Points(found)), found


def _told(drawing: Drawing, number: int) -> bool:
    if number >= 0:
        drawing.told(number, TrialState.COMPLETE, [float(number)], {})
    return True


def test_a_search_that_finds_no_possible_point_is_not_done(tmp_path: Path) -> None:
    text = (
        "name: found\ntrainable: static_prior\nseeds: 1\nfixed: {quantizer: dvq, dimension: 62, factors: 4}\n"
        "search: {objective: {test_mse: minimize}, sampler: random, suggestions: 2, max_bits: 1.0,\n"
        "         space: {slices: {low: 2, high: 62}, codebook_size: {low: 3, high: 65536}}}\n"
    )
    result = run(tmp_path, text)
    assert result.exit_code == 1
    assert "no further point was found" in result.output


def test_learned_points_are_no_suggestions_by_which_a_regret_is_bounded(tmp_path: Path) -> None:
    levels = [1 + i / 20 for i in range(24)]
    run(tmp_path, grid(levels))
    text = search(levels=levels, suggestions=3, sampler="tpe", stop_when="{regret_below: 50.0}")
    assert "3 complete, of 3 wanted" in run(tmp_path, text).output


@pytest.mark.parametrize("sampler", ["tpe", "gp"])
def test_a_start_may_leave_the_quantizer_open(sampler: str, tmp_path: Path) -> None:
    head = HEAD.replace(f'fixed: {{quantizer: "{QUANTIZER}"}}\n', "")
    names = f'{{choices: ["{QUANTIZER}", "{OTHER}"]}}'
    space = f"{{quantizer: {names}, level: {{choices: [1.0, 2.0]}}, width: {{choices: [1, 2, 3]}}}}"
    starts = f'[{{level: 2.0}}, {{quantizer: "{QUANTIZER}", level: 1.0, width: 3}}]'
    result = run(tmp_path, search(head=head, space=space, suggestions=3, sampler=sampler, start_from=starts))
    assert result.exit_code == 0, result.output
    first, second, _ = study(tmp_path).trials
    assert first.params["level"] == 2.0
    assert second.params == {"quantizer": QUANTIZER, "level": 1.0}


@pytest.mark.long
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_range_of_one_value_and_one_choice_are_drawn(sampler: str, tmp_path: Path) -> None:
    space = f"{{level: {{choices: {LEVELS}}}, spread: {{low: 0.5, high: 0.5}}, steps: {{choices: [16]}}}}"
    result = run(tmp_path, search(space=space, suggestions=9, sampler=sampler))
    assert result.exit_code == 0, result.output
    assert "9 complete" in result.output


@pytest.mark.long
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_search_of_several_quantizers_resumes_as_it_would_have_continued(sampler: str, tmp_path: Path) -> None:
    head = HEAD.replace(f'fixed: {{quantizer: "{QUANTIZER}"}}\n', "")
    names = f'{{choices: ["{QUANTIZER}", "{OTHER}"]}}'
    space = f"{{quantizer: {names}, level: {{low: 1.0, high: 9.0}}, width: {{low: 1, high: 3000000}}}}"
    starts = f'[{{level: 2.0}}, {{quantizer: "{QUANTIZER}", level: 1.0}}]'
    for name, counts in (("whole", [14]), ("parts", [1, 3, 9, 12, 14])):
        (tmp_path / name).mkdir()
        for count in counts:
            text = search(head=head, space=space, suggestions=count, sampler=sampler, start_from=starts)
            assert run(tmp_path / name, text).exit_code == 0
    one, other = ([trial.params for trial in study(tmp_path / name).trials] for name in ("whole", "parts"))
    assert one == other


def test_suggestions_that_are_lowered_leave_the_store_done(tmp_path: Path) -> None:
    run(tmp_path, search(suggestions=6))
    result = run(tmp_path, search(suggestions=4))
    assert result.exit_code == 0
    assert "suggestions: 4" in (tmp_path / "results" / "found" / "sweep.yaml").read_text()


def test_a_contest_knows_the_points_of_which_a_repetition_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(curves, "Outcome", _failing(Outcome))
        result = run(tmp_path, contest(winner_clear=0.9))
    assert result.exit_code == 1
    assert "winner: clear at 90%: loss 1.5" in result.output or "level=1.5" in result.output
    assert "not in the contest: 1 of which a repetition failed" in result.output
    again = run(tmp_path, contest(winner_clear=0.9), "--retry-failed")
    assert again.exit_code == 0, again.output
    assert "12 complete, of 12 wanted" in again.output
    assert "level=1\n" in again.output.partition("winner: clear")[2]
    assert store(tmp_path).load()["status"].eq("ok").all()


def _failing(outcome: type) -> object:
    """Outcomes that fail for the best point, once it has been computed four times."""
    computed = [0]

    def made(**values: object) -> object:
        metrics = values["metrics"]
        assert isinstance(metrics, dict)
        if metrics["extra"] == -1.0:
            computed[0] += 1
            if computed[0] > 4:
                raise RuntimeError("no such luck")
        return outcome(**values)

    return made
