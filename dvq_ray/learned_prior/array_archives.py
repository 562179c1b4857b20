"""CIFAR-10 and Downsampled ImageNet from their official archives: batch files with an array `data` of whole images.

A row of `data` is an image, uint8, all red values before the green and the blue ones.
"""

from __future__ import annotations

import hashlib
import pickle
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dvq_ray.learned_prior.array_pickles import load_arrays
from dvq_ray.learned_prior.settings import CHANNELS
from dvq_ray.learned_prior.sources import Cifar10Source, ImagenetSource, ImagesError
from dvq_ray.learned_prior.torchvision_datasets import torchvision_datasets

CIFAR10_SIZE = 32
CIFAR10_BATCH_IMAGES = 10_000

IMAGENET_SIZES = (8, 16, 32, 64)
IMAGENET_TRAIN: Mapping[str, int] = {
    **{f"train_data_batch_{number}": 128_116 for number in range(1, 10)},
    "train_data_batch_10": 128_123,
}
"""Images in each file: 1,281,167 together."""
IMAGENET_TEST: Mapping[str, int] = {"val_data": 50_000}
IMAGENET_URL = "https://image-net.org/data/downsample/"


@dataclass(frozen=True, kw_only=True)
class BatchFile:
    """One file of an archive, and what is known about it."""

    path: Path
    images: int
    md5: str | None = None


@dataclass(frozen=True, kw_only=True)
class Archive:
    """The files of an unpacked archive."""

    train: Sequence[BatchFile]
    test: Sequence[BatchFile]
    image_size: int
    remedy: str
    """How to get them."""

    def check(self) -> None:
        """Raises `ImagesError` where a file is missing or is not the official one, without reading all pixels."""
        for batch in (*self.train, *self.test):
            if batch.md5:
                self._check_digest(batch)
            elif batch.path.suffix == ".npz":
                self._check_form(batch, *_npz_form(batch, self.remedy))
            elif batch.path.stat().st_size < batch.images * self._row_bytes:
                expected = f"{batch.images:,} images of {self._row_bytes:,} bytes"
                raise self._error(batch, expected, f"a file of {batch.path.stat().st_size:,} bytes")

    def read(self, batches: Sequence[BatchFile]) -> NDArray[np.uint8]:
        """All images of some files, `[images, 3, image_size, image_size]`.

        The memory that this takes at most is that of the result and of one file.
        """
        rows = np.empty((sum(batch.images for batch in batches), self._row_bytes), np.uint8)
        start = 0
        for batch in batches:
            if batch.md5:
                self._check_digest(batch)
            elif batch.path.suffix == ".npz":
                self._check_form(batch, *_npz_form(batch, self.remedy))  # before memory is taken for what it claims
            data = self._load(batch)
            self._check_form(batch, data.shape, data.dtype)
            rows[start : start + batch.images] = data
            start += batch.images
        return rows.reshape(-1, CHANNELS, self.image_size, self.image_size)

    @property
    def _row_bytes(self) -> int:
        return CHANNELS * self.image_size**2

    def _load(self, batch: BatchFile) -> NDArray[Any]:
        try:
            if batch.path.suffix == ".npz":
                with np.load(batch.path, allow_pickle=False) as arrays:
                    return np.asarray(arrays["data"])
            with batch.path.open("rb") as file:
                return load_arrays(file)["data"]
        except KeyError:
            raise self._error(batch, "an array named data", "none") from None
        except pickle.UnpicklingError as error:
            raise self._error(batch, "a pickle of arrays alone", f"that it {error}") from error
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise self._error(batch, "a file of arrays", f"that it cannot be read: {error}") from error

    def _check_digest(self, batch: BatchFile) -> None:
        try:
            with batch.path.open("rb") as file:
                found = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
        except OSError as error:
            raise self._error(batch, "a file that can be read", str(error)) from error
        if found != batch.md5:
            size = batch.path.stat().st_size
            raise self._error(batch, f"the official file with md5 {batch.md5}", f"md5 {found} ({size:,} bytes)")

    def _check_form(self, batch: BatchFile, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        if shape != (batch.images, self._row_bytes) or dtype != np.uint8:
            expected = (
                f"uint8 data of shape ({batch.images:,}, {self._row_bytes:,}), "
                f"whole images of {self.image_size}x{self.image_size} pixels"
            )
            raise self._error(batch, expected, f"{dtype} data of shape ({', '.join(f'{n:,}' for n in shape)})")

    def _error(self, batch: BatchFile, expected: str, found: str) -> ImagesError:
        return ImagesError.of(batch.path, expected=expected, found=found, remedy=self.remedy)


def _npz_form(batch: BatchFile, remedy: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type of the array, from its first bytes: the official files are gigabytes long."""
    try:
        with zipfile.ZipFile(batch.path) as file, file.open("data.npy") as member:
            version = np.lib.format.read_magic(member)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, dtype = read(member)
            return shape, dtype
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ImagesError.of(
            batch.path, expected="an npz file with an array named data", found=f"that {error}", remedy=remedy
        ) from error


def cifar10(source: Cifar10Source, image_size: int) -> Archive:
    """The archive of a source. Raises `ImagesError` where a file is missing or no archive has images of that size."""
    folder = Path(source.folder)
    if image_size != CIFAR10_SIZE:
        found = f"image_size = {image_size}"
        raise ImagesError.of(folder, expected="image_size = 32, the size of CIFAR-10's images", found=found)
    table = torchvision_datasets().CIFAR10
    remedy = (
        f"To get it: curl -O {table.url} (md5 {table.tgz_md5}), then "
        f"tar -xzf {table.filename}, and move the folder {table.base_folder} to {folder}"
    )
    train, test = (
        tuple(
            BatchFile(path=_existing(folder, name, remedy), images=CIFAR10_BATCH_IMAGES, md5=md5) for name, md5 in files
        )
        for files in (table.train_list, table.test_list)
    )
    return Archive(train=train, test=test, image_size=image_size, remedy=remedy)


def imagenet(source: ImagenetSource, image_size: int) -> Archive:
    """The archive of a source. Raises `ImagesError` where a file is missing or no archive has images of that size."""
    folder = Path(source.folder)
    if image_size not in IMAGENET_SIZES:
        allowed = f"image_size = {', '.join(map(str, IMAGENET_SIZES))}: what Downsampled ImageNet is published in"
        raise ImagesError.of(folder, expected=allowed, found=f"image_size = {image_size}")
    parts = ("train_part1", "train_part2", "val") if image_size == 64 else ("train", "val")
    names = [f"Imagenet{image_size}_{part}_npz.zip" for part in parts]
    remedy = (
        f"To get it: {'; '.join(f'curl -O {IMAGENET_URL}{name}' for name in names)} (or the archives without _npz), "
        f"then unzip -j each into {folder}. Terms: https://image-net.org/download-images"
    )
    train, test = (
        tuple(BatchFile(path=_existing(folder, name, remedy), images=images) for name, images in files.items())
        for files in (IMAGENET_TRAIN, IMAGENET_TEST)
    )
    return Archive(train=train, test=test, image_size=image_size, remedy=remedy)


def _existing(folder: Path, name: str, remedy: str) -> Path:
    """The file of that name in the folder or in one right inside of it, such as an archive brings along."""
    for ending in ("", ".npz"):
        for place in (folder, *sorted(folder.glob("*/"))):
            if (place / (name + ending)).is_file():
                return place / (name + ending)
    raise ImagesError.of(folder / name, expected="a file of the official archive", found="no such file", remedy=remedy)
