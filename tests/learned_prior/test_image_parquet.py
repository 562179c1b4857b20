from __future__ import annotations

import io
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from dvq_ray.experiments.learned_prior import image_parquet
from dvq_ray.experiments.learned_prior.image_parquet import ParquetImages
from dvq_ray.experiments.learned_prior.images import check, load_images
from dvq_ray.experiments.learned_prior.sources import ImagesError, ParquetSource
from tests.learned_prior.memory import ON_LINUX, taking_less_than

SIZE = 8
CASES = Path(__file__).parents[2].parent / "shared" / "cases"
HUB = pa.struct({"bytes": pa.binary(), "path": pa.string()})
"""A table of images, as Hugging Face's `datasets` writes them."""


def encoded(seed: int, size: tuple[int, int] = (SIZE, SIZE)) -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def write(path: Path, values: list[Any], kind: pa.DataType | None = None, **options: Any) -> Path:
    pq.write_table(pa.table({"image": pa.array(values, kind or pa.binary())}), path, **options)
    return path


def source(tmp_path: Path, train: Path, *, uri: bool = False) -> ParquetSource:
    test = write(tmp_path / "test.parquet", [encoded(1000)])
    return ParquetSource(train=train.as_uri() if uri else str(train), test=str(test))


def message_of(described: ParquetSource) -> str:
    with pytest.raises(ImagesError) as caught:
        check(described, SIZE, "mine")
    return str(caught.value)


@pytest.mark.parametrize("uri", [False, True])
@pytest.mark.parametrize("missing", [0, 1, 150, 299])
def test_a_path_in_place_of_an_image_is_named_with_its_column_and_what_to_do(
    missing: int, uri: bool, tmp_path: Path
) -> None:
    values: list[Any] = [{"bytes": encoded(i), "path": None} for i in range(300)]
    values[missing] = {"bytes": None, "path": "/data/cat.png"}
    described = source(tmp_path, write(tmp_path / "train.parquet", values, HUB, row_group_size=70), uri=uri)
    message = message_of(described)
    where = f"{described.train}, column image, row {missing} (from 0)"
    assert f"mine: {where}: expected an encoded image; found null bytes, and in image.path /data/cat.png. " in message
    assert "The column holds paths in place of images. Write the files' bytes into it" in message
    with pytest.raises(ImagesError, match="found null bytes, and in image"):
        load_images(described, SIZE)


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), HUB, pa.struct({"bytes": pa.binary()})], ids=str)
@pytest.mark.parametrize("uri", [False, True])
def test_a_null_is_found_before_the_start(uri: bool, kind: pa.DataType, tmp_path: Path) -> None:
    values: list[Any] = [encoded(i) for i in range(5)]
    if pa.types.is_struct(kind):
        values = [{"bytes": value} for value in values]
    train = write(tmp_path / "train.parquet", [*values, None], kind)
    message = message_of(source(tmp_path, train, uri=uri))
    assert "train.parquet, column image, row 5 (from 0): expected an encoded image; found null" in message


def test_nulls_of_a_large_column_are_found_without_reading_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_parquet, "MOST_CHECKED_BYTES", 1000)
    values = [encoded(i) for i in range(200)]
    values[120:122] = [b"no image", None]  # type: ignore[list-item]
    message = message_of(source(tmp_path, write(tmp_path / "train.parquet", values, row_group_size=50)))
    assert message.splitlines() == [
        f"mine: {tmp_path}/train.parquet, column image, row 121 (from 0): expected an encoded image; found null"
    ]


def test_the_headers_of_all_rows_are_checked(tmp_path: Path) -> None:
    values = [encoded(i) for i in range(300)]
    values[200:203] = [encoded(0, (9, 8)), b"no image", encoded(0, (4, 5))]
    lines = message_of(source(tmp_path, write(tmp_path / "train.parquet", values, row_group_size=64))).splitlines()
    assert len(lines) == 2
    assert "train.parquet: 2 of 300 images: expected an image of 8x8 pixels; found 9x8 (width x height) in" in lines[0]
    assert "row 200 (from 0), 4x5 (width x height) in " in lines[0]
    assert "row 201 (from 0): expected a JPEG, PNG" in lines[1]


