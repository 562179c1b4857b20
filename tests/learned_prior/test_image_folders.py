from __future__ import annotations

import os
import socket
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dvq_ray.experiments.learned_prior.image_decoding import Header
from dvq_ray.experiments.learned_prior.image_folders import ENDINGS, FolderImages
from dvq_ray.experiments.learned_prior.images import check, load_images
from dvq_ray.experiments.learned_prior.sources import FolderSource, ImagesError
from dvq_ray.experiments.learned_prior.torchvision_datasets import torchvision_datasets

SIZE = 8


def put(path: Path, seed: int = 0, size: tuple[int, int] = (SIZE, SIZE), form: str = "PNG") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, form)
    return path


def names(folder: Path) -> list[str]:
    images = FolderImages(str(folder))
    return [os.path.relpath(images.where(i), folder) for i in range(len(images))]


def notes_of(source: FolderSource) -> list[str]:
    found: list[str] = []
    check(source, SIZE, "mine", found.append)
    return found


def message_of(source: FolderSource, image_size: int = SIZE) -> str:
    with pytest.raises(ImagesError) as caught:
        check(source, image_size, "mine")
    return str(caught.value)


@pytest.fixture
def source(tmp_path: Path) -> FolderSource:
    """Four train images and two test images."""
    for i in range(4):
        put(tmp_path / "train" / f"{i}.png", i)
    for i in range(2):
        put(tmp_path / "test" / f"{i}.png", 100 + i)
    return FolderSource(train=str(tmp_path / "train"), test=str(tmp_path / "test"))


def test_images_end_as_torchvision_expects_and_are_in_its_order(tmp_path: Path) -> None:
    reader = torchvision_datasets().folder
    assert reader.IMG_EXTENSIONS == ENDINGS
    for name in (
        "b.png",
        "a.PNG",
        "cats/1.png",
        "cats/old/9.png",
        "cats-and-dogs/0.png",
        "Cats/2.png",
        "z/a/b/c/d.png",
    ):
        put(tmp_path / name)
    expected = [path for path, _ in reader.make_dataset(tmp_path, {"": 0}, extensions=ENDINGS)]
    images = FolderImages(str(tmp_path))
    assert [images.where(i) for i in range(len(images))] == expected


# Hidden


HIDDEN = [
    ".x.png", "._000.png", ".ipynb_checkpoints/0-checkpoint.png", ".git/a.png", ".AppleDouble/0.png",
    ".thumbnails/0.png", "@eaDir/0.png/SYNOPHOTO_THUMB_M.jpg", "__MACOSX/._0.png", "__MACOSX/cats/0.png",
    "cats/@eaDir/1.png", "#recycle/0.png", "$RECYCLE.BIN/0.png", "System Volume Information/0.png", "lost+found/0.png",
    ".Trash-1000/files/0.png", "cats/.hidden/0.png",
]  # fmt: skip


@pytest.mark.parametrize("name", HIDDEN)
def test_hidden_files_are_not_read_as_images(name: str, source: FolderSource) -> None:
    put(Path(source.train) / name, 7, form="PNG")
    assert names(Path(source.train)) == ["0.png", "1.png", "2.png", "3.png"]
    assert notes_of(source) == []


def test_a_folder_may_itself_be_hidden(tmp_path: Path) -> None:
    put(tmp_path / ".cache" / "pictures" / "0.png")
    assert names(tmp_path / ".cache" / "pictures") == ["0.png"]


# Links


@pytest.mark.parametrize("target", ["..", ".", "../..", "cats/.."])
def test_a_link_to_a_folder_around_the_images_adds_none(target: str, source: FolderSource) -> None:
    train = Path(source.train)
    put(train / "cats" / "9.png", 9)
    for place in (train, train / "cats"):
        (place / "loop").symlink_to(target, target_is_directory=True)
    assert names(train) == ["0.png", "1.png", "2.png", "3.png", "cats/9.png"]
    check(source, SIZE, "mine")


