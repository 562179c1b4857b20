from __future__ import annotations

import hashlib
import io
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from PIL import Image

from dvq_ray.experiments.learned_prior.images import check, load_images
from dvq_ray.experiments.learned_prior.sources import EncodedSource, FolderSource, ImagesError, ParquetSource
from dvq_ray.experiments.learned_prior.train_test_split import is_held_out

SIZE = 8


@pytest.fixture(autouse=True)
def nothing_remembered() -> Iterator[None]:
    load_images.cache_clear()
    yield
    load_images.cache_clear()


def encoded(seed: int, form: str = "PNG", **options: int) -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, form, **options)
    return file.getvalue()


def put(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def folder(path: Path, contents: Sequence[bytes]) -> str:
    for i, content in enumerate(contents):
        put(path / f"{i:03}.png", content)
    return str(path)


def parquet(path: Path, contents: Sequence[bytes]) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"image": contents}), path.with_suffix(".parquet"))
    return str(path.with_suffix(".parquet"))


def described(
    form: str, tmp_path: Path, train: Sequence[bytes], test: Sequence[bytes], **options: object
) -> EncodedSource:
    write = folder if form == "folder" else parquet
    kind = FolderSource if form == "folder" else ParquetSource
    paths = {"train": write(tmp_path / "train", train), "test": write(tmp_path / "test", test)}
    return kind.model_validate({**paths, **options})


def message_of(look: Callable[[], object]) -> str:
    with pytest.raises(ImagesError) as caught:
        look()
    return str(caught.value)


def both_messages(source: EncodedSource) -> tuple[str, str]:
    return message_of(lambda: check(source, SIZE, "mine")), message_of(lambda: load_images(source, SIZE))


REMEDY = "Remove them from one of the two, or write overlap: allowed if they are meant to be in both"

# Overlap


@pytest.mark.parametrize("form", ["folder", "parquet"])
def test_the_same_place_for_training_and_testing_is_an_error(form: str, tmp_path: Path) -> None:
    source = described(form, tmp_path, [encoded(i) for i in range(8)], [encoded(9)])
    source = source.model_copy(update={"test": source.train})
    by_check, by_loading = both_messages(source)
    files = "8 of 8 that are: " if form == "folder" else f"1 of 1 that are: {source.train}"
    assert f"mine: {source.train}: expected test files that are not among the train files; found {files}" in by_check
    assert by_check.endswith(REMEDY)
    assert "found 8 of 8 that are: " in by_loading


@pytest.mark.parametrize("layout", ["test in train", "train in test", "link", "linked files", "by another path"])
def test_a_file_on_both_sides_is_an_error_whatever_its_path(layout: str, tmp_path: Path) -> None:
    train, test = tmp_path / "data", tmp_path / "data" / "test"
    folder(train, [encoded(i) for i in range(3)])
    folder(test, [encoded(10 + i) for i in range(2)])
    if layout == "train in test":
        train, test = test, train
    elif layout == "link":
        (tmp_path / "link").symlink_to(test)
        test = tmp_path / "link"
    elif layout == "linked files":
        train = tmp_path / "linked"
        folder(train, [encoded(50)])
        (train / "a.png").symlink_to(test / "001.png")
    elif layout == "by another path":
        test = tmp_path / "data" / ".." / "data" / "test"
    message = message_of(lambda: check(FolderSource(train=str(train), test=str(test)), SIZE, "mine"))
    count = {"train in test": "2 of 5", "linked files": "1 of 2"}.get(layout, "2 of 2")
    assert f"expected test files that are not among the train files; found {count} that are: {test}/" in message
    if layout == "linked files":
        assert f"{test}/001.png = {train}/a.png. {REMEDY}" in message


