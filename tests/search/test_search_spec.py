from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from dvq_ray.experiment.registry import find_experiment
from dvq_ray.problems import SweepFileError
from dvq_ray.sweep.search import Search
from dvq_ray.sweep.space import Choices, Range
from dvq_ray.sweep.spec import load_sweep
from tests.sweep_files import write

HEAD = "name: x\ntrainable: static_prior\nseeds: 2\nfixed: {dimension: 16, factors: 8}\n"
QUANTIZERS = ", ".join(find_experiment("static_prior").quantizers)
SPACE = "{slices: {choices: [1, 2]}, codebook_size: {choices: [4]}}"
GOOD = f"search: {{objective: {{test_mse: minimize}}, suggestions: 5, space: {SPACE}}}\n"


def search(text: str, folder: Path) -> Search:
    found = load_sweep(write(folder, text)).search
    assert found is not None
    return found


def problems(text: str, folder: Path) -> list[str]:
    path = write(folder, text)
    with pytest.raises(SweepFileError) as caught:
        load_sweep(path)
    return [str(problem).replace(str(path), "FILE") for problem in caught.value.problems]


def body(**changes: str) -> str:
    keys = {"objective": "{test_mse: minimize}", "suggestions": "5", "space": SPACE} | changes
    return HEAD + "search:\n" + "".join(f"  {key}: {value}\n" for key, value in keys.items())


def axis(text: str) -> str:
    return body(space="{slices: {choices: [1, 2]}, codebook_size: " + text + "}")


def bound(text: str, start: str = "") -> str:
    """A search over a field that takes floats."""
    space = SPACE.replace("{slices", "{init_bound: " + text + ", slices")
    return body(space=space, **({"start_from": f"[{{init_bound: {start}}}]"} if start else {}))


def test_a_right_file_resolves_space_seeds_and_defaults(tmp_path: Path) -> None:
    found = search(HEAD + GOOD, tmp_path)
    assert found.space.axes == {"slices": Choices(choices=(1, 2)), "codebook_size": Choices(choices=(4,))}
    assert (found.seeds, found.sampler, found.suggestions) == ((0, 1), "tpe", 5)
    assert found.settings({"slices": 2, "codebook_size": 4}).quantizer == "dvq"


def test_ranges_take_the_type_of_their_field(tmp_path: Path) -> None:
    space = "{slices: {low: 1, high: 8}, codebook_size: {low: 4, high: 64, log: true}, init_bound: {low: 1, high: 2}}"
    axes = search(body(space=space), tmp_path).space.axes
    whole = [isinstance(axis, Range) and axis.whole for axis in axes.values()]
    assert whole == [True, True, False]
    assert [axis.values() is None for axis in axes.values()] == [False, False, True]


def test_start_points_are_the_values_of_the_space_that_they_stand_for(tmp_path: Path) -> None:
    steps = "{low: 0.1, high: 1.0, step: 0.1}"
    for written, meant in (("0.3", 0.3), ("0.30000000000000004", 0.3), ("1", 1), ("1.0", 1.0)):
        assert search(bound(steps, written), tmp_path).start_from == ({"init_bound": meant},)
    found = search(bound("{low: 0.1, high: 1.0}", "0.30000000000000004"), tmp_path)
    assert found.start_from == ({"init_bound": 0.30000000000000004},)


@pytest.mark.parametrize(
    ("field", "axis", "size"),
    [
        ("train_samples", "{low: 512, high: 300000000, log: true}", 299_999_489),
        ("train_samples", "{low: 512, high: 9007199254740992}", 9_007_199_254_740_481),
        ("init_bound", "{low: 0.1, high: 10.0, step: 0.00000001}", 990_000_001),
        ("steps", "{low: 1, high: 1000000000000, step: 7}", 142_857_142_858),
    ],
)
def test_a_large_range_is_counted_and_not_listed(field: str, axis: str, size: int, tmp_path: Path) -> None:
    text = body(space="{" + field + ": " + axis + ", slices: {choices: [2]}, codebook_size: {choices: [4]}}")
    tracemalloc.start()
    try:
        assert search(text, tmp_path).space.size() == size
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


def test_a_large_dimension_that_slices_do_not_divide_is_rejected_at_once(tmp_path: Path) -> None:
    text = body(space="{slices: {choices: [7]}, codebook_size: {choices: [4]}}")
    text = text.replace("dimension: 16", "dimension: 299999989")
    assert any("does not divide dimension = 299999989" in each for each in problems(text, tmp_path))


def test_fields_that_a_quantizer_lacks_are_left_out_of_its_points(tmp_path: Path) -> None:
    space = "{quantizer: {choices: [vq, dvq]}, slices: {choices: [2]}, codebook_size: {choices: [4]}}"
    found = search(body(space=space), tmp_path)
    plain = found.settings({"quantizer": "vq", "slices": 2, "codebook_size": 4})
    assert "slices" not in plain.model_dump()