def test_links_that_lead_to_each_other_end(tmp_path: Path) -> None:
    put(tmp_path / "train" / "0.png")
    for one, other in (("a", "b"), ("b", "a")):
        put(tmp_path / one / f"{one}.png")
        (tmp_path / one / "next").symlink_to(tmp_path / other)
    (tmp_path / "train" / "first").symlink_to(tmp_path / "a")
    assert names(tmp_path / "train") == ["0.png", "first/a.png", "first/next/b.png"]


def test_a_file_of_several_names_is_read_once_under_its_own(tmp_path: Path) -> None:
    train = tmp_path / "train"
    put(train / "m.png")
    put(tmp_path / "elsewhere" / "n.png")
    for name, target in {
        "a.png": train / "m.png",
        "z.png": train / "m.png",
        "b.png": tmp_path / "elsewhere" / "n.png",
    }.items():
        (train / name).symlink_to(target)
    (train / "0").symlink_to(tmp_path / "elsewhere")
    (train / "1").symlink_to(tmp_path / "elsewhere")
    assert names(train) == ["m.png", "0/n.png"]


def test_a_data_set_of_links_is_a_data_set(tmp_path: Path) -> None:
    (tmp_path / "links").mkdir()
    for i in range(3):
        (tmp_path / "links" / f"{i}.png").symlink_to(put(tmp_path / "blobs" / f"blob{i}", i))
    (tmp_path / "train").symlink_to(tmp_path / "links")
    assert names(tmp_path / "train") == ["0.png", "1.png", "2.png"]


