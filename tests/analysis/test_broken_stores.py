"""What `python -m analysis` says of stores that are not as a sweep writes them: one line that names the file."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from analysis.__main__ import main
from analysis.data.rows import load_rows
from tests.analysis.made_up import rows, write

POINT = {"quantizer": "vq", "dimension": 8, "codebook_size": 16, "factors": 64}
"""Holds no item's points but those of figure 3a."""


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return Path(write(tmp_path / "store", rows(3, **POINT)))


def only_file(store: Path) -> Path:
    (path,) = (store / "cells").iterdir()
    return path


def refusal(*stores: Path) -> str:
    """The one line that is printed."""
    result = CliRunner().invoke(main, [*map(str, stores), "--needs", "figure3a"])
    assert result.exit_code == 2, result.output
    (line,) = result.stderr.splitlines()
    return line


def test_a_file_that_is_cut_off_is_named(store: Path) -> None:
    path = store / "cells" / "half.parquet"
    path.write_bytes(only_file(store).read_bytes()[:1000])
    assert refusal(store).startswith(f"{path} cannot be read")


@pytest.mark.parametrize("alone", [True, False])
def test_a_file_of_something_else_is_named(store: Path, alone: bool) -> None:
    if alone:
        only_file(store).unlink()
    path = store / "cells" / "weather.parquet"
    pq.write_table(pa.table({"city": ["Bern"], "degrees": [3.5]}), path)
    assert refusal(store) == f"{path} is not a file of a store: it has no column cell_id, status, run_started_at"


@pytest.mark.parametrize("alone", [True, False])
def test_a_column_of_another_type_is_named_with_its_file(store: Path, alone: bool) -> None:
    held = only_file(store)
    table = pq.read_table(held)
    place = table.schema.get_field_index("seed")
    path = store / "cells" / "zzz.parquet"
    pq.write_table(table.set_column(place, "seed", pa.array(["one", "two", "three"])), path)
    if alone:
        held.unlink()
    assert refusal(store) == f"{path}: the column seed holds string, and should hold int64"


def test_a_store_without_cells_is_distinguished_from_a_folder_that_is_not_a_store(tmp_path: Path, store: Path) -> None:
    assert refusal(tmp_path / "nowhere").endswith("nowhere is not a store: there is no cells/*.parquet in it")
    path = only_file(store)
    pq.write_table(pq.read_table(path).slice(0, 0), path)
    assert refusal(store) == f"{store} holds no cells yet"


def test_a_file_without_rows_does_no_harm(store: Path) -> None:
    before = load_rows([str(store)]).frame
    pq.write_table(pq.read_table(only_file(store)).slice(0, 0), store / "cells" / "empty.parquet")
    pd.testing.assert_frame_equal(load_rows([str(store)]).frame, before)


def test_cells_of_an_older_version_lack_what_it_did_not_measure_and_more_columns_do_no_harm(store: Path) -> None:
    path = only_file(store)
    old = pq.read_table(path).drop_columns(["data_variance", "untrained_test_mse", "run_device", "schedule"])
    pq.write_table(old.append_column("given_up", pa.array([1, 2, 3])), path)
    (alone,) = load_rows([str(store)]).frame["data_variance"].unique()
    assert pd.isna(alone)
    newer = Path(write(store.parent / "newer", rows(3, **{**POINT, "dimension": 16})))
    only_file(newer).rename(store / "cells" / "newer.parquet")
    result = CliRunner().invoke(main, [str(store), "--needs", "figure3a"])
    assert result.exit_code == 1, result.output
    assert "vq dimension=8: seeds 0-2 without a finite data_variance" in result.output
    assert CliRunner().invoke(main, [str(store), "--needs", "claims"]).exit_code == 1


def test_cells_of_another_revision_are_other_cells_and_never_pooled(tmp_path: Path) -> None:
    old = [
        {**row, "revision": row["revision"] + 1, "cell_id": row["cell_id"][::-1], "point_id": row["point_id"][::-1]}
        for row in rows([3, 4], **POINT)
    ]
    store = write(tmp_path / "store", [*rows(3, **POINT), *old])
    loaded = load_rows([store])
    assert len(loaded.frame) == 5
    result = CliRunner().invoke(main, [store, "--needs", "figure3a"])
    assert result.exit_code == 1
    assert "unequal revision: 1 (vq); 2 (vq)" in result.output
    assert "keep one with --only revision=" in result.output


def test_of_two_stores_with_the_same_cell_the_first_named_stands_and_it_is_said(tmp_path: Path, store: Path) -> None:
    other = write(tmp_path / "other", rows([2, 3], **POINT))
    result = CliRunner().invoke(main, [str(store), other, "--needs", "figure3a"])
    assert f"1 cells of {other} are in {store} too; the rows of {store} stand" in result.output
