from __future__ import annotations

import hashlib
import io
import os
import pickle
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from PIL import Image

from dvq_ray.experiments.learned_prior import array_archives
from dvq_ray.experiments.learned_prior.array_pickles import load_arrays
from dvq_ray.experiments.learned_prior.images import ImagesError, check, load_images
from dvq_ray.experiments.learned_prior.photos import PHOTOGRAPHS, held_back, read_photos
from dvq_ray.experiments.learned_prior.sources import (
    Cifar10Source,
    FolderSource,
    ImagenetSource,
    ImageSource,
    ParquetSource,
    PhotosSource,
)
from dvq_ray.experiments.learned_prior.torchvision_datasets import torchvision_datasets

SIZE = 32
SHARED_DATA = Path(__file__).parents[2].parent / "shared" / "data"


def made_up_images(count: int, seed: int = 0, size: int = SIZE) -> NDArray[np.uint8]:
    """`[count, 3, size, size]`."""
    return np.random.default_rng(seed).integers(0, 256, (count, 3, size, size), dtype=np.uint8)


def encoded(image: NDArray[np.uint8], form: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(image.transpose(1, 2, 0)).save(file, form)
    return file.getvalue()


def message_of(source: ImageSource, image_size: int = SIZE, *, by_check: bool = True) -> str:
    look: Callable[[], object]
    look = partial(check, source, image_size, "mine") if by_check else partial(load_images, source, image_size)
    with pytest.raises(ImagesError) as caught:
        look()
    return str(caught.value)


@pytest.fixture(autouse=True)
def nothing_remembered() -> Iterator[None]:
    load_images.cache_clear()
    yield
    load_images.cache_clear()


# Photographs


def numbered_photographs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Photographs whose every pixel is its own number, in three bytes."""

    def photograph(name: str) -> NDArray[np.uint8]:
        number = np.arange(427 * 640).reshape(427, 640) + 427 * 640 * PHOTOGRAPHS.index(name)
        return np.stack([number >> 16, number >> 8 & 255, number & 255], axis=-1).astype(np.uint8)

    monkeypatch.setattr("sklearn.datasets.load_sample_image", photograph)


@pytest.mark.long
@pytest.mark.parametrize("image_size", [8, 20, 32, 64])
def test_train_and_test_photos_share_no_pixel(image_size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    numbered_photographs(monkeypatch)
    seen = np.zeros((2, 256**3), bool)
    for split, crops in enumerate(read_photos(image_size)):
        red, green, blue = crops.astype(np.int64).transpose(1, 0, 2, 3)
        seen[split, red << 16 | green << 8 | blue] = True
    assert seen.any(axis=1).all()
    assert not seen.all(axis=0).any()


def test_photos_are_crops_of_both_photographs_in_a_fixed_order() -> None:
    from sklearn.datasets import load_sample_image

    images = load_images(PhotosSource(), SIZE)
    assert images.train.shape == (4888, 3, SIZE, SIZE)
    assert images.test.shape == (228, 3, SIZE, SIZE)
    assert images.train.dtype == images.test.dtype == np.uint8
    china, flower = (load_sample_image(name).transpose(2, 0, 1) for name in PHOTOGRAPHS)
    np.testing.assert_array_equal(images.test[0], china[:, :SIZE, :SIZE])
    np.testing.assert_array_equal(images.train[0], china[:, :SIZE, 64 : 64 + SIZE])
    np.testing.assert_array_equal(images.test[114], flower[:, :SIZE, :SIZE])


def test_no_two_blocks_for_testing_touch() -> None:
    blocks = held_back(20 * 64, 20 * 64, 32)[::64, ::64]
    assert blocks.mean() == pytest.approx(0.2)
    for down, across in ((0, 1), (1, 0), (1, 1)):
        assert not (blocks[: 20 - down, : 20 - across] & blocks[down:, across:]).any()
    assert not (blocks[:-1, 1:] & blocks[1:, :-1]).any()


@pytest.mark.parametrize("image_size", [213, 256, 500])
def test_photographs_too_small_for_their_crops_are_an_error(image_size: int) -> None:
    message = f"mine: photos: expected an image_size .* 8 to 212; found image_size = {image_size}"
    with pytest.raises(ImagesError, match=message):
        check(PhotosSource(), image_size, "mine")


# What every format promises


def test_the_digest_tells_pixels_and_splits_apart(tmp_path: Path) -> None:
    def digest(train: NDArray[np.uint8], test: NDArray[np.uint8]) -> str:
        return load_images(parquet_files(tmp_path, train, test), SIZE).sha256

    images = made_up_images(4)
    expected = hashlib.sha256(b"(3, 3, 32, 32)" + images[:3].tobytes() + b"(1, 3, 32, 32)" + images[3:].tobytes())
    assert digest(images[:3], images[3:]) == expected.hexdigest()
    load_images.cache_clear()
    assert digest(images[:2], images[2:]) != expected.hexdigest()
    load_images.cache_clear()
    assert digest(images[:3], 255 - images[3:]) != expected.hexdigest()


def test_a_data_set_is_decoded_once(tmp_path: Path) -> None:
    source = parquet_files(tmp_path, made_up_images(2), made_up_images(1, seed=1))
    first = load_images(source, SIZE)
    Path(source.train).unlink()
    assert load_images(source.model_copy(), SIZE) is first


@pytest.mark.long
def test_photographs_and_parquet_need_no_torch(tmp_path: Path) -> None:
    source = parquet_files(tmp_path, made_up_images(2), made_up_images(1, seed=1))
    code = (
        "import sys; from dvq_ray.experiments.learned_prior.images import *\n"
        "from dvq_ray.experiments.learned_prior.sources import *\n"
        "load_images(PhotosSource(), 32)\n"
        f"load_images(ParquetSource(train={source.train!r}, test={source.test!r}), 32)\n"
        "print(*sys.modules)"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {"ray", "torch", "torchvision"} & set(printed.split())


@pytest.mark.long
def test_torchvision_data_sets_load_with_any_torch() -> None:
    code = (
        "from dvq_ray.experiments.learned_prior.torchvision_datasets import torchvision_datasets\n"
        "assert torchvision_datasets() is torchvision_datasets()\n"
        "print(len(torchvision_datasets().CIFAR10.train_list))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "5"


# Pickles of arrays


_PickleWriter: Any = pickle._Pickler


class Python2Pickler(_PickleWriter):  # type: ignore[misc]
    """Writes strings and numpy's names as Python 2 did, as the official CIFAR-10 files have them."""

    dispatch: ClassVar = dict(_PickleWriter.dispatch)

    def save_string(self, value: str | bytes) -> None:
        raw = value.encode("ascii") if isinstance(value, str) else value
        self.write(pickle.BINSTRING + struct.pack("<i", len(raw)) + raw)
        self.memoize(value)

    def save_name(self, value: Any) -> None:
        module = value.__module__.replace("numpy._core", "numpy.core")
        self.write(pickle.GLOBAL + f"{module}\n{value.__name__}\n".encode())
        self.memoize(value)

    dispatch[str] = dispatch[bytes] = save_string
    dispatch[type] = dispatch[type(len)] = dispatch[type(pickle.dumps)] = save_name


def python2_pickle(contents: object) -> bytes:
    file = io.BytesIO()
    Python2Pickler(file, protocol=2).dump(contents)
    return file.getvalue()


def python3_pickle(contents: object) -> bytes:
    return pickle.dumps(contents, protocol=4)


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4])
def test_arrays_of_python_3_pickles_come_back(protocol: int) -> None:
    arrays = {
        "data": made_up_images(2),
        "turned": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "big_endian": np.arange(5, dtype=">i4"),
    }
    contents = {**arrays, "labels": [1, 2], "name": "a", "none": None}
    loaded = load_arrays(io.BytesIO(pickle.dumps(contents, protocol=protocol)))
    assert loaded.keys() == arrays.keys()
    for key, array in arrays.items():
        np.testing.assert_array_equal(loaded[key], array)
        assert loaded[key].dtype == array.dtype


