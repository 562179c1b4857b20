"""What the columns of a store take: any text, and no value that they would change."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dvq_ray.experiment.registry import find_experiment
from dvq_ray.store import Store
from dvq_ray.store.columns import MisfitError, cell_table, curve_table

EXPERIMENT = find_experiment("static_prior")
ROW = {"cell_id": "a", "status": "error", "run_id": "run", "run_started_at": datetime(2026, 1, 1, tzinfo=UTC)}
TEXTS = ("point_id", "sweep", "error", "run_commit", "run_versions", "run_host", "run_device", "quantizer")


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("bytes \udce4 of a name", r"bytes \xe4 of a name"),
        (b"z\xe4\xff.png".decode(errors="surrogateescape"), r"z\xe4\xff.png"),
        ("half a character \ud83d", r"half a character \ud83d"),
        ("nothing \0, colour \x1b[31m, ä, 🙂", "nothing \0, colour \x1b[31m, ä, 🙂"),
        ("", ""),
        (None, None),
    ],
)
def test_any_text_can_be_stored(tmp_path: Path, text: str | None, stored: str | None) -> None:
    store = Store(tmp_path)
    for cell_id in ("a", "b"):
        store.write_cell(EXPERIMENT, {**ROW, "cell_id": cell_id, **dict.fromkeys(TEXTS, text)}, ())
    store.merge()
    found = store.table([*TEXTS])
    assert found is not None
    assert found.to_pylist() == [dict.fromkeys(TEXTS, stored)] * 2


@settings(max_examples=200, derandomize=True, deadline=None)
@given(st.text(st.characters(exclude_categories=[]), max_size=40))
def test_a_text_keeps_all_of_its_characters(text: str) -> None:
    (found,) = cell_table(EXPERIMENT, [{**ROW, "error": text}])["error"].to_pylist()
    halves = [character for character in text if "\ud800" <= character <= "\udfff"]
    if halves:
        rest = [character for character in text if character not in halves and not character.isascii()]
        assert [character for character in found if not character.isascii()] == rest
        assert found.count("\\") >= len(halves)
    else:
        assert found == text


@pytest.mark.parametrize("value", [3, 3.0, np.int64(3), np.uint8(3), np.float32(3)])
def test_numbers_of_numpy_are_numbers(value: Any) -> None:
    assert cell_table(EXPERIMENT, [{**ROW, "seed": value, "test_mse": value}]).to_pylist()[0]["seed"] == 3


def test_numbers_that_are_not_finite_are_kept() -> None:
    values = cell_table(EXPERIMENT, [{**ROW, "test_mse": value} for value in (math.nan, math.inf, -math.inf, None)])
    nan, *others = values["test_mse"].to_pylist()
    assert math.isnan(nan)
    assert others == [math.inf, -math.inf, None]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("seed", 2**63), ("seed", -(2**63) - 1), ("seed", 10**30), ("seed", 1.5), ("seed", np.float32(1.5)),
        ("seed", math.nan), ("seed", math.inf), ("seed", "3"), ("seed", True), ("seed", 1e22), ("seed", [1]),
        ("codes_used", [1.5]), ("codes_used", (1, 2**63)), ("codes_used", np.array([0.5])), ("codes_used", 3),
        ("perplexity", [[1.0]]), ("perplexity", ["a"]), ("perplexity", 1.0), ("test_mse", 10**400), ("test_mse", "low"),
        ("test_mse", 2**60 + 1), ("test_mse", 1j), ("test_mse", np.array([1.0, 2.0])), ("error", 3),
        ("error", ValueError("x")), ("error", b"\xff"), ("run_started_at", "today"),
    ],
)  # fmt: skip
def test_a_value_that_a_column_would_change_or_cannot_take_is_named(tmp_path: Path, name: str, value: Any) -> None:
    with pytest.raises(MisfitError, match=f"the column {name} holds .*, and cannot hold "):
        Store(tmp_path).write_cell(EXPERIMENT, {**ROW, name: value}, ())
    assert not list(tmp_path.rglob("*.parquet"))


def test_a_value_of_a_curve_is_named_too_and_nothing_is_written(tmp_path: Path) -> None:
    for step in (2**63, 1.5, "a"):
        with pytest.raises(MisfitError, match=r"the column step holds .*, and cannot hold "):
            curve_table(EXPERIMENT, [(ROW, [{"step": 0}, {"step": step}])])
        with pytest.raises(MisfitError):
            Store(tmp_path).write_cell(EXPERIMENT, ROW, [{"step": step}])
    assert not list(tmp_path.rglob("*.parquet"))
