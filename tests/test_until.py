"""The key `seeds` with a rule: what it means, and what can be wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from dvq_ray import inference
from dvq_ray.sweep.cells import expand
from dvq_ray.sweep.spec import SweepSpec, load_sweep, parse_sweep
from dvq_ray.sweep.until import Comparison, Precision, SeedsUntil
from tests.mistakes import problems
from tests.sweep_files import SEARCH, write

FILE = """\
name: x
trainable: static_prior
seeds: SEEDS
fixed: {dimension: 4, factors: 8, codebook_size: 4}
grids:
  vq: {quantizer: vq}
  dvq: {quantizer: dvq, slices: 2}
"""
COMPARED = "compare: [vq, dvq], at: equal_bits"


def spec(seeds: str, text: str = FILE) -> SweepSpec:
    return parse_sweep(text.replace("SEEDS", seeds), "x.yaml")


def test_a_precision_is_a_share_of_the_main_metric() -> None:
    (rule,) = spec("{least: 8, most: 200, until: {half_width: 2%}}").rules()
    precision = Precision(metric="test_mse", half_width=0.02)
    assert rule == SeedsUntil(scope="", first=0, least=8, most=200, rule=precision)
    assert rule.looks == (8, 16, 32, 64, 128, 200)
    assert rule.level == inference.level_at_each(6)
    assert 2 * rule.error == pytest.approx(0.05 / 6)


def test_a_comparison_names_quantizers_and_what_is_equal() -> None:
    (rule,) = spec(f"{{first: 100, least: 8, most: 8, until: {{{COMPARED}, margin: 0.5%, metric: train_mse}}}}").rules()
    assert rule.rule == Comparison(
        metric="train_mse", higher_is_better=False, quantizers=("vq", "dvq"), at="equal_bits", margin=0.005
    )
    assert list(rule.seeds(3)) == [100, 101, 102]


@pytest.mark.parametrize("share", ["2%", "2.0 %", "0.02", '"2%"'])
def test_a_share_may_be_written_in_percent(share: str) -> None:
    assert spec(f"{{least: 8, most: 9, until: {{half_width: {share}}}}}").rules()[0].rule == Precision(
        metric="test_mse", half_width=0.02
    )


def test_a_comparison_may_say_that_it_is_to_be_decided() -> None:
    rules = [
        spec(f"{{least: 8, most: 9, until: {{{COMPARED}{more}}}}}").rules() for more in ("", ", decided: true")
    ]  # fmt: skip
    assert rules[0] == rules[1]


def test_a_sweep_begins_with_the_least_repetitions() -> None:
    cells, by_grid = expand(spec(f"{{first: 5, least: 8, most: 9, until: {{{COMPARED}}}}}"))
    assert sorted(cell.seed for cell in cells) == sorted([*range(5, 13)] * 2)
    assert {name: len(ids) for name, ids in by_grid.items()} == {"vq": 8, "dvq": 8}


def test_a_grid_may_have_a_rule_or_repetitions_of_its_own() -> None:
    text = (
        FILE
        + "  own: {quantizer: kmeans, seeds: {least: 2, most: 4, until: {half_width: 5%}}}\n"
        + "  few: {quantizer: kmeans, seeds: 3}\n"
    )
    found = spec(f"{{least: 8, most: 9, until: {{{COMPARED}}}}}", text)
    assert [rule.scope for rule in found.rules()] == ["", "own"]
    assert [grid.until.scope if grid.until else None for grid in found.grids] == ["", "", "own", None]
    assert [len(grid.most_seeds()) for grid in found.grids] == [9, 9, 4, 3]


def test_a_rule_can_be_overridden_and_written_out_again(tmp_path: Path) -> None:
    text = FILE.replace("SEEDS", f"{{least: 8, most: 200, until: {{{COMPARED}, margin: 2%}}}}")
    found = load_sweep(write(tmp_path, text), ["seeds.most=20"])
    assert found.rules()[0].most == 20
    assert parse_sweep(found.as_yaml(), "again.yaml").rules() == found.rules()
    assert load_sweep(write(tmp_path, text), ["seeds=3"]).rules() == []


WRONG = {
    "unknown keys": ("{least: 8, most: 9, mots: 3, until: {half_widht: 2%}}",
                     ["seeds.mots: unknown key; did you mean most? allowed: first, least, most, until",
                      "seeds.until.half_widht: unknown key; did you mean half_width? allowed: half_width, metric"]),
    "all at once": ("{first: -1, least: 1, most: 10001, until: {metric: loss, half_width: 100%}}",
                    ["seeds.first: found -1; allowed: greater than or equal to 0",
                     "seeds.least: found 1; allowed: greater than or equal to 2",
                     "seeds.most: found 10001; allowed: less than or equal to 10000",
                     'seeds.until.half_width: found "100%"; allowed: a share such as 2% or 0.02, above 0 and below 1',
                     'seeds.until.metric: found "loss"; allowed: test_mse']),
    "missing keys": ("{until: {at: equal_bits}}",
                     ["seeds: least is missing", "seeds: most is missing", "seeds.until: compare is missing"]),
    "no rule": ("{least: 8, most: 9, until: {metric: test_mse}}", ["seeds.until: holds no rule"]),
    "no mapping": ("{least: 8, most: 9, until: decided}",
                   ['seeds.until: found "decided"; allowed: a mapping with a rule']),
    "two rules": (f"{{least: 8, most: 9, until: {{{COMPARED}, half_width: 2%}}}}",
                  ["seeds.until: holds two rules; allowed: half_width, or compare"]),
    "most below least": ("{least: 8, most: 7, until: {half_width: 2%}}",
                         ["seeds.most: found 7; allowed: at least 8, which is least"]),
    "a list": ("{least: 8, most: 9, until: {metric: codes_used, half_width: 2%}}",
               ['seeds.until.metric: found "codes_used"; allowed: test_mse']),
    "a metric that ranks nothing": (f"{{least: 8, most: 9, until: {{{COMPARED}, metric: data_variance}}}}",
                                    ['seeds.until.metric: found "data_variance"; allowed: test_mse, train_mse, loss']),
    "unknown quantizers and size": ("{least: 8, most: 9, until: {compare: [vq, tree], at: bits}}",
                                    ['seeds.until.at: found "bits"; allowed: ',
                                     'seeds.until.compare[1]: found "tree"; allowed: ']),
    "a quantizer of no grid": ("{least: 8, most: 9, until: {compare: [vq, kmeans], at: equal_bits}}",
                               ['seeds.until.compare[1]: found "kmeans"; allowed: vq, dvq, which its grids have']),
    "one quantizer": ("{least: 8, most: 9, until: {compare: [vq], at: equal_bits}}",
                      ["seeds.until.compare: found ['vq']; allowed: two quantizers or more"]),
    "the same twice": ("{least: 8, most: 9, until: {compare: [vq, vq], at: equal_bits}}",
                       ["seeds.until.compare: found ['vq', 'vq']; allowed: each quantizer once"]),
    "not decided": (f"{{least: 8, most: 9, until: {{{COMPARED}, decided: false}}}}",
                    ["seeds.until.decided: found false; allowed: true"]),
    "too few to decide": (f"{{least: 2, most: 6, until: {{{COMPARED}}}}}",
                          ["seeds.most: found 6, and no look could decide: the p-value of an exact sign-flip test of 6 "
                           "differences is at least 0.016, and each of 3 looks needs 0.0083; allowed with "
                           "least = 2: 7 or more"]),
}  # fmt: skip


@pytest.mark.parametrize(("seeds", "expected"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_reported_with_its_place(tmp_path: Path, seeds: str, expected: list[str]) -> None:
    found = problems(write(tmp_path, FILE.replace("SEEDS", seeds)))
    assert len(found) == len(expected)
    for start in expected:
        assert any(problem.startswith(f"FILE:3: {start}") for problem in found), found


def test_what_is_wrong_in_a_grid_is_reported_there(tmp_path: Path) -> None:
    text = (
        FILE.replace("SEEDS", "2") + f"  own: {{quantizer: vq, seeds: {{least: 8, most: 9, until: {{{COMPARED}}}}}}}\n"
    )
    (problem,) = problems(write(tmp_path, text))
    assert problem.startswith(
        'FILE:8: grids.own.seeds.until.compare[1]: found "dvq"; did you mean vq? allowed: vq, which its grids have'
    )


@pytest.mark.parametrize(("least", "most", "possible"), [(6, 6, True), (5, 5, False), (2, 7, True), (8, 200, True)])
def test_least_and_most_must_allow_a_decision(tmp_path: Path, least: int, most: int, possible: bool) -> None:
    """Of n differences an exact sign-flip test has 2 ** n choices of signs, and so no p-value below 2 ** -n."""
    text = FILE.replace("SEEDS", f"{{least: {least}, most: {most}, until: {{{COMPARED}}}}}")
    assert possible == (2.0**-most <= 0.025 / len(inference.looks(least, most)))
    if possible:
        load_sweep(write(tmp_path, text))
    else:
        assert len(problems(write(tmp_path, text))) == 1


def test_most_counts_for_max_cells(tmp_path: Path) -> None:
    text = FILE.replace("SEEDS", f"{{least: 8, most: 100, until: {{{COMPARED}}}}}\nmax_cells: 199")
    (problem,) = problems(write(tmp_path, text))
    assert problem.startswith("FILE:6: grids: expand to 200 cells; allowed: 199")


def test_a_search_takes_no_rule(tmp_path: Path) -> None:
    text = SEARCH.replace("seeds: 2", "seeds: {least: 8, most: 9, until: {half_width: 2%}}")
    (problem,) = problems(write(tmp_path, text))
    assert problem == (
        "FILE:3: seeds: a rule cannot be combined with a search; allowed: a number of repetitions, or a list of seeds"
    )


def test_a_wrong_trainable_does_not_hide_what_is_wrong_with_the_rule(tmp_path: Path) -> None:
    text = FILE.replace("SEEDS", "{least: 8, most: 2, until: {half_width: 2%}}").replace("static_prior", "statik")
    assert len(problems(write(tmp_path, text))) == 2


def test_looks_that_cannot_decide_are_known() -> None:
    assert spec(f"{{least: 2, most: 16, until: {{{COMPARED}}}}}").rules()[0].idle_looks == [2, 4]
    assert spec(f"{{least: 8, most: 200, until: {{{COMPARED}}}}}").rules()[0].idle_looks == []
    assert spec("{least: 2, most: 16, until: {half_width: 2%}}").rules()[0].idle_looks == []
