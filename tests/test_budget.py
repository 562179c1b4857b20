from __future__ import annotations

from pathlib import Path

import click
import pandas as pd
import pytest
from click.testing import CliRunner

from dvq_ray.cli.duration import Duration
from dvq_ray.cli.sweep import main
from dvq_ray.execution.budget import BUDGET_SPENT, Budget
from tests.sweep_files import write

SWEEP = """\
name: short
trainable: static_prior
seeds: 40
fixed: {factors: 8, train_samples: 256, codebook_size: 16, steps: 4000}
grids:
  plain: {quantizer: vq, dimension: [4, 8]}
"""


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_time_counts_from_the_first_trial_on() -> None:
    clock = Clock()
    budget = Budget(seconds=60, clock=clock)
    clock.now += 1000
    assert not budget.spent()
    budget.hold(0)
    clock.now += 59
    assert not budget.spent()
    clock.now += 1
    assert budget.spent() == "the time budget of 60 s is spent"


def test_gpu_hours_are_those_that_trials_hold() -> None:
    clock = Clock()
    budget = Budget(gpu_hours=3, clock=clock)
    for gpus, hours in ((0.5, 2), (0, 100), (4, 0.49)):
        budget.hold(gpus)
        clock.now += hours * 3600
        assert not budget.spent()
    clock.now += 0.02 * 3600
    assert budget.spent() == "the budget of 3 GPU hours is spent"


def test_a_budget_without_limits_is_never_spent() -> None:
    clock = Clock()
    budget = Budget(clock=clock)
    budget.hold(8)
    clock.now += 1e9
    assert not budget.limited
    assert not budget.spent()


@pytest.mark.parametrize(("text", "seconds"), [("90min", 5400), ("2h", 7200), ("1.5 days", 129600), ("30s", 30)])
def test_lengths_of_time_have_units(text: str, seconds: float) -> None:
    assert Duration().convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["90", "soon", "-2h", "0s", "", "nan", "NaT", "2 fortnights"])
def test_what_is_no_length_of_time_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="allowed: a number with its unit"):
        Duration().convert(text, None, None)


def test_a_sweep_whose_time_is_spent_ends_between_cells_and_goes_on_with_the_same_command(tmp_path: Path) -> None:
    arguments = [str(write(tmp_path, SWEEP)), "--results", str(tmp_path), "--in-process"]
    cut = CliRunner().invoke(main, [*arguments, "--time-budget", "1ms"])
    assert cut.exit_code == BUDGET_SPENT, cut.output
    assert "is spent: the same command resumes with the" in cut.output
    stored = pd.read_parquet(tmp_path / "short" / "cells")
    assert 1 <= len(stored) < 80
    assert set(stored["status"]) == {"ok"}
    whole = CliRunner().invoke(main, [*arguments, "--time-budget", "1h"])
    assert whole.exit_code == 0, whole.output
    assert len(pd.read_parquet(tmp_path / "short" / "cells")) == 80
