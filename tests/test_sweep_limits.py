"""Sweep files that are far too large, or wrong in a way that could make a check run for long."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from dvq_ray.declarations.settings import Rule
from dvq_ray.experiment.registry import find_experiment
from dvq_ray.problems import MOST_PROBLEMS, SHOWN_PROBLEMS
from dvq_ray.sweep.spec import load_sweep
from tests.mistakes import problems
from tests.sweep_files import write

CASES = Path(__file__).parents[2] / "shared" / "cases"
HEAD = "name: x\ntrainable: static_prior\n"
GRID = "{quantizer: vq, dimension: 4, codebook_size: 4, factors: 8}"
SIXTY = f"{[*range(2, 62)]}"
HUGE = {
    "kmeans": (HEAD, "quantizer: kmeans, dimension: S, codebook_size: S, factors: S, restarts: S, max_iterations: S", 60**5),
    "kmeans with its samples": (HEAD, "quantizer: kmeans, dimension: S, codebook_size: S, factors: S, train_samples: S", 60**4),
    "vq": (HEAD, "quantizer: vq, dimension: S, codebook_size: S, factors: S, steps: S, batch_size: S", 60**5),
    "dvq and kmeans": (HEAD, "quantizer: [dvq, kmeans], dimension: S, slices: S, codebook_size: S, factors: S", 2 * 60**4),
    "factorial": (HEAD.replace("static", "factorial"), "quantizer: dvq, dimension: S, slices: S, codebook_size: S, groups: S, centres: S", 60**5),
    "svq": (HEAD.replace("static", "learned"), "quantizer: svq, dimension: S, slices: S, joint_positions: S, codebook_size: S, batch_size: S", 60**5),
    "seeds": (HEAD, "quantizer: vq, dimension: S, codebook_size: S, factors: 4, seeds: 1000000", 60**2 * 10**6),
    "a field of every axis wrong": (HEAD, "quantizer: dvq, dimension: S, slices: S, codebook_size: S, factors: [0], steps: S", 60**4),
}  # fmt: skip
# ruff: noqa: E501


@pytest.mark.parametrize(("head", "fields", "cells"), HUGE.values(), ids=HUGE.keys())
def test_a_grid_that_is_far_too_large_is_rejected_without_being_expanded(
    tmp_path: Path, head: str, fields: str, cells: int
) -> None:
    found = problems(write(tmp_path, f"{head}grids:\n  a: {{{fields.replace('S', SIXTY)}}}\n"))
    assert f"FILE:3: grids: expand to {cells:,} cells; allowed: 1,000,000 (raise max_cells to run more)" in found


def test_many_grids_are_counted_together(tmp_path: Path) -> None:
    grids = "".join(f"  g{n}: {GRID[:-1]}, seeds: 1000000}}\n" for n in range(500))
    found = problems(write(tmp_path, f"{HEAD}grids:\n{grids}"))
    assert found == ["FILE:3: grids: expand to 500,000,000 cells; allowed: 1,000,000 (raise max_cells to run more)"]


def test_max_cells_has_a_limit_of_its_own(tmp_path: Path) -> None:
    text = f"{HEAD}max_cells: LIMIT\nseeds: 1000000\ngrids:\n  a: {GRID}\n"
    assert len(load_sweep(write(tmp_path, text.replace("LIMIT", "1000000"))).grids[0].seeds) == 1_000_000
    assert problems(write(tmp_path, text.replace("LIMIT", "10000001"))) == [
        "FILE:3: max_cells: found 10000001; allowed: less than or equal to 10000000"
    ]
    many = text.replace("LIMIT", "10000000").replace("dimension: 4", f"dimension: {SIXTY}")
    assert problems(write(tmp_path, many)) == [
        "FILE:5: grids: expand to 60,000,000 cells; allowed: 10,000,000 (max_cells cannot be larger)"
    ]


def test_a_rule_looks_only_at_the_axes_that_it_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[Any, ...]] = []

    def counted(rule: Rule) -> Rule:
        return dataclasses.replace(rule, breach=lambda *values: calls.append(values) or rule.breach(*values))  # type: ignore[func-returns-value]

    variant = find_experiment("static_prior").variant("kmeans")
    monkeypatch.setattr(variant, "rules", tuple(map(counted, variant.rules)))
    ten = f"{[*range(2, 12)]}"
    text = f"{HEAD}grids:\n  a: {{quantizer: kmeans, dimension: T, codebook_size: T, factors: T, restarts: T, max_iterations: T}}\n"
    load_sweep(write(tmp_path, text.replace("T", ten)))
    # Slices with the ten dimensions; codes with the samples, whose default follows from the factors.
    assert len(calls) == 10 + 10 * 10
    assert {values for values in calls if values[1] == 16384} == {(codes, 16384) for codes in range(2, 12)}


def test_a_rule_on_a_computed_default_sees_every_value_that_the_default_follows(tmp_path: Path) -> None:
    text = (
        HEAD
        + "grids:\n  a: {quantizer: kmeans, dimension: 4, codebook_size: [64, 100000], factors: [65536, 16], start: [random, k-means++]}\n"
    )
    assert problems(write(tmp_path, text)) == [
        "FILE:4: grids.a.codebook_size: found 100000, which is larger than train_samples = 16384; allowed: at most 16384"
    ]
    assert load_sweep(write(tmp_path, text.replace(", 16]", "]"))).grids[0].point_count() == 4


def test_a_rule_that_much_breaks_is_reported_in_part(tmp_path: Path) -> None:
    text = (
        HEAD
        + f"grids:\n  a: {{quantizer: dvq, dimension: {[*range(8, 4008, 8)]}, slices: 7, codebook_size: 4, factors: 8}}\n"
    )
    found = problems(write(tmp_path, text))
    assert len(found) == SHOWN_PROBLEMS + 1
    assert found[-1] == "FILE:4: grids.a.slices: more of its values break the same rule"


@pytest.mark.parametrize(
    ("dimension", "divisors"),
    [
        (64, "1, 2, 4, 8, 16, 32, 64"),
        (99_999_989, "1, 99999989"),  # a prime
        (10**15, "1, 2, 4, 5, 8, 10, 16, 20, 25, 32, 40, 50, 64, 80, 100, 125, 128, 160, 200, 250, "),
    ],
)
def test_the_divisors_of_any_dimension_are_listed_at_once(tmp_path: Path, dimension: int, divisors: str) -> None:
    text = HEAD + f"grids: {{a: {{quantizer: dvq, dimension: {dimension}, slices: 7, codebook_size: 4, factors: 8}}}}\n"
    (problem,) = problems(write(tmp_path, text))
    allowed = problem.partition("allowed: ")[2]
    assert allowed == divisors or (allowed.startswith(divisors) and allowed.endswith(", ..."))


def test_a_count_has_a_limit_that_computed_defaults_keep_within_columns(tmp_path: Path) -> None:
    text = HEAD + "grids: {a: {quantizer: vq, dimension: 4, codebook_size: 4, factors: LIMIT}}\n"
    (point,) = load_sweep(write(tmp_path, text.replace("LIMIT", str(10**15)))).grids[0].points()
    assert max(value for value in point.model_dump().values() if isinstance(value, int)) < 2**63
    assert point.nominal_seconds() > 0
    (problem,) = problems(write(tmp_path, text.replace("LIMIT", str(10**15 + 1))))
    assert "factors: found 1000000000000001; allowed: less than or equal to 1000000000000000" in problem


BEYOND = {
    "a seed": "seeds: [1, N]\n",
    "a number of repetitions": "seeds: N\n",
    "a fixed field": "fixed: {steps: N}\n",
    "a fixed list": "fixed: {steps: [4, N]}\n",
    "a real field": "fixed: {init_bound: N}\n",
    "resources": "resources: {cpu: N}\n",
    "the most cells": "max_cells: N\n",
    "seconds": "checkpoint_seconds: N\n",
    "the name": "name2: N\n",
}


@pytest.mark.parametrize(
    "number", ["9223372036854775808", "10000000000000000000000", "-9223372036854775809", "0x1" + "0" * 16]
)
@pytest.mark.parametrize("line", BEYOND.values(), ids=BEYOND.keys())
def test_a_number_of_more_than_63_bits_is_rejected_wherever_it_stands(tmp_path: Path, line: str, number: str) -> None:
    text = HEAD + line.replace("N", number) + f"grids: {{a: {GRID}}}\n"
    (problem,) = problems(write(tmp_path, text))
    assert problem.startswith("FILE:3: ")
    assert "allowed: whole numbers from -9223372036854775808 to 9223372036854775807" in problem


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("fixed: {init_bound: 1e999}", "fixed.init_bound: found inf; allowed: a finite number"),
        ("fixed: {steps: 1e22}", "fixed.steps: found 1e+22; allowed: a valid integer"),
        ("fixed: {steps: 1e3}", "fixed.steps: found 1000.0; allowed: a valid integer"),
        ("seeds: 1e3", "seeds: found 1000.0; allowed: a number of repetitions, a list of seeds, or a mapping"),
        ("seeds: [1.0]", "seeds: found [1.0]; 1.0 is not a seed"),
        ("seeds: 1000001", "seeds: found 1000001; allowed: 1 to 1000000 repetitions"),
        ("max_cells: 1e9", "max_cells: found 1000000000.0; allowed: a valid integer"),
        ("resources: {cpu: 5e-324}", "resources.cpu: found 5e-324; allowed: greater than or equal to 0.001"),
        ("resources: {gpu: 1e-9}", "resources.gpu: found 1e-09; allowed: 0, or 0.001 and more"),
        ("checkpoint_seconds: .inf", "checkpoint_seconds: found inf; allowed: a finite number"),
    ],
)
def test_a_number_of_another_kind_is_rejected(tmp_path: Path, line: str, expected: str) -> None:
    (problem,) = problems(write(tmp_path, f"{HEAD}{line}\ngrids: {{a: {GRID}}}\n"))
    assert problem.startswith(f"FILE:3: {expected}")


def test_the_largest_seed_is_a_seed(tmp_path: Path) -> None:
    spec = load_sweep(write(tmp_path, f"{HEAD}seeds: [0, 9223372036854775807]\ngrids: {{a: {GRID}}}\n"))
    assert spec.grids[0].seeds == (0, 2**63 - 1)


def test_long_lists_are_read_and_values_that_repeat_count_once(tmp_path: Path) -> None:
    seeds = [*range(10**6, 10**6 + 5_000), 10**6]
    text = f"{HEAD}seeds: {seeds}\ngrids: {{a: {GRID.replace('dimension: 4', 'dimension: [4, 4, 8, 4]')}}}\n"
    (grid,) = load_sweep(write(tmp_path, text)).grids
    assert (len(grid.seeds), grid.axes["dimension"]) == (5_000, (4, 8))


def test_a_file_that_is_wrong_everywhere_is_given_up_early(tmp_path: Path) -> None:
    wrong = [-number for number in range(3_000)]
    path = write(tmp_path, f"{HEAD}grids: {{a: {GRID.replace('dimension: 4', f'dimension: {wrong}')}}}\n")
    assert len(problems(path)) == MOST_PROBLEMS


def test_an_endless_file_is_read_no_further_than_its_limit() -> None:
    assert problems(Path("/dev/zero")) == [
        "/dev/zero: is too large; allowed: at most 524,288 bytes (seeds: 5000 is short for a list of them)".replace(
            "/dev/zero", "FILE"
        )
    ]


@pytest.mark.skipif(not CASES.exists(), reason="the cases are not part of the repository")
@pytest.mark.parametrize(
    "name",
    [
        "09-huge-grid/kmeans",
        "09-huge-grid/kmeans16",
        "09-huge-grid/vq",
        "18-big-seed/field",
        "18-big-seed/kmeans",
        "18-big-seed/seed",
    ],
)
def test_the_reported_cases_are_rejected_with_one_problem(name: str) -> None:
    (problem,) = problems(CASES / f"{name}.yaml")
    assert problem.startswith("FILE:")
    assert "; allowed: " in problem