def test_arrays_of_python_2_pickles_come_back() -> None:
    data = made_up_images(3).reshape(3, -1)
    stored = python2_pickle({"data": data, "labels": [3, 1, 2], "filenames": ["a.png", "b.png", "c.png"]})
    assert b"cnumpy.core.multiarray\n_reconstruct" in stored
    assert pickle.loads(stored, encoding="bytes")[b"labels"] == [3, 1, 2]  # the unrestricted reader can read it
    np.testing.assert_array_equal(load_arrays(io.BytesIO(stored))["data"], data)


class Hostile:
    def __init__(self, function: Any, *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (os.system, ("touch {path}",)),
        (exec, ("open('{path}', 'w')",)),
        (getattr, ("numpy", "load")),
        (np.load, ("{path}",)),
        (pickle.loads, (b"N.",)),
    ],
)
def test_a_hostile_pickle_runs_nothing(protocol: int, function: Any, arguments: Any, tmp_path: Path) -> None:
    path = tmp_path / "harmed"
    filled = [value.format(path=path) if isinstance(value, str) else value for value in arguments]
    stored = pickle.dumps({"data": Hostile(function, *filled)}, protocol=protocol)
    with pytest.raises(pickle.UnpicklingError, match="which no array needs"):
        load_arrays(io.BytesIO(stored))
    assert not path.exists()


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        ({"data": np.array([{"an": "object"}], dtype=object)}, "holds an array of 'O8', not of numbers"),
        ({"data": np.zeros(2, dtype=[("a", "O")])}, "not of numbers"),
        ([1, 2], "holds a list, not a dictionary"),
        ({"data": SimpleNamespace(a=1)}, "asks for types.SimpleNamespace"),
    ],
)
def test_a_pickle_of_anything_but_numbers_is_refused(contents: object, message: str) -> None:
    with pytest.raises(pickle.UnpicklingError, match=message):
        load_arrays(io.BytesIO(python3_pickle(contents)))