@pytest.mark.parametrize(
    ("params", "reason"),
    [
        ({"slices": 3, "codebook_size": 4}, "does not divide dimension = 16"),
        ({"slices": 8, "codebook_size": 16}, "codes take 32 bits; allowed: max_bits = 10"),
    ],
)
def test_an_impossible_combination_is_not_a_point_and_says_why(
    params: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    space = "{slices: {choices: [1, 3, 8]}, codebook_size: {choices: [4, 16]}}"
    found = search(body(space=space, max_bits="10"), tmp_path)
    assert not found.possible(params)
    with pytest.raises(ValueError, match=reason):
        found.settings(params)


# ruff: noqa: E501  (a case a line reads best)
WRONG = {
    "grids and search": (HEAD + GOOD + "grids: {a: {quantizer: vq, codebook_size: 4}}\n", "FILE:5: search: cannot be combined with grids; allowed: one of the two"),
    "neither": (HEAD, "FILE:1: grids is missing; allowed: grids, or search in their place"),
    "search is no mapping": (HEAD + "search: 3\n", "FILE:5: search: found 3"),
    "unknown key": (body(sugestions="3"), "search.sugestions: unknown key; did you mean suggestions?"),
    "no suggestions": (HEAD + f"search: {{objective: {{test_mse: minimize}}, space: {SPACE}}}\n", "search: suggestions is missing"),
    "zero suggestions": (body(suggestions="0"), "search.suggestions: found 0; allowed: greater than or equal to 1"),
    "unknown sampler": (body(sampler="tpee"), 'search.sampler: found "tpee"'),
    "unknown objective": (body(objective="{test_mes: minimize}"), "search.objective.test_mes: unknown key; did you mean test_mse?"),
    "objective that is no number": (body(objective="{codes_used: minimize}"), "search.objective.codes_used: unknown key"),
    "unknown direction": (body(objective="{test_mse: down}"), 'search.objective.test_mse: found "down"; allowed: \'minimize\' or \'maximize\''),
    "no objective": (body(objective="{}"), "search.objective: found {}; allowed: one or two metrics"),
    "three objectives": (body(objective="{test_mse: minimize, train_mse: minimize, data_variance: maximize}"), "allowed: one or two metrics"),
    "empty space": (body(space="{}"), "search.space: found {}; allowed: one field or more"),
    "empty choices": (axis("{choices: []}"), "search.space.codebook_size.choices: found []; allowed: a list of one value or more"),
    "wrong choice": (axis("{choices: [4, 1]}"), "search.space.codebook_size.choices[1]: found 1; allowed: greater than or equal to 2"),
    "choices and bounds": (axis("{choices: [4], low: 3}"), "search.space.codebook_size.low: does not go with choices"),
    "unknown field": (body(space="{slices: {choices: [1]}, codebook_size: {choices: [4]}, slizes: {choices: [1]}}"), "search.space.slizes: unknown key; did you mean slices?"),
    "low above high": (axis("{low: 64, high: 4}"), "search.space.codebook_size.low: found 64, above high = 4"),
    "log from zero": (body(space="{slices: {choices: [1]}, codebook_size: {choices: [4]}, learning_rate: {low: 0.0, high: 1.0, log: true}}"), "search.space.learning_rate.low: found 0.0"),
    "no high": (axis("{low: 4}"), "search.space.codebook_size: high is missing; allowed: choices, or low and high"),
    "log and step": (axis("{low: 4, high: 64, log: true, step: 2}"), "search.space.codebook_size.step: does not go with log"),
    "broken step": (axis("{low: 4, high: 64, step: 0.5}"), "search.space.codebook_size.step: found 0.5; allowed: a whole number above 0"),
    "range of names": (body(space="{slices: {choices: [1]}, codebook_size: {choices: [4]}, schedule: {low: 1, high: 2}}"), "search.space.schedule.low: found 1"),
    "field missing": (body(space="{slices: {choices: [1]}}"), "search.space: codebook_size is missing; dvq needs it (here or in fixed)"),
    "fixed and searched": (body(space="{slices: {choices: [1]}, codebook_size: {choices: [4]}, factors: {choices: [4]}}"), "search.space.factors: is set in fixed too"),
    "fixed list": (body().replace("factors: 8", "factors: [8]"), "FILE:4: fixed.factors: found [8]; allowed: one value"),
    "fixed unknown": (body().replace("factors: 8", "factors: 8, stepps: 4"), "FILE:4: fixed.stepps: unknown key; did you mean steps?"),
    "fixed quantizer": (body().replace("factors: 8", "factors: 8, quantizer: tree"), f'FILE:4: fixed.quantizer: found "tree"; allowed: {QUANTIZERS}'),
    "searched quantizer": (body(space="{quantizer: {choices: [vq, tree]}, codebook_size: {choices: [4]}}"), 'search.space.quantizer.choices[1]: found "tree"'),
    "start outside": (body(start_from="[{slices: 4}]"), "search.start_from[0].slices: found 4, which is not in space; allowed: 1, 2"),
    "start unknown": (body(start_from="[{slizes: 1}]"), "search.start_from[0].slizes: unknown key"),
    "start that cannot be": (body(start_from="[{slices: 2, codebook_size: 4}]", max_bits="3"), "search.start_from[0]: is not a point: codes take 4 bits"),
    "start from true": (body(start_from="[{slices: true}]"), "search.start_from[0].slices: found true, which is not in space; allowed: 1, 2"),
    "start from 2.0": (body(start_from="[{slices: 2.0}]"), "search.start_from[0].slices: found 2.0, which is not in space; allowed: 1, 2"),
    "start from 4.0 in a range": (body(space="{slices: {low: 1, high: 4, step: 3}, codebook_size: {choices: [4]}}", start_from="[{slices: 4.0}]"), "search.start_from[0].slices: found 4.0, which is not in space; allowed: 1 to 4 (in steps of 3)"),
    "start from true in a range": (body(space="{slices: {low: 1, high: 4}, codebook_size: {choices: [4]}}", start_from="[{slices: true}]"), "search.start_from[0].slices: found true"),
    "start from true in floats": (bound("{low: 0.5, high: 2.0}", "true"), "search.start_from[0].init_bound: found true, which is not in space; allowed: 0.5 to 2"),
    "start beside the steps": (bound("{low: 0.1, high: 1.0, step: 0.1}", "0.35"), "search.start_from[0].init_bound: found 0.35, which is not in space; allowed: 0.1 to 1 (in steps of 0.1)"),
    "start from no number": (bound("{low: 0.1, high: 1.0, step: 0.1}", ".nan"), "search.start_from[0].init_bound: found nan"),
    "start from infinity": (bound("{low: 0.1, high: 1.0, step: 0.1}", ".inf"), "search.start_from[0].init_bound: found inf"),
    "start from text": (bound("{low: 0.1, high: 1.0, step: 0.1}", "'0.3'"), 'search.start_from[0].init_bound: found "0.3"'),
    "start from a list": (body(start_from="[{slices: [1]}]"), "search.start_from[0].slices: found [1]"),
    "true among choices": (axis("{choices: [4, true]}"), "search.space.codebook_size.choices[1]: found true; allowed: a valid integer"),
    "4.0 among choices": (axis("{choices: [4, 4.0]}"), "search.space.codebook_size.choices[1]: found 4.0; allowed: a valid integer"),
    "list among choices": (axis("{choices: [[4]]}"), "search.space.codebook_size.choices[0]: found [4]"),
    "list among quantizers": (body(space="{quantizer: {choices: [[vq]]}, codebook_size: {choices: [4]}}"), f"search.space.quantizer.choices[0]: found ['vq']; allowed: {QUANTIZERS}"),
    "fixed list of quantizers": (body().replace("factors: 8", "factors: 8, quantizer: [vq]"), f"FILE:4: fixed.quantizer: found ['vq']; allowed: {QUANTIZERS}"),
    "true for a bound": (axis("{low: true, high: 8}"), "search.space.codebook_size.low: found true; allowed: a valid integer"),
    "true for a float bound": (bound("{low: true, high: 8.0}"), "search.space.init_bound.low: found true; allowed: a valid number"),
    "4.0 for a bound": (axis("{low: 4.0, high: 8}"), "search.space.codebook_size.low: found 4.0; allowed: a valid integer"),
    "true for a step": (axis("{low: 4, high: 8, step: true}"), "search.space.codebook_size.step: found true; allowed: a whole number above 0"),
    "true for a float step": (bound("{low: 0.1, high: 1.0, step: true}"), "search.space.init_bound.step: found true; allowed: a number above 0"),
    "infinite step": (bound("{low: 0.1, high: 1.0, step: .inf}"), "search.space.init_bound.step: found inf; allowed: a number above 0"),
    "step that is no number": (bound("{low: 0.1, high: 1.0, step: .nan}"), "search.space.init_bound.step: found nan; allowed: a number above 0"),
    "step below what floats hold": (bound("{low: 0.1, high: 10.0, step: 1.0e-300}"), "search.space.init_bound.step: found 1e-300, too fine for these bounds; allowed: at least 1e-11, or no step"),
    "bound beyond 63 bits": (axis("{low: 4, high: 9223372036854775808}"), "search.space.codebook_size.high: found 9223372036854775808; allowed"),
    "bound beyond what floats hold": (axis("{low: 4, high: 9007199254740993}"), "search.space.codebook_size.high: found 9007199254740993; allowed in a range: up to 9007199254740992"),
    "step beyond 63 bits": (axis("{low: 4, high: 8, step: 9223372036854775808}"), "search.space.codebook_size.step: found 9223372036854775808; allowed"),
    "seed of the sampler beyond 63 bits": (body(sampler_seed="9223372036854775808"), "search.sampler_seed: found 9223372036854775808"),
    "suggestions beyond 63 bits": (body(suggestions="9223372036854775808"), "search.suggestions: found 9223372036854775808"),
    "bits that are no number": (body(max_bits=".inf"), "search.max_bits: found inf"),
    "bits beyond floats": (body(max_bits="1" + 400 * "0"), "search.max_bits: found 1000"),
    "nothing can be": (body(max_bits="1"), "search.space: holds no point that can be; for example codes take 2 bits"),
    "cmaes of choices": (body(sampler="cmaes"), 'search.sampler: found "cmaes", which takes two ranges or more, and here are choices in slices, codebook_size'),
    "stopping what is done in one go": (body(stop_early="{scheduler: asha, grace_steps: 5}"), "search.stop_early: needs an objective that is known while a cell is computed; allowed: none; static_prior computes a cell in one step"),
    "unknown scheduler": (body(stop_early="{scheduler: hyperbad, grace_steps: 5}"), 'search.stop_early.scheduler: found "hyperbad"'),
    "half a reduction": (body(stop_early="{scheduler: asha, grace_steps: 5, reduction: 2.5}"), "search.stop_early.reduction: found 2.5; allowed: a multiple of 1"),
    "an option of another scheduler": (body(stop_early="{scheduler: median, grace_steps: 5, reduction: 3}"), "search.stop_early: reduction has no effect with scheduler = median"),
    "nothing to stop for": (body(stop_when="{}"), "search.stop_when: is empty; allowed: regret_below, winner_clear"),
    "a margin of nothing": (body(stop_when="{regret_below: 0.1, margin: 0.1}"), "search.stop_when: margin has no effect without winner_clear"),
    "no level": (body(stop_when="{winner_clear: 1.5}"), "search.stop_when.winner_clear: found 1.5; allowed: less than 1"),
    "a winner of two objectives": (body(objective="{test_mse: minimize, bits_per_vector: minimize}", stop_when="{winner_clear: 0.9}"), "search.stop_when: needs one objective, and there are two; remove one or the other"),
    "a sampler without a name": (body(sampler="{multivariate: true}"), "search.sampler: name is missing; allowed: tpe, gp, cmaes, random, nsga2, nsga3, optunahub:PATH"),
    "an option of another sampler": (body(sampler="{name: gp, multivariate: true}"), "search.sampler.multivariate: unknown key; allowed: deterministic_objective, n_startup_trials"),
    "an option of the wrong type": (body(sampler="{name: tpe, n_startup_trials: many}"), 'search.sampler.n_startup_trials: found "many"; allowed: a valid integer'),
    "a sampler that is a list": (body(sampler="[tpe]"), "search.sampler: found ["),
    "a store that is no text": (body(learn_from="[3]"), "search.learn_from[0]: found 3; allowed: a valid string"),
    "unknown stop key": (body(stop_early="{scheduler: asha, grace: 5}"), "search.stop_early.grace: unknown key; did you mean grace_steps?"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_every_error_is_reported_with_its_place(case: str, tmp_path: Path) -> None:
    text, message = WRONG[case]
    found = problems(text, tmp_path)
    assert any(message in problem for problem in found), found


def test_all_errors_are_reported_at_once(tmp_path: Path) -> None:
    space = "{slices: {choices: []}, codebook_size: {low: 9, high: 4}}"
    found = problems(body(sampler="tpee", suggestions="0", objective="{test_mes: minimize}", space=space), tmp_path)
    keys = ["objective.test_mes", "sampler", "space.codebook_size.low", "space.slices.choices", "suggestions"]
    assert sorted(problem.split(": ")[1] for problem in found) == [f"search.{key}" for key in keys]


def test_an_unknown_data_set_is_reported(tmp_path: Path) -> None:
    text = (
        "name: x\ntrainable: learned_prior\nfixed: {dimension: 8, slices: 2}\nsearch: {objective: {mse: minimize}, "
        "suggestions: 2, space: {dataset: {choices: [photos, fotos]}}}\n"
    )
    assert any('found "fotos"; did you mean photos? allowed: photos' in problem for problem in problems(text, tmp_path))
