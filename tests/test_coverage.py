from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from dvq_ray.execution.pack import failed_row
from dvq_ray.problems import SweepFileError
from dvq_ray.store import Store
from dvq_ray.store.provenance import Run
from dvq_ray.sweep.cells import Point, expand
from dvq_ray.sweep.coverage import Coverage, SearchCoverage, coverage, searched_rows, suggested
from dvq_ray.sweep.plan import GridCount
from dvq_ray.sweep.spec import SweepSpec, parse_sweep
from tests.sweep_files import SEARCH, TINY

RUN = Run(run_id="0" * 32, sweep="tiny", commit="abc")


def test_a_store_without_a_sweep_file_has_no_coverage(tmp_path: Path) -> None:
    assert coverage(Store(tmp_path / "tiny")) is None


def test_cells_are_counted_by_grid_and_state(tmp_path: Path) -> None:
    store, spec = Store(tmp_path / "tiny"), parse_sweep(TINY, "tiny.yaml")
    cells, ids = expand(spec)
    store.write_sweep(TINY)
    done, failed = cells[0], next(cell for cell in cells if cell.cell_id in ids["slices"])
    row = {**failed_row(done, RUN, "error", ""), "status": "ok", "error": None}
    store.write_cell(spec.experiment, row, [])
    store.write_cell(spec.experiment, failed_row(failed, RUN, "error", "boom"), [])
    stranger = replace(done, cell_id="f" * 16)
    store.write_cell(spec.experiment, failed_row(stranger, RUN, "error", "boom"), [])
    found = coverage(store)
    assert isinstance(found, Coverage)
    assert found.grids == [
        GridCount(name="plain", done=1, failed=0, missing=3),
        GridCount(name="slices", done=0, failed=1, missing=3),
    ]
    assert (found.wanted, found.missing, found.unwanted) == (8, 6, 1)
    assert found.sweep_text == TINY


def test_a_sweep_file_that_is_none_any_more_is_told_with_its_place(tmp_path: Path) -> None:
    store = Store(tmp_path / "tiny")
    store.write_sweep(TINY.replace("steps: 20", "stepps: 20"))
    with pytest.raises(SweepFileError, match=r"tiny/sweep\.yaml:4.*stepps"):
        coverage(store)


@pytest.mark.parametrize("size", [1 << 19, 1 << 20])
def test_a_foreign_sweep_file_that_is_too_large_is_rejected(tmp_path: Path, size: int) -> None:
    store = Store(tmp_path / "tiny")
    store.write_sweep(f"{TINY}#{'-' * size}\n")
    with pytest.raises(SweepFileError, match=r"tiny/sweep\.yaml: is too large; allowed: at most 524,288 bytes"):
        coverage(store)


def test_a_foreign_sweep_file_of_too_many_cells_is_rejected(tmp_path: Path) -> None:
    store = Store(tmp_path / "tiny")
    store.write_sweep(TINY.replace("seeds: 2", "seeds: 1000000\nmax_cells: 9000000000000"))
    with pytest.raises(SweepFileError, match="max_cells: found 9000000000000; allowed: less than"):
        coverage(store)


def searched_row(spec: SweepSpec, number: int, seed: int, slices: int, **changes: Any) -> dict[str, Any]:
    assert spec.search is not None
    point = Point(experiment=spec.experiment, settings=spec.search.settings({"slices": slices}))
    cell = point.cell(seed)
    row = {**failed_row(cell, RUN, "error", "boom"), "search_suggestion": number}
    return {**row, "status": "ok", "error": None, "test_mse": 1.0, **changes}


def test_suggestions_of_a_search_are_counted_by_their_state(tmp_path: Path) -> None:
    store, spec = Store(tmp_path / "tiny"), parse_sweep(SEARCH, "tiny.yaml")
    store.write_sweep(SEARCH)
    rows = [
        searched_row(spec, 0, 0, 1),
        searched_row(spec, 0, 1, 1),
        searched_row(spec, 1, 0, 2, status="stopped", test_mse=None),
        searched_row(spec, 2, 0, 4),
        searched_row(spec, 3, 2, 1, test_mse=float("nan")),  # a repetition more, which came to nothing
        searched_row(spec, 0, 0, 1, search_suggestion=4, cell_id="f" * 16, point_id="f" * 16, dimension=8),
    ]
    for row in rows:
        store.write_cell(spec.experiment, row, [])
    found = coverage(store)
    assert isinstance(found, SearchCoverage)
    assert found.suggestions == {"complete": 1, "stopped early": 1, "failed": 1, "underway": 1}
    assert (found.wanted, found.repetitions, found.unwanted) == (5, 2, 1)
    assert found.sweep_text == SEARCH


def test_a_search_that_has_no_row_yet_has_no_suggestions(tmp_path: Path) -> None:
    store = Store(tmp_path / "tiny")
    store.write_sweep(SEARCH)
    found = coverage(store)
    assert isinstance(found, SearchCoverage)
    assert sum(found.suggestions.values()) == found.unwanted == 0


def test_a_suggestion_that_failed_and_was_tried_again_counts_as_failed() -> None:
    spec = parse_sweep(SEARCH, "tiny.yaml")
    assert spec.search is not None
    rows = pd.DataFrame([searched_row(spec, 0, 0, 1), searched_row(spec, 1, 1, 1)])
    first, second = suggested(searched_rows(rows, spec.search), spec.search)
    assert (first.state, first.cell_ids, second.state, second.repeats) == ("failed", (), "complete", False)
    assert second.cell_ids == tuple(rows["cell_id"])
