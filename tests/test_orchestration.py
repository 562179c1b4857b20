"""The benchmark of orchestration, small: each part gives figures that could be right, for this checkout and another."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks import orchestration
from benchmarks.orchestration import HERE, Checkout, main, parts


def test_a_rate_leaves_the_start_out() -> None:
    slow_start = np.concatenate([[0.0, 50.0], 60 + np.arange(18) / 4])
    assert orchestration._rate(slow_start) == pytest.approx(4.0)


@pytest.mark.long
def test_what_a_cell_costs_and_what_commands_take_is_measured(tmp_path: Path) -> None:
    found = parts(tmp_path, 100, 10)
    checkout = Checkout(name="this", path=HERE)
    assert 0 < found["pack"].measure(checkout)["cpu"] < 100
    cells = found["in process"].measure(checkout)
    assert 1 < cells["rate"] < 100_000
    assert 0 < cells["first"] < cells["whole"]
    assert {*found["in process"].shown} <= cells.keys()
    commands = found["commands"].measure(checkout)
    assert 0 < commands["import cpu"] < commands["status cpu"] + commands["dry cpu"]
    assert {*found["commands"].shown} <= commands.keys()


def test_two_checkouts_are_measured_by_turns(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    turns = []

    def measure(checkout: Checkout) -> orchestration.Measured:
        turns.append(checkout.name)
        return {"rate": 8.0 if checkout.name == "this" else 2.0}

    part = orchestration.Part(measure=measure, shown={"rate": "cells/s"})
    monkeypatch.setattr(orchestration, "parts", lambda *_: {"one": part})
    done = CliRunner().invoke(main, ["--against", str(tmp_path), "--rounds", "3"])
    assert done.exit_code == 0, done.output
    assert turns == ["this", "other", "other", "this", "this", "other"]


def test_a_part_that_is_not_there_is_refused() -> None:
    done = CliRunner().invoke(main, ["--only", "kernels"])
    assert done.exit_code == 2
    assert "kernels; allowed: pack, in process, ray, tasks, fits, commands, controllers" in done.output
