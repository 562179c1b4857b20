"""How far a search has come, by its journal or by its rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dvq_ray.execution.pack import failed_row
from dvq_ray.search.history import SearchCoverage, search_coverage
from dvq_ray.search.identity import study_name
from dvq_ray.store import Store
from dvq_ray.store.provenance import Run
from dvq_ray.sweep.cells import Point
from dvq_ray.sweep.spec import SweepSpec, parse_sweep
from tests.sweep_files import SEARCH

RUN = Run(run_id="0" * 32, sweep="tiny", commit="abc")


def covered(store: Store, spec: SweepSpec) -> SearchCoverage:
    assert spec.search is not None
    return search_coverage(spec.name, spec.search, store, SEARCH)


def searched_row(spec: SweepSpec, number: int, seed: int, slices: int, **changes: Any) -> dict[str, Any]:
    assert spec.search is not None
    point = Point(experiment=spec.experiment, settings=spec.search.settings({"slices": slices}))
    cell = point.cell(seed)
    row = {**failed_row(cell, RUN, "error", "boom"), "search_suggestion": number}
    return {**row, "status": "ok", "error": None, "test_mse": 1.0, **changes}


def test_suggestions_of_a_search_are_counted_by_their_state(tmp_path: Path) -> None:
    store, spec = Store(tmp_path / "tiny"), parse_sweep(SEARCH, "tiny.yaml")
    assert spec.search is not None
    study = study_name(spec.name, spec.search)
    rows = [
        searched_row(spec, 0, 0, 1),
        searched_row(spec, 0, 1, 1),
        searched_row(spec, 1, 0, 2, status="stopped", test_mse=None, search_study=study),
        searched_row(spec, 2, 0, 4),
        searched_row(spec, 3, 2, 1, test_mse=float("nan")),  # a repetition more, which came to nothing
        searched_row(spec, 0, 0, 1, search_suggestion=4, cell_id="f" * 16, point_id="f" * 16, dimension=8),
    ]
    for row in rows:
        store.write_cell(spec.experiment, row, [])
    found = covered(store, spec)
    assert found.suggestions == {"complete": 1, "stopped early": 1, "failed": 1, "underway": 1}
    assert (found.wanted, found.repetitions, found.unwanted) == (5, 2, 1)
    assert found.sweep_text == SEARCH


def test_a_search_that_has_no_row_yet_has_no_suggestions(tmp_path: Path) -> None:
    store, spec = Store(tmp_path / "tiny"), parse_sweep(SEARCH, "tiny.yaml")
    found = covered(store, spec)
    assert sum(found.suggestions.values()) == found.unwanted == 0
