"""The images of a data set: decoded once, train and test, as uint8."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dvq_ray.learned_prior import array_archives
from dvq_ray.learned_prior.encoded_images import check_folder, check_parquet, read_folder, read_parquet, state_of_files
from dvq_ray.learned_prior.node_cache import read_once
from dvq_ray.learned_prior.photos import read_photos
from dvq_ray.learned_prior.settings import LearnedPriorSettings
from dvq_ray.learned_prior.sources import (
    AnySource,
    Cifar10Source,
    FolderSource,
    ImagenetSource,
    ImagesError,
    ParquetSource,
    PhotosSource,
)

__all__ = ["Images", "ImagesError", "check", "load_images", "problems"]


@dataclass(frozen=True, kw_only=True)
class Images:
    """All pixels of a data set, 0 to 255."""

    train: NDArray[np.uint8]
    """`[images, 3, size, size]`, channels red, green, blue."""
    test: NDArray[np.uint8]
    """`[images, 3, size, size]`."""
    sha256: str
    """Digest of shapes and pixels, train before test."""


@lru_cache(maxsize=1)  # the cells of a trial share one data set, and the largest take a whole machine's memory
def load_images(source: AnySource, image_size: int) -> Images:
    """Reads and decodes a data set; the last one is kept, do not write to it.

    Raises `ImagesError` with the file for whatever is missing, broken or not of that size.
    """
    train, test = _read(source, image_size)
    return Images(train=train, test=test, sha256=_digest(train, test))


def check(source: AnySource, image_size: int, name: str) -> None:
    """A quick look before anything is started: are the files there, and are they what they should be?

    Reads checksums, headers and first images, not all pixels. Raises `ImagesError` that begins with `name`.
    """
    try:
        match source:
            case PhotosSource():
                read_photos(image_size)
            case Cifar10Source():
                array_archives.cifar10(source, image_size).check()
            case ImagenetSource():
                array_archives.imagenet(source, image_size).check()
            case FolderSource():
                check_folder(Path(source.train), image_size)
                check_folder(Path(source.test), image_size)
            case ParquetSource():
                check_parquet(source, image_size)
    except ImagesError as error:
        raise ImagesError(f"{name}: {error}") from error


def problems(settings: Iterable[LearnedPriorSettings], data: Mapping[str, AnySource]) -> list[str]:
    """What `check` finds wrong with the data sets that cells of these settings read, each looked at once."""
    found = []
    for name, image_size in sorted({(one.dataset, one.image_size) for one in settings}):
        try:
            check(data[name], image_size, name)
        except ImagesError as error:
            found.append(str(error))
    return found


def _read(source: AnySource, image_size: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    match source:
        case PhotosSource():
            return read_photos(image_size)
        case Cifar10Source():
            archive = array_archives.cifar10(source, image_size)
            return archive.read(archive.train), archive.read(archive.test)
        case ImagenetSource():
            archive = array_archives.imagenet(source, image_size)
            return archive.read(archive.train), archive.read(archive.test)
        case FolderSource():
            return read_folder(Path(source.train), image_size), read_folder(Path(source.test), image_size)
        case ParquetSource():
            if not any("://" in location for location in (source.train, source.test)):
                return _read_parquet(source, image_size)
            states = [state_of_files(location) for location in (source.train, source.test)]
            key = json.dumps([source.model_dump(mode="json"), image_size, states])
            return read_once(key, lambda: _read_parquet(source, image_size))


def _read_parquet(source: ParquetSource, image_size: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    train, test = (read_parquet(location, source.column, image_size) for location in (source.train, source.test))
    return train, test


def _digest(*splits: NDArray[np.uint8]) -> str:
    digest = hashlib.sha256()
    for images in splits:
        digest.update(f"{images.shape}".encode())
        digest.update(np.ascontiguousarray(images).data)
    return digest.hexdigest()