def test_a_pattern_that_matches_the_test_file_too_is_an_error(tmp_path: Path) -> None:
    described("parquet", tmp_path, [encoded(i) for i in range(3)], [encoded(10)])
    for pattern in ("*.parquet", "t*t*.parquet", "*"):
        source = ParquetSource(train=str(tmp_path / pattern), test=str(tmp_path / "te*.parquet"))
        message = message_of(lambda source=source: check(source, SIZE, "mine"))  # type: ignore[misc]
        assert f"found 1 of 1 that are: {tmp_path}/test.parquet. {REMEDY}" in message


@pytest.mark.parametrize("form", ["folder", "parquet"])
def test_equal_files_under_other_names_are_an_error_before_the_start(form: str, tmp_path: Path) -> None:
    train = [encoded(i) for i in range(6)]
    by_check, by_loading = both_messages(described(form, tmp_path, train, [encoded(50), train[4], train[2], train[2]]))
    for message in (by_check, by_loading):
        assert "expected test images that are not among the train images; found 3 of 4 that are: " in message
    pair = (
        "test/001.png = {}/train/004.png"
        if form == "folder"
        else "row 1 (from 0) = {}/train.parquet, column image, row 4"
    )
    assert pair.format(tmp_path) in by_check


def test_large_files_that_begin_alike_are_compared_to_their_ends(tmp_path: Path) -> None:
    trailer = bytes(100_000)
    train = [encoded(1) + trailer + b"a", encoded(2) + trailer + b"b"]
    check(described("folder", tmp_path, train, [encoded(3) + trailer + b"c"]), SIZE, "mine")
    source = described("folder", tmp_path / "other", train, [train[0][:-1] + b"c", train[1]])
    assert "found 1 of 2 that are: " in message_of(lambda: check(source, SIZE, "mine"))


@pytest.mark.parametrize("form", ["folder", "parquet"])
def test_equal_pixels_in_other_files_are_an_error_of_the_cells(form: str, tmp_path: Path) -> None:
    train = [encoded(i) for i in range(3)]
    source = described(form, tmp_path, train, [encoded(1, "PNG", compress_level=0), encoded(2, "BMP"), encoded(7)])
    check(source, SIZE, "mine")
    message = message_of(lambda: load_images(source, SIZE))
    assert message.startswith(
        f"{source.test}: expected test images that are not among the train images; found 2 of 3 that are: "
    )


@pytest.mark.parametrize("form", ["folder", "parquet"])
def test_overlap_may_be_allowed(form: str, tmp_path: Path) -> None:
    images = [encoded(i) for i in range(4)]
    source = described(form, tmp_path, images, images[:2], overlap="allowed")
    check(source, SIZE, "mine")
    assert len(load_images(source, SIZE).test) == 2
    same = source.model_copy(update={"test": source.train})
    check(same, SIZE, "mine")
    loaded = load_images(same, SIZE)
    np.testing.assert_array_equal(loaded.train, loaded.test)


@pytest.mark.parametrize("form", ["folder", "parquet"])
def test_images_of_one_colour_and_repeated_train_images_are_no_overlap(form: str, tmp_path: Path) -> None:
    file = io.BytesIO()
    Image.new("RGB", (SIZE, SIZE), (3, 4, 5)).save(file, "PNG")
    blank = file.getvalue()
    source = described(form, tmp_path, [encoded(1), encoded(1), blank], [encoded(2), blank])
    check(source, SIZE, "mine")
    assert len(load_images(source, SIZE).train) == 3


# Holding images out


def held_out_by_hand(contents: Sequence[bytes], share: float) -> tuple[list[bytes], list[bytes]]:
    """Train and test files in their order, from the definition."""
    fractions = {content: int(hashlib.sha256(content).hexdigest()[-16:], 16) / 2**64 for content in contents}
    ordered = sorted(contents, key=lambda content: hashlib.sha256(content).hexdigest())
    return [one for one in ordered if fractions[one] >= share], [one for one in ordered if fractions[one] < share]


def pixels(contents: Sequence[bytes]) -> NDArray[np.uint8]:
    return np.stack([np.asarray(Image.open(io.BytesIO(one))).transpose(2, 0, 1) for one in contents])