def test_a_pickle_cut_off_anywhere_is_refused() -> None:
    stored = python3_pickle({"data": np.arange(50, dtype=np.uint8), "labels": [1, 2, 3]})
    for length in range(len(stored)):
        with pytest.raises(pickle.UnpicklingError):
            load_arrays(io.BytesIO(stored[:length]))


def test_an_array_that_claims_another_shape_is_refused() -> None:
    stored = python3_pickle({"data": np.arange(6, dtype=np.uint8).reshape(2, 3)})
    assert stored.count(b"K\x02K\x03\x86") == 1
    with pytest.raises(pickle.UnpicklingError, match="is broken: ValueError"):
        load_arrays(io.BytesIO(stored.replace(b"K\x02K\x03\x86", b"K\x09K\x09\x86")))


# CIFAR-10

CIFAR_NAMES = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]
CIFAR_IMAGES = 7


def cifar_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, NDArray[np.uint8]]:
    """A folder in the official format, with few images and checksums to match."""
    images = made_up_images(6 * CIFAR_IMAGES)
    entries = []
    for index, name in enumerate(CIFAR_NAMES):
        data = images[index * CIFAR_IMAGES : (index + 1) * CIFAR_IMAGES].reshape(CIFAR_IMAGES, -1)
        contents = {"batch_label": name, "labels": list(range(CIFAR_IMAGES)), "data": data, "filenames": ["a.png"]}
        stored = python2_pickle(contents)
        (tmp_path / name).write_bytes(stored)
        entries.append([name, hashlib.md5(stored).hexdigest()])
    trust(monkeypatch, entries)
    monkeypatch.setattr(array_archives, "CIFAR10_BATCH_IMAGES", CIFAR_IMAGES)
    return tmp_path, images


def trust(monkeypatch: pytest.MonkeyPatch, entries: list[list[str]]) -> None:
    monkeypatch.setattr(torchvision_datasets().CIFAR10, "train_list", entries[:5])
    monkeypatch.setattr(torchvision_datasets().CIFAR10, "test_list", entries[5:])