def test_rows_of_all_sizes_are_fitted(tmp_path: Path) -> None:
    train = write(tmp_path / "train.parquet", [encoded(i, (8 + i, 20 - i)) for i in range(6)])
    described = source(tmp_path, train).model_copy(update={"fit": "crop"})
    check(described, SIZE, "mine")
    assert load_images(described, SIZE).train.shape == (6, 3, SIZE, SIZE)


@pytest.mark.parametrize("hidden", ["._train-0.parquet", ".train-1.parquet"])
def test_a_pattern_matches_no_hidden_file(hidden: str, tmp_path: Path) -> None:
    write(tmp_path / "train-0.parquet", [encoded(0)])
    (tmp_path / hidden).write_bytes(b"\0\5\x16\7 Mac OS X")
    for pattern in ("*.parquet", "*-*.parquet", "*"):
        (path,) = ParquetImages(str(tmp_path / pattern), "image").files().values()
        assert path == str(tmp_path / "train-0.parquet")


def test_a_folder_in_place_of_a_file_is_an_error_that_says_what_to_write(tmp_path: Path) -> None:
    described = source(tmp_path, tmp_path)
    assert f"mine: {tmp_path}: expected a Parquet file; found a folder. Write {tmp_path}/*.parquet" in message_of(
        described
    )


@pytest.mark.parametrize("name", ["a\0b.parquet", "x" * 300 + ".parquet", "*\0.parquet"])
def test_a_name_that_no_file_has_is_an_error(name: str, tmp_path: Path) -> None:
    test = write(tmp_path / "test.parquet", [encoded(0)])
    described = ParquetSource(train=f"{tmp_path}/{name}", test=str(test))
    assert "expected a Parquet file; found" in message_of(described)


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "train-0.parquet", [encoded(0), encoded(1)])
    write(tmp_path / "test.parquet", [encoded(2)])
    monkeypatch.setenv("HOME", str(tmp_path))
    described = ParquetSource(train="~/train-*.parquet", test="~/test.parquet")
    check(described, SIZE, "mine")
    assert len(load_images(described, SIZE).train) == 2


@pytest.mark.parametrize("name", ["mask_first", "mask_last", "path_first"])
@pytest.mark.skipif(not CASES.is_dir(), reason="the shared cases are not on this machine")
def test_columns_with_dots_in_their_names_are_told_apart(name: str) -> None:
    path = CASES / "33-dotted-columns" / f"{name}.parquet"
    expected = pq.read_table(path).column("image").to_pylist()
    assert list(ParquetImages(str(path), "image").encoded()) == expected


@ON_LINUX
def test_a_small_file_that_becomes_large_takes_no_memory(tmp_path: Path) -> None:
    """A page of zeros, and one image of many bytes that a dictionary repeats."""
    zeros = pa.table({"image": pa.array([bytes(70_000_000)], pa.binary())})
    pq.write_table(zeros, tmp_path / "zeros.parquet", compression="zstd", use_dictionary=False, write_statistics=False)
    noise = pa.array([np.random.default_rng(0).bytes(500_000)], pa.binary())
    repeated = pa.table({"image": pa.DictionaryArray.from_arrays(np.zeros(2000, np.int32), noise)})
    pq.write_table(repeated, tmp_path / "repeated.parquet", store_schema=False)
    assert (tmp_path / "repeated.parquet").stat().st_size < 1_000_000
    for name, found in {"zeros": "that become 70,", "repeated": "500,000 bytes that do not decode"}.items():
        path = str(tmp_path / f"{name}.parquet")
        bomb = ParquetSource(train=path, test=path, overlap="allowed")
        for look in (partial(check, name="mine"), load_images):
            with taking_less_than(400_000), pytest.raises(ImagesError) as raised:
                look(bomb, 8)
            assert all(found in line for line in str(raised.value).splitlines())
