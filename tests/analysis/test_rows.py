from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from analysis.data.points import plain
from analysis.data.rows import load_rows
from dvq_ray.store import Store, StoreError
from tests.analysis import made_up_images as images
from tests.analysis.made_up import rows, write

POINT = {"quantizer": "vq", "dimension": 8, "codebook_size": 16, "factors": 64}


def test_stores_are_put_together_and_the_first_row_of_a_cell_stands(tmp_path: Path) -> None:
    first = write(tmp_path / "first", ({**row, "test_mse": 1.0} for row in rows([0, 1], **POINT)))
    second = write(tmp_path / "second", ({**row, "test_mse": 2.0} for row in rows([1, 2], **POINT)))
    loaded = load_rows([first, second])
    assert dict(zip(loaded.frame["seed"], loaded.frame["test_mse"], strict=True)) == {0: 1.0, 1: 1.0, 2: 2.0}
    assert loaded.notes == (f"1 cells of {second} are in {first} too; the rows of {first} stand",)


def test_order_of_disjoint_stores_does_not_change_the_rows(tmp_path: Path) -> None:
    one, two = (write(tmp_path / str(i), rows([i, i + 2], **POINT)) for i in range(2))
    assert load_rows([one, two]).frame.equals(load_rows([two, one]).frame)


def test_a_kept_value_keeps_quantizers_that_have_no_such_field(tmp_path: Path) -> None:
    kmeans = rows(2, **{**POINT, "quantizer": "kmeans"})
    store = write(tmp_path, [*rows(2, **POINT, learning_rate=[0.1, 0.3]), *kmeans])
    frame = load_rows([store], {"learning_rate": "0.3"}).frame
    assert sorted(zip(frame["quantizer"], plain(frame)["learning_rate"].fillna(0.0), strict=True)) == [
        ("kmeans", 0.0),
        ("kmeans", 0.0),
        ("vq", 0.3),
        ("vq", 0.3),
    ]


def test_settings_are_held_as_categories_and_come_back_as_the_numbers_that_were_stored(tmp_path: Path) -> None:
    kmeans = rows(2, **{**POINT, "quantizer": "kmeans"})
    store = write(tmp_path, [*rows(2, **{**POINT, "dimension": [8, 16]}, learning_rate=[0.1, 0.3]), *kmeans])
    stored = Store(store).load()
    for loaded in (load_rows([store]), load_rows([store, write(tmp_path / "other", rows([7], **POINT))])):
        held = loaded.frame[loaded.frame["cell_id"].isin(stored["cell_id"])].reset_index(drop=True)
        assert {str(held[name].dtype) for name in ("dimension", "learning_rate", "steps")} == {"category"}
        for name in ("dimension", "learning_rate", "steps", "factors", "slices"):
            pd.testing.assert_series_equal(plain(held)[name], stored[name], check_exact=True)
            assert plain(held)[name].dtype == loaded.points("static_prior").heads[name].dtype


@pytest.mark.parametrize(
    ("only", "message"),
    [
        ({"learning_rate": "0.2"}, "stored: 0.3"),
        ({"schedule": "linear"}, "stored: cosine"),
        ({"learning_rate": "fast"}, "no row has it"),
        ({"colour": "red"}, "no column 'colour'"),
    ],
)
def test_keeping_what_is_not_stored_is_an_error(tmp_path: Path, only: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_rows([write(tmp_path, rows(2, **POINT))], only)


def test_missing_and_empty_stores_are_errors_that_name_them(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"nowhere is not a store"):
        load_rows([str(tmp_path / "nowhere")])
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "sweep.yaml").write_text("name: begun\n")
    with pytest.raises(StoreError, match=r"begun holds no cells yet"):
        load_rows([str(tmp_path / "begun")])


def test_curves_and_files_come_from_the_store_whose_row_stands(tmp_path: Path) -> None:
    first = images.sweep(images.SMALL[:1], [0, 1])
    second = [{**row, "reconstruction_bits_per_dim": 7.0} for row in images.sweep(images.SMALL[:1], [1, 2])]
    loaded = load_rows([images.write(tmp_path / "first", first), images.write(tmp_path / "second", second)])
    ids = {int(row["seed"]): str(row["cell_id"]) for row in (*first, *second)}
    curves = loaded.load_curves([ids[1], ids[2]], ["reconstruction_bits_per_dim"])
    last = curves.groupby("cell_id")["reconstruction_bits_per_dim"].last()
    assert set(last.index) == {ids[1], ids[2]}
    assert last[ids[1]] == pytest.approx(first[1]["reconstruction_bits_per_dim"], abs=0.1)
    assert last[ids[2]] == pytest.approx(7.0, abs=0.1)
    assert loaded.read_artifact(ids[0], images.PICTURE) == images.picture(first[0])
    assert loaded.read_artifact(ids[0], "other.png") is None
    assert loaded.read_artifact("0" * 16, images.PICTURE) is None
