from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dvq_ray.execution.pack import failed_row
from dvq_ray.problems import SweepFileError
from dvq_ray.store import Store
from dvq_ray.store.provenance import Run
from dvq_ray.sweep.cells import expand
from dvq_ray.sweep.coverage import Coverage, coverage
from dvq_ray.sweep.plan import GridCount
from dvq_ray.sweep.spec import parse_sweep
from tests.sweep_files import TINY

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


def test_a_sweep_file_that_has_become_invalid_is_reported_with_its_place(tmp_path: Path) -> None:
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