@pytest.mark.parametrize("kind", ["dangling", "circular", "pipe", "socket"])
def test_what_cannot_be_opened_is_named_at_once(
    kind: str, source: FolderSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Path(source.train) / "x.png"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        monkeypatch.chdir(path.parent)  # a socket's path must be short
        socket.socket(socket.AF_UNIX).bind("x.png")
    else:
        path.symlink_to(path if kind == "circular" else path.with_name("gone.png"))
    assert f"mine: {path}: expected a file" in message_of(source)
    with pytest.raises(ImagesError, match=r"x\.png: expected a file"):
        load_images(source, SIZE)


def test_a_folder_that_cannot_be_listed_is_an_error(source: FolderSource, monkeypatch: pytest.MonkeyPatch) -> None:
    put(Path(source.train) / "cats" / "9.png", 9)
    scan = os.scandir

    def refuse(path: str) -> object:
        if path.endswith("cats"):
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert f"{source.train}/cats: expected a folder that can be read; found [Errno 13]" in message_of(source)


# Endings


def test_files_with_other_endings_are_counted_in_one_line(source: FolderSource) -> None:
    train = Path(source.train)
    for name in (
        "a.jfif",
        "b.JFIF",
        "c.jpe",
        "d.gif",
        "e.avif",
        "f.heic",
        "g.jpg_large",
        "notes.txt",
        "none",
        "v.1",
        "w.svg",
    ):
        (train / name).write_bytes(b"")
    for name in ("Thumbs.db", ".DS_Store", "desktop.ini"):
        (train / name).write_bytes(b"")
    (note,) = notes_of(source)
    assert note.startswith(f"mine: {train}: skipped 11 files by ending: .jfif (2), .jpe (1), .gif (1), .avif (1), ")
    assert ".heic (1), .jpg_large (1)" in note
    assert note.endswith(f" and 2 more endings; images end in {', '.join(ENDINGS)}")
    assert "\n" not in note


def test_a_folder_of_other_endings_alone_says_which(tmp_path: Path, source: FolderSource) -> None:
    for name in ("phone/a.HEIC", "phone/b.heic", "phone/readme"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    message = message_of(source.model_copy(update={"test": str(tmp_path / "phone")}))
    assert message.endswith("found only files with other endings: .heic (2), none (1)")


def test_a_file_in_place_of_a_folder_is_an_error(tmp_path: Path, source: FolderSource) -> None:
    (tmp_path / "images.zip").write_bytes(b"")
    for path, found in ((tmp_path / "images.zip", "a file"), (tmp_path / ("x" * 300), "no such folder")):
        assert message_of(source.model_copy(update={"train": str(path)})).endswith(f"found {found}")


# Headers of all


def test_wrong_sizes_are_counted_with_examples_and_a_remedy(source: FolderSource) -> None:
    train = Path(source.train)
    for i in range(5):
        put(train / f"wide{i}.jpg", i, (12, 6 + i), "JPEG")
    put(Path(source.test or "") / "tall.png", 50, (3, 9))
    remedy = ". To scale images, write fit: crop or fit: resize"
    examples = ", ".join(f"12x{6 + i} (width x height) in wide{i}.jpg" for i in range(3))
    assert message_of(source).splitlines() == [
        f"mine: {train}: 5 of 9 images: expected an image of 8x8 pixels; found {examples}, and others{remedy}",
        f"mine: {source.test}/tall.png: expected an image of 8x8 pixels; found 3x9 (width x height){remedy}",
    ]


def test_problems_of_several_kinds_are_all_reported(source: FolderSource) -> None:
    train = Path(source.train)
    for i in range(200):
        (train / f"broken{i:03}.png").write_bytes(b"no image")
    Image.fromarray(np.zeros((SIZE, SIZE), np.uint16)).save(train / "deep.png")
    frames = [Image.new("RGB", (SIZE, SIZE), colour) for colour in ("red", "blue")]
    frames[0].save(train / "moving.png", save_all=True, append_images=frames[1:])
    put(train / "wide.png", 1, (30, 8))
    lines = message_of(source).splitlines()
    assert len(lines) == 4
    assert lines[0].startswith(f"mine: {train}: 200 of 207 images: expected a JPEG, PNG")
    assert {line.partition("expected ")[2].partition(";")[0] for line in lines[1:]} == {
        "8 bits or fewer per colour",
        "a single image",
        "an image of 8x8 pixels",
    }


@pytest.mark.parametrize("fit", ["crop", "resize"])
def test_images_of_all_sizes_are_fitted(fit: str, tmp_path: Path) -> None:
    for i, size in enumerate([(8, 8), (20, 30), (31, 17), (4, 4)]):
        put(tmp_path / "train" / "class" / f"{i}.png", i, size)
    put(tmp_path / "test" / "0.png", 10, (100, 10))
    value = {"format": "folder", "train": str(tmp_path / "train"), "test": str(tmp_path / "test"), "fit": fit}
    source = FolderSource.model_validate(value)
    note = f"mine: {tmp_path}/train: 1 of 4 images are smaller than 8x8 and are enlarged"
    assert notes_of(source) == [note]
    images = load_images(source, SIZE)
    assert images.train.shape == (4, 3, SIZE, SIZE)
    assert images.test.shape == (1, 3, SIZE, SIZE)
    np.testing.assert_array_equal(
        images.train[0].transpose(1, 2, 0), Image.open(tmp_path / "train" / "class" / "0.png")
    )


def test_thousands_of_headers_come_in_the_order_of_the_files(tmp_path: Path) -> None:
    for i in range(1000):
        (tmp_path / f"{i:04}.ppm").write_bytes(b"P5 %d 1 255\n" % (i + 1) + bytes(i + 1))
    assert list(FolderImages(str(tmp_path)).headers()) == [Header(i + 1, 1, 0) for i in range(1000)]


def test_file_names_that_are_not_utf8_are_read_and_shown_as_text(source: FolderSource) -> None:
    name = b"z\xe4.png".decode("utf-8", "surrogateescape")
    path = put(Path(source.train) / name, 9)
    check(source, SIZE, "mine")
    assert len(load_images(source, SIZE).train) == 5
    path.write_bytes(b"no image")
    message = message_of(source)
    assert f"{source.train}/z\\xe4.png: expected a JPEG" in message
    message.encode()


def test_a_tilde_is_the_home_folder(source: FolderSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = load_images(source, SIZE).sha256
    monkeypatch.setenv("HOME", str(tmp_path))
    at_home = FolderSource(train="~/train", test="~/test")
    check(at_home, SIZE, "mine")
    assert load_images(at_home, SIZE).sha256 == expected
    nobody = FolderSource(train="~nobody-of-that-name/train", test="~/test")
    assert "~nobody-of-that-name/train: expected a folder" in message_of(nobody)
