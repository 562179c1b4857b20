"""`python -m analysis` of a store on object storage: what it makes of the same rows in a folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dvq_ray.store import Store
from tests.analysis.command_line import ALWAYS, analysis, undrawn
from tests.analysis.made_up import STATIC_PRIOR, rows, write
from tests.object_storage import PASSING, ObjectStorage, serving

POINTS = {"quantizer": "vq", "dimension": [2, 4, 8, 16, 32, 64, 128, 256], "codebook_size": 16, "factors": 4096}
ITEMS = undrawn(["figure3a"])


@pytest.fixture(scope="module")
def s3() -> Iterator[ObjectStorage]:
    with serving() as server:
        yield server


@pytest.mark.long
def test_a_store_on_object_storage_gives_the_files_of_one_in_a_folder(s3: ObjectStorage, tmp_path: Path) -> None:
    here, there = Store(tmp_path / "store"), Store.under(s3.uri(), "store")
    write(tmp_path / "store", rows(2, **POINTS))
    for row in rows(2, **POINTS):
        there.write_cell(STATIC_PRIOR, row, ())
    there.merge()
    folders = []
    for number, store in enumerate((here, there)):
        folders.append(tmp_path / str(number))
        with s3.failing(*PASSING, every=7):
            result = analysis(store.location, "--out", folders[-1], "--allow-missing", items=ITEMS)
        assert result.exit_code == 0, result.output
    names = [sorted(path.name for path in folder.iterdir()) for folder in folders]
    assert names[0] == names[1]
    assert {"figure3a.csv", *ALWAYS} <= {*names[0]}
    assert (folders[0] / "figure3a.csv").read_bytes() == (folders[1] / "figure3a.csv").read_bytes()
    assert (folders[0] / "claims.csv").read_bytes() == (folders[1] / "claims.csv").read_bytes()
    assert "s3://bucket/" in (folders[1] / "report.html").read_text()


def test_a_store_on_object_storage_needs_a_folder_to_draw_to(s3: ObjectStorage) -> None:
    result = analysis(s3.uri("store"))
    assert result.exit_code == 2
    assert "--out is needed" in result.output


@pytest.mark.parametrize("denied", [True, False])
def test_a_store_that_cannot_be_reached_is_reported_in_one_line(
    s3: ObjectStorage, tmp_path: Path, denied: bool
) -> None:
    with s3.failing("denied", times=None if denied else 0):
        result = analysis(s3.uri("nowhere"), "--out", tmp_path / "figures", items=ITEMS)
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert ("access is denied" if denied else "is not a store") in line
    assert not (tmp_path / "figures").exists()