def test_cifar10_gives_the_five_batches_in_order_and_the_test_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, images = cifar_folder(tmp_path, monkeypatch)
    source = Cifar10Source(folder=str(folder))
    check(source, SIZE, "mine")
    loaded = load_images(source, SIZE)
    np.testing.assert_array_equal(loaded.train, images[: 5 * CIFAR_IMAGES])
    np.testing.assert_array_equal(loaded.test, images[5 * CIFAR_IMAGES :])


@pytest.mark.parametrize("by_check", [True, False])
def test_a_missing_cifar10_file_says_how_to_get_it(
    by_check: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = cifar_folder(tmp_path, monkeypatch)
    (folder / "data_batch_4").unlink()
    message = message_of(Cifar10Source(folder=str(folder)), by_check=by_check)
    assert f"{folder}/data_batch_4: expected a file of the official archive; found no such file" in message
    assert "curl -O https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz" in message
    assert "md5 c58f30108f718f92721af3b95e74349a" in message
    assert "tar -xzf cifar-10-python.tar.gz" in message


@pytest.mark.parametrize("by_check", [True, False])
@pytest.mark.parametrize("damage", ["truncated", "mislabelled", "one bit"])
def test_a_cifar10_file_that_is_not_the_official_one_is_refused(
    damage: str, by_check: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = cifar_folder(tmp_path, monkeypatch)
    path = folder / "data_batch_2"
    stored = bytearray(path.read_bytes())
    expected = hashlib.md5(stored).hexdigest()
    if damage == "truncated":
        stored = stored[:-100]
    elif damage == "mislabelled":
        stored = bytearray((folder / "data_batch_3").read_bytes())
    else:
        stored[1000] ^= 1
    path.write_bytes(stored)
    message = message_of(Cifar10Source(folder=str(folder)), by_check=by_check)
    assert f"{path}: expected the official file with md5 {expected}; found md5 " in message
    assert f"({len(stored):,} bytes). To get it: curl" in message


def test_a_hostile_cifar10_file_is_refused_even_with_the_right_checksum(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = cifar_folder(tmp_path, monkeypatch)
    harmed = tmp_path / "harmed"
    (folder / "data_batch_1").write_bytes(pickle.dumps({"data": Hostile(os.system, f"touch {harmed}")}, protocol=2))
    trust(monkeypatch, [[name, hashlib.md5((folder / name).read_bytes()).hexdigest()] for name in CIFAR_NAMES])
    message = message_of(Cifar10Source(folder=str(folder)), by_check=False)
    assert "data_batch_1: expected a pickle of arrays alone; found that it asks for" in message
    assert not harmed.exists()


def test_cifar10_of_another_size_is_an_error_before_any_file_is_looked_at(tmp_path: Path) -> None:
    message = message_of(Cifar10Source(folder=str(tmp_path)), 64)
    assert (
        message == f"mine: {tmp_path}: expected image_size = 32, the size of CIFAR-10's images; found image_size = 64"
    )


# Downsampled ImageNet


def imagenet_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch, *, ending: str = "", size: int = 16
) -> NDArray[np.uint8]:
    """Ten train files of 3 images, the last of 5, and a validation file of 4."""
    train = {f"train_data_batch_{number}": 3 for number in range(1, 10)} | {"train_data_batch_10": 5}
    images = made_up_images(36, size=size)
    start = 0
    folder.mkdir(exist_ok=True)
    for name, count in {**train, "val_data": 4}.items():
        rows = images[start : start + count].reshape(count, -1)
        contents: dict[str, Any] = {"data": rows, "labels": [1] * count}
        if name != "val_data":
            contents["mean"] = rows.mean(axis=0)
        if ending:
            np.savez(folder / name, **contents)
        else:
            (folder / name).write_bytes(pickle.dumps(contents, protocol=3))
        start += count
    monkeypatch.setattr(array_archives, "IMAGENET_TRAIN", train)
    monkeypatch.setattr(array_archives, "IMAGENET_TEST", {"val_data": 4})
    return images


@pytest.mark.parametrize("size", [8, 16, 32, 64])
@pytest.mark.parametrize("ending", ["", ".npz"])
def test_imagenet_gives_its_ten_files_in_order_and_the_validation_images(
    ending: str, size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = imagenet_folder(tmp_path, monkeypatch, ending=ending, size=size)
    source = ImagenetSource(folder=str(tmp_path))
    check(source, size, "mine")
    loaded = load_images(source, size)
    np.testing.assert_array_equal(loaded.train, images[:32])
    np.testing.assert_array_equal(loaded.test, images[32:])


def test_imagenet_files_are_found_in_the_folders_that_archives_bring(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = imagenet_folder(tmp_path / "Imagenet16_train_npz", monkeypatch, ending=".npz")
    (tmp_path / "Imagenet16_val_npz").mkdir()
    (tmp_path / "Imagenet16_train_npz" / "val_data.npz").rename(tmp_path / "Imagenet16_val_npz" / "val_data.npz")
    np.testing.assert_array_equal(load_images(ImagenetSource(folder=str(tmp_path)), 16).test, images[32:])


def test_the_official_counts_are_those_of_imagenet() -> None:
    assert sum(array_archives.IMAGENET_TRAIN.values()) == 1_281_167
    assert sum(array_archives.IMAGENET_TEST.values()) == 50_000


@pytest.mark.parametrize(
    ("size", "archives"),
    [
        (32, ["Imagenet32_train_npz.zip", "Imagenet32_val_npz.zip"]),
        (64, ["Imagenet64_train_part1_npz.zip", "Imagenet64_train_part2_npz.zip", "Imagenet64_val_npz.zip"]),
    ],
)
def test_a_missing_imagenet_file_says_how_to_get_it(size: int, archives: list[str], tmp_path: Path) -> None:
    message = message_of(ImagenetSource(folder=str(tmp_path / "none")), size)
    assert "none/train_data_batch_1: expected a file of the official archive; found no such file" in message
    for archive in archives:
        assert f"curl -O https://image-net.org/data/downsample/{archive}" in message
    assert f"then unzip -j each into {tmp_path}/none" in message


@pytest.mark.parametrize("by_check", [True, False])
def test_imagenet_of_another_size_is_an_error(by_check: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    imagenet_folder(tmp_path, monkeypatch, ending=".npz", size=8)
    message = message_of(ImagenetSource(folder=str(tmp_path)), 16, by_check=by_check)
    assert "train_data_batch_1.npz: expected uint8 data of shape (3, 768), whole images of 16x16 pixels" in message
    assert "found uint8 data of shape (3, 192)" in message


@pytest.mark.parametrize("by_check", [True, False])
@pytest.mark.parametrize("ending", ["", ".npz"])
def test_a_truncated_imagenet_file_is_refused(
    ending: str, by_check: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    imagenet_folder(tmp_path, monkeypatch, ending=ending)
    path = tmp_path / f"train_data_batch_7{ending}"
    path.write_bytes(path.read_bytes()[:1000])
    assert str(path) in message_of(ImagenetSource(folder=str(tmp_path)), 16, by_check=by_check)


@pytest.mark.parametrize("by_check", [True, False])
def test_an_imagenet_file_under_anothers_name_is_refused(
    by_check: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    imagenet_folder(tmp_path, monkeypatch, ending=".npz")
    (tmp_path / "val_data.npz").replace(tmp_path / "train_data_batch_10.npz")
    imagenet_val = tmp_path / "val_data.npz"
    np.savez(imagenet_val, data=made_up_images(4, size=16).reshape(4, -1))
    message = message_of(ImagenetSource(folder=str(tmp_path)), 16, by_check=by_check)
    assert "train_data_batch_10.npz: expected uint8 data of shape (5, 768)" in message


def test_an_npz_with_pickled_objects_runs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    imagenet_folder(tmp_path, monkeypatch, ending=".npz")
    harmed = tmp_path / "harmed"
    objects = np.empty(3, dtype=object)
    objects[:] = [Hostile(os.system, f"touch {harmed}")] * 3
    np.savez(tmp_path / "train_data_batch_1.npz", data=objects)
    for by_check in (True, False):
        message = message_of(ImagenetSource(folder=str(tmp_path)), 16, by_check=by_check)
        assert "train_data_batch_1.npz: expected" in message
    assert not harmed.exists()


def test_a_hostile_imagenet_pickle_runs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    imagenet_folder(tmp_path, monkeypatch)
    harmed = tmp_path / "harmed"
    contents = {"padding": b"0" * 5000, "data": Hostile(os.system, f"touch {harmed}")}
    (tmp_path / "val_data").write_bytes(pickle.dumps(contents, protocol=3))
    message = message_of(ImagenetSource(folder=str(tmp_path)), 16, by_check=False)
    assert "val_data: expected a pickle of arrays alone; found that it asks for" in message
    assert not harmed.exists()


# Folders


def image_folders(tmp_path: Path) -> tuple[FolderSource, NDArray[np.uint8]]:
    """Train images nested and not, test images flat; with files that are no images among them."""
    images = made_up_images(6)
    names = ["train/0.png", "train/b.PNG", "train/cats/1.bmp", "train/dogs/old/2.png", "test/x.png", "test/y.png"]
    for name, image in zip(names, images, strict=True):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(image, "BMP" if name.endswith("bmp") else "PNG"))
    (tmp_path / "train" / "notes.txt").write_text("no image")
    return FolderSource(train=str(tmp_path / "train"), test=str(tmp_path / "test")), images


def test_a_folder_gives_its_images_nested_or_flat_in_the_order_of_their_paths(tmp_path: Path) -> None:
    source, images = image_folders(tmp_path)
    check(source, SIZE, "mine")
    loaded = load_images(source, SIZE)
    np.testing.assert_array_equal(loaded.train, images[:4])
    np.testing.assert_array_equal(loaded.test, images[4:])


@pytest.mark.parametrize("missing", ["folder", "images"])
def test_a_folder_without_images_is_an_error(missing: str, tmp_path: Path) -> None:
    source, _ = image_folders(tmp_path)
    (tmp_path / "empty").mkdir()
    empty = tmp_path / ("empty" if missing == "images" else "none")
    message = message_of(source.model_copy(update={"test": str(empty)}))
    assert message.startswith(f"mine: {empty}: expected a folder with image files in it (.jpg, .jpeg, .png,")
    assert message.endswith("found none" if missing == "images" else "found no such folder")


def test_a_broken_image_file_is_named(tmp_path: Path) -> None:
    source, images = image_folders(tmp_path)
    for content in (encoded(images[0])[:300], b"", b"\x89PNG\r\n\x1a\n", b"GIF89a", os.urandom(2000)):
        (tmp_path / "train" / "cats" / "1.bmp").write_bytes(content)
        has_header = len(content) == 300
        if has_header:
            check(source, SIZE, "mine")  # decodes the first image alone
        for by_check in (False,) if has_header else (False, True):
            message = message_of(source, by_check=by_check)
            assert f"{tmp_path}/train/cats/1.bmp: expected a JPEG, PNG" in message
            assert f"found {len(content):,} bytes that do not decode" in message
            assert "object at 0x" not in message


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "BMP", "TIFF"])
def test_an_image_cut_off_in_the_middle_is_refused(form: str, tmp_path: Path) -> None:
    source, images = image_folders(tmp_path)
    whole = encoded(images[0], form)
    (tmp_path / "train" / "0.png").write_bytes(whole[: len(whole) // 2])
    assert "0.png: expected" in message_of(source)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK"])
def test_images_of_other_modes_become_rgb(mode: str, tmp_path: Path) -> None:
    source, images = image_folders(tmp_path)
    image = Image.fromarray(images[0].transpose(1, 2, 0)).convert(mode)
    path = tmp_path / "train" / "0.png"
    image.save(path, "TIFF" if mode == "CMYK" else "PNG")
    expected = np.asarray(image.convert("RGB")).transpose(2, 0, 1)
    np.testing.assert_array_equal(load_images(source, SIZE).train[0], expected)


def test_an_image_of_more_than_eight_bits_is_refused(tmp_path: Path) -> None:
    source, _ = image_folders(tmp_path)
    Image.fromarray(np.full((SIZE, SIZE), 40_000, np.uint16)).save(tmp_path / "train" / "0.png")
    assert "expected 8 bits or fewer per colour; found 16 bits" in message_of(source)


def test_a_picture_that_claims_billions_of_pixels_is_not_decoded(tmp_path: Path) -> None:
    source, _ = image_folders(tmp_path)
    header = b"P6 60000 60000 255\n"
    (tmp_path / "train" / "0.png").write_bytes(header + b"0" * 100)
    assert "0.png: expected" in message_of(source)


# Parquet


def parquet_files(
    folder: Path, train: NDArray[np.uint8], test: NDArray[np.uint8], kind: pa.DataType | None = None, **options: Any
) -> ParquetSource:
    for name, images in (("train", train), ("test", test)):
        values: list[Any] = [encoded(image) for image in images]
        if kind is not None and pa.types.is_struct(kind):
            values = [{"bytes": value, "path": "a.png"} for value in values]
        table = pa.table({"label": pa.array(range(len(images))), "image": pa.array(values, kind or pa.binary())})
        pq.write_table(table, folder / f"{name}.parquet", **options)
    return ParquetSource(train=str(folder / "train.parquet"), test=str(folder / "test.parquet"))


@pytest.mark.parametrize(
    "kind",
    [
        pa.binary(),
        pa.large_binary(),
        pa.struct({"bytes": pa.binary(), "path": pa.string()}),
        pa.struct({"path": pa.string(), "bytes": pa.large_binary()}),
    ],
    ids=str,
)
def test_parquet_gives_its_rows_in_order(kind: pa.DataType, tmp_path: Path) -> None:
    images = made_up_images(9)
    source = parquet_files(tmp_path, images[:7], images[7:], kind, row_group_size=3)
    check(source, SIZE, "mine")
    loaded = load_images(source, SIZE)
    np.testing.assert_array_equal(loaded.train, images[:7])
    np.testing.assert_array_equal(loaded.test, images[7:])


def test_parquet_is_read_from_a_uri(tmp_path: Path) -> None:
    images = made_up_images(3)
    parquet_files(tmp_path, images[:2], images[2:])
    uri = tmp_path.as_uri()
    loaded = load_images(ParquetSource(train=f"{uri}/train.parquet", test=f"{uri}/tes*.parquet"), SIZE)
    np.testing.assert_array_equal(loaded.train, images[:2])
    np.testing.assert_array_equal(loaded.test, images[2:])


def test_a_star_stands_for_several_parquet_files_in_the_order_of_their_names(tmp_path: Path) -> None:
    images = made_up_images(6)
    source = parquet_files(tmp_path, images[4:], 255 - images[:2])
    (tmp_path / "train.parquet").rename(tmp_path / "train-00001-of-00002.parquet")
    parquet_files(tmp_path, images[:4], 255 - images[:2])
    (tmp_path / "train.parquet").rename(tmp_path / "train-00000-of-00002.parquet")
    (tmp_path / "train-folder.parquet").mkdir()
    source = source.model_copy(update={"train": str(tmp_path / "train-*.parquet")})
    check(source, SIZE, "mine")
    np.testing.assert_array_equal(load_images(source, SIZE).train, images)


@pytest.mark.parametrize("name", ["none.parquet", "none-*.parquet", "none/none-*.parquet"])
def test_a_missing_parquet_file_is_an_error(name: str, tmp_path: Path) -> None:
    source = parquet_files(tmp_path, made_up_images(2), made_up_images(1, seed=1))
    message = message_of(source.model_copy(update={"test": str(tmp_path / name)}))
    assert message == f"mine: {tmp_path / name}: expected a Parquet file; found no such file"


def test_a_uri_that_cannot_be_opened_is_an_error(tmp_path: Path) -> None:
    source = parquet_files(tmp_path, made_up_images(2), made_up_images(1, seed=1))
    message = message_of(source.model_copy(update={"test": "nowhere://a/b.parquet"}))
    assert message.startswith("mine: nowhere://a/b.parquet: expected a Parquet file; found that it cannot be opened")


def test_a_column_that_is_not_there_is_an_error_that_names_those_that_are(tmp_path: Path) -> None:
    source = parquet_files(tmp_path, made_up_images(2), made_up_images(1, seed=1))
    message = message_of(source.model_copy(update={"column": "img"}))
    train, test = message.splitlines()
    assert train == f"mine: {source.train}, column img: expected that column; found the columns label, image"
    assert test == f"mine: {source.test}, column img: expected that column; found the columns label, image"


def test_a_column_of_numbers_is_an_error(tmp_path: Path) -> None:
    source = parquet_files(tmp_path, made_up_images(2), made_up_images(1, seed=1))
    message = message_of(source.model_copy(update={"column": "label"}))
    assert "column label: expected encoded images: binary, or struct<bytes: binary, ...>; found int64" in message


@pytest.mark.parametrize("by_check", [True, False])
@pytest.mark.parametrize("length", [0, 3, 400, -20])
def test_a_truncated_parquet_file_is_an_error(length: int, by_check: bool, tmp_path: Path) -> None:
    source = parquet_files(tmp_path, made_up_images(2), made_up_images(1, seed=1))
    path = Path(source.train)
    path.write_bytes(path.read_bytes()[:length])
    assert f"{path}: expected a Parquet file; found that it cannot be read" in message_of(source, by_check=by_check)


def test_parquet_pages_that_are_broken_are_an_error(tmp_path: Path) -> None:
    source = parquet_files(
        tmp_path, made_up_images(300), made_up_images(1, seed=1), compression="zstd", use_dictionary=False
    )
    path = Path(source.train)
    stored = bytearray(path.read_bytes())
    stored[len(stored) // 4 : len(stored) // 2] = bytes(len(stored) // 2 - len(stored) // 4)
    path.write_bytes(stored)
    assert str(path) in message_of(source, by_check=False)


def test_an_image_of_another_size_is_an_error_with_its_row(tmp_path: Path) -> None:
    images = made_up_images(1500, size=8)
    source = parquet_files(tmp_path, images[1:], images[:1])
    table = pq.read_table(source.train)
    values = table["image"].to_pylist()
    values[1300] = encoded(made_up_images(1, size=16)[0])
    pq.write_table(table.set_column(1, "image", pa.array(values, pa.binary())), source.train)
    where = f"{source.train}, column image, row 1300 (from 0)"
    message = f"{where}: expected an image of 8x8 pixels; found 16x16 (width x height). To scale images, write fit: "
    assert message_of(source, 8, by_check=False).startswith(message)
    assert message_of(source, 8).startswith(f"mine: {message}")


@pytest.mark.parametrize("kind", [pa.binary(), pa.struct({"bytes": pa.binary()})], ids=str)
def test_a_null_in_place_of_an_image_is_an_error_with_its_row(kind: pa.DataType, tmp_path: Path) -> None:
    source = parquet_files(tmp_path, made_up_images(2), made_up_images(1, seed=1), kind)
    table = pq.read_table(source.train)
    values = [*table["image"].to_pylist(), None]
    pq.write_table(pa.table({"image": pa.array(values, kind)}), source.train)
    message = message_of(source, by_check=False)
    assert message.endswith("column image, row 2 (from 0): expected an encoded image; found null")


def test_a_parquet_file_without_rows_is_an_error(tmp_path: Path) -> None:
    source = parquet_files(tmp_path, made_up_images(2), made_up_images(0))
    assert message_of(source) == f"mine: {source.test}: expected one row or more; found none"


@pytest.mark.skipif(not SHARED_DATA.is_dir(), reason="the real images are not on this machine")
def test_real_cifar10_images_have_their_documented_count_and_mean() -> None:
    source = ParquetSource(
        train=str(SHARED_DATA / "cifar10_lossless_train.parquet"),
        test=str(SHARED_DATA / "cifar10_lossless_test.parquet"),
    )
    check(source, SIZE, "mine")
    images = load_images(source, SIZE)
    assert images.train.shape == (5170, 3, SIZE, SIZE)
    assert images.test.shape == (1017, 3, SIZE, SIZE)
    means = images.train.mean(axis=(0, 2, 3)) / 255
    np.testing.assert_allclose(means, [0.4914, 0.4822, 0.4465], atol=0.005)  # of all 50,000 images
