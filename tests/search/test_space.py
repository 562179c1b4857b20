"""The values of a space: as a user would write them, and never listed."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import FloatDistribution, IntDistribution

from dvq_ray.cli.sweep import main as sweep
from dvq_ray.search.drawing import draws
from dvq_ray.search.rectangle import distributions_of
from dvq_ray.search.sampling import _Gp
from dvq_ray.store import Store
from dvq_ray.sweep.search_checker import FINEST_STEP
from dvq_ray.sweep.space import Choices, Range, Space
from tests.sweep_files import write


def steps(low: float, high: float, step: float | None = None) -> Range:
    return Range(low=low, high=high, log=False, step=step, whole=False)


def whole(low: int, high: int, step: int | None = None) -> Range:
    return Range(low=low, high=high, log=False, step=step, whole=True)


@pytest.mark.parametrize(
    ("axis", "values"),
    [
        (steps(0.0, 1.0, 0.1), [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]),
        (steps(0.1, 1.0, 0.2), [0.1, 0.3, 0.5, 0.7, 0.9]),
        (steps(-0.3, 0.3, 0.1), [-0.3, -0.2, -0.1, 0.0, 0.1, 0.2, 0.3]),
        (steps(0, 1, 0.3), [0.0, 0.3, 0.6, 0.9]),
        (steps(0, 1, 0.3333333333333333), [0.0, 0.3333333333333333, 0.6666666666666666, 0.9999999999999999]),
        (steps(1, 3, 1), [1.0, 2.0, 3.0]),
        (steps(1e-7, 5e-7, 1e-7), [1e-7, 2e-7, 3e-7, 4e-7, 5e-7]),
        (steps(0.5, 0.5, 7.0), [0.5]),
        (whole(1, 8, 3), [1, 4, 7]),
        (whole(5, 5), [5]),
    ],
)
def test_the_values_of_a_range_are_those_that_a_user_would_write(axis: Range, values: list[float]) -> None:
    found = axis.values()
    assert found is not None
    assert [*found] == values
    assert all(axis.holds(value) and axis.snapped(value) == value for value in values)


def test_three_steps_of_a_tenth_are_the_start_point_that_a_user_writes() -> None:
    axis = steps(0.0, 1.0, 0.1)
    assert 3 * 0.1 != 0.3
    assert axis.holds(3 * 0.1)
    assert axis.holds(0.3)
    assert axis.snapped(3 * 0.1) == 0.3
    assert not axis.holds(0.31)
    assert not axis.holds(0.3 + 1e-9)


@pytest.mark.parametrize("value", [True, False, "0.3", None, [0.3], float("nan"), float("inf"), -0.1, 1.1, 10**400])
def test_only_numbers_between_the_bounds_are_values(value: object) -> None:
    for axis in (steps(0.0, 1.0, 0.1), steps(0.0, 1.0), whole(0, 1), steps(0.0, 0.0)):
        assert not axis.holds(value) or value in (0, 1)
        assert not (isinstance(value, bool) and axis.holds(value))


def test_equal_numbers_of_other_types_are_no_values() -> None:
    assert not whole(1, 8, 3).holds(4.0)
    assert not Choices(choices=(1, 2)).holds(True)
    assert not Choices(choices=(False, True)).holds(1)
    assert Choices(choices=(0.5, 1.0)).holds(1)


@given(low=st.integers(-1000, 1000), step=st.integers(1, 500), digits=st.integers(0, 6), place=st.integers(0, 2000))
@settings(derandomize=True, max_examples=300, deadline=None)
def test_any_step_is_the_float_of_its_decimals(low: int, step: int, digits: int, place: int) -> None:
    def written(number: int) -> float:
        return float(f"{number}e-{digits}")

    axis = steps(written(low), written(low + 2000 * step), written(step))
    values = axis.values()
    assert values is not None
    assert len(values) == 2001
    assert values[place] == written(low + place * step)
    assert axis.snapped(written(low) + place * written(step)) == values[place]
    kind = distributions_of(Space({"field": axis}))["field"]
    assert kind._contains(kind.to_internal_repr(values[place]))


LARGE = {
    "whole numbers": whole(1, 300_000_000),
    "whole numbers up to the largest": whole(1, 2**53),
    "whole numbers in steps": whole(0, 3 * 10**12, 3),
    "tiny steps": steps(0.1, 10.0, 1e-8),
    "the finest steps": steps(0.0, 1000.0, 1000 * FINEST_STEP),
    "steps far from zero": steps(1000.0, 1001.0, 1e-5),
}


@pytest.mark.parametrize("case", LARGE)
def test_a_large_range_takes_no_memory(case: str) -> None:
    axis = LARGE[case]
    space = Space({"field": axis, "other": Choices(choices=(1, 2))})
    tracemalloc.start()
    try:
        values, size = axis.values(), space.size()
        assert values is not None
        assert size == 2 * len(values)
        assert len(values) > 10**5 - 1
        assert axis.holds(values[len(values) // 3])
        assert values[-1] <= axis.high
        drawn = next(draws(space, np.random.default_rng(0)))["field"]
        assert axis.holds(drawn)
        assert axis.snapped(drawn) == drawn
        assert axis.within(pd.Series([drawn, axis.high + 1])).tolist() == [True, False]
        kind = distributions_of(space)["field"]
        assert kind._contains(kind.to_internal_repr(drawn))
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_values_are_indexed_as_any_sequence() -> None:
    values = steps(0.0, 1.0, 0.1).values()
    assert values is not None
    assert (values[-1], [*values[2:4]], len(values)) == (1.0, [0.2, 0.3], 11)
    with pytest.raises(IndexError):
        values[11]


FACTORIAL = """\
name: found
trainable: factorial_prior
seeds: 1
fixed: {dimension: 4, groups: 2, centres: 2, codebook_size: 4, train_samples: 64, steps: 5, batch_size: 8}
"""
"""To which a test adds grids or a search over the dependence."""
GRID = "grids: {all: {quantizer: vq, dependence: [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]}}\n"


def search(sampler: str, suggestions: int, more: str = "") -> str:
    return (
        FACTORIAL.replace("fixed: {", "fixed: {quantizer: vq, ")
        + f"search: {{objective: {{test_mse: minimize}}, sampler: {sampler}, suggestions: {suggestions}, "
        + f"space: {{dependence: {{low: 0.0, high: 1.0, step: 0.1}}}}{more}}}\n"
    )


def run(folder: Path, text: str) -> Result:
    command = [str(write(folder, text)), "--results", str(folder / "results"), "--in-process"]
    return CliRunner().invoke(sweep, command)


@pytest.mark.parametrize("sampler", ["random", "tpe", "nsga2"])
def test_a_search_in_steps_finds_the_cells_of_a_grid(sampler: str, tmp_path: Path) -> None:
    run(tmp_path, FACTORIAL + GRID)
    store = Store(tmp_path / "results" / "found")
    before = store.load()
    result = run(tmp_path, search(sampler, 11, ", start_from: [{dependence: 0.3}, {dependence: 0.7000000000000001}]"))
    assert result.exit_code == 0, result.output
    after = store.load()
    new = after[~after["cell_id"].isin(before["cell_id"])]
    assert (new["seed"] > 0).all()  # repetitions of the best point, and no neighbour of 0.3
    assert set(after["dependence"]) == set(before["dependence"])


def test_a_search_of_an_earlier_version_resumes_and_its_cells_keep_their_ids(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as earlier:
        earlier.setattr(Range, "snapped", lambda self, value: value)
        assert run(tmp_path, search("random", 6)).exit_code == 0
    store = Store(tmp_path / "results" / "found")
    before = store.load()
    assert 3 * 0.1 in set(before["dependence"])
    result = run(tmp_path, search("random", 11))
    assert result.exit_code == 0, result.output
    assert "warning" not in result.output
    after = store.load()
    assert set(before["cell_id"]) < set(after["cell_id"])
    assert sorted(round(value, 10) for value in after["dependence"]) == [i / 10 for i in range(11)]


def test_a_sampler_that_models_the_space_sees_a_large_range_as_a_continuum() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    space = Space({"long": LARGE["whole numbers"], "short": whole(1, 9), "fine": LARGE["tiny steps"]})
    kinds = distributions_of(space)
    sampler = _Gp(lambda values: True, lambda values: values, False, seed=0)
    study = optuna.create_study(sampler=sampler)
    study.tell(study.ask(kinds), 0.0)
    seen = sampler.infer_relative_search_space(study, study.trials[0])
    assert seen == {
        "long": FloatDistribution(1.0, 3e8),
        "short": IntDistribution(1, 9),
        "fine": FloatDistribution(0.1, 10.0),
    }
    drawn = space.snapped({"long": 12345.678, "short": 3, "fine": 0.123456789})
    assert drawn == {"long": 12346, "short": 3, "fine": 0.12345679}
    assert isinstance(drawn["long"], int)
