"""The committed figures are what the committed rows give, to the byte."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

from analysis.__main__ import main as analysis
from dvq_ray.cells import expand
from dvq_ray.spec import load_sweep

ROOT = Path(__file__).parents[1]
REFERENCE = Path("results", "reference")
STORES = sorted(path.parent.name for path in (ROOT / REFERENCE).glob("*/sweep.yaml"))


@pytest.mark.parametrize("name", STORES)
def test_committed_figures_are_regenerated_byte_for_byte(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    committed = sorted((REFERENCE / name / "figures").iterdir())
    assert committed
    result = CliRunner().invoke(analysis, [str(REFERENCE / name), "--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in tmp_path.iterdir()) == [path.name for path in committed]
    for path in committed:
        assert (tmp_path / path.name).read_bytes() == path.read_bytes(), path


@pytest.mark.parametrize("name", STORES)
def test_a_committed_store_holds_every_cell_of_its_sweep_file_and_no_other(name: str) -> None:
    cells, _ = expand(load_sweep(ROOT / "sweeps" / f"{name}.yaml"))
    frame = pd.read_parquet(ROOT / REFERENCE / name / "cells")
    assert set(frame["status"]) == {"ok"}
    assert sorted(frame["cell_id"]) == sorted(cell.cell_id for cell in cells)