@pytest.mark.parametrize("form", ["folder", "parquet"])
def test_images_are_held_out_by_the_content_of_their_files(form: str, tmp_path: Path) -> None:
    contents = [encoded(i) for i in range(60)]
    write, kind = (folder, FolderSource) if form == "folder" else (parquet, ParquetSource)
    source = kind.model_validate({"train": write(tmp_path / "train", contents), "holdout": 0.2})
    check(source, SIZE, "mine")
    loaded = load_images(source, SIZE)
    train, test = held_out_by_hand(contents, 0.2)
    assert 5 <= len(test) <= 20
    np.testing.assert_array_equal(loaded.train, pixels(train))
    np.testing.assert_array_equal(loaded.test, pixels(test))


def test_about_the_stated_part_is_held_out() -> None:
    digests = [hashlib.sha256(bytes([i, j])).digest() for i in range(100) for j in range(100)]
    for share in (0.01, 0.1, 0.5, 0.9):
        assert sum(is_held_out(one, share) for one in digests) / 10_000 == pytest.approx(share, abs=0.015)


def test_a_larger_share_only_adds_test_images() -> None:
    digests = [hashlib.sha256(bytes([i])).digest() for i in range(100)]
    small, large = ({one for one in digests if is_held_out(one, share)} for share in (0.1, 0.3))
    assert small < large


def test_renaming_moving_and_shuffling_change_nothing(tmp_path: Path) -> None:
    contents = [encoded(i) for i in range(40)]
    first = FolderSource(train=folder(tmp_path / "a", contents), holdout=0.25)
    digest = load_images(first, SIZE).sha256
    for i, j in enumerate(np.random.default_rng(0).permutation(40)):
        put(tmp_path / "b" / f"class{i % 3}" / f"renamed-{i}.png", contents[j])
    shutil.copytree(tmp_path / "b", tmp_path / "c" / "deeper")
    elsewhere = [FolderSource(train=str(tmp_path / name), holdout=0.25) for name in ("b", "c")]
    shuffled = ParquetSource(train=parquet(tmp_path / "d", contents[20:] + contents[:20]), holdout=0.25)
    assert {load_images(source, SIZE).sha256 for source in (*elsewhere, shuffled)} == {digest}


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_equal_pixels_are_always_on_one_side(share: float, tmp_path: Path) -> None:
    for i in range(30):
        for copy, content in enumerate([encoded(i), encoded(i, "BMP"), encoded(i, "PNG", compress_level=0)]):
            put(tmp_path / f"{copy}-{i}.png", content)
    loaded = load_images(FolderSource(train=str(tmp_path), holdout=share), SIZE)
    sides = [{image.tobytes() for image in images} for images in (loaded.train, loaded.test)]
    assert len(sides[0]) + len(sides[1]) == 30
    assert not sides[0] & sides[1]
    assert len(loaded.train) + len(loaded.test) == 90


def test_the_images_held_out_do_not_depend_on_their_size(tmp_path: Path) -> None:
    contents = [encoded(i) for i in range(40)]
    source = FolderSource(train=folder(tmp_path, contents), holdout=0.3, fit="resize")
    small = load_images(source, 4)
    assert len(small.test) == len(held_out_by_hand(contents, 0.3)[1])


@pytest.mark.parametrize("form", ["folder", "parquet"])
def test_a_side_without_images_is_an_error(form: str, tmp_path: Path) -> None:
    contents = [encoded(1)]
    write, kind = (folder, FolderSource) if form == "folder" else (parquet, ParquetSource)
    source = kind.model_validate({"train": write(tmp_path / "one", contents), "holdout": 0.5})
    for message in both_messages(source):
        assert (
            "expected images for training and for testing; found all of its 1 images on one side at holdout = 0.5"
            in message
        )
        assert message.endswith("Write another holdout, or test in its place")
