"""Which images are for testing, and whether any of them is for training too.

`holdout` splits by content. An image is for testing where the last 8 bytes of the SHA-256 of its file, read as a
fraction between 0 and 1, are below `holdout`. Images with the same decoded pixels go by the smallest of their digests,
so that one picture in several files or formats is on one side. Both sides are in the order of the digests. So neither
renaming nor moving files, nor shuffling rows, changes anything.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from dvq_ray.learned_prior.image_decoding import decode, is_flat
from dvq_ray.learned_prior.image_folders import FolderImages, in_threads, read_file
from dvq_ray.learned_prior.image_parquet import ParquetImages
from dvq_ray.learned_prior.sources import ImagesError

EncodedImages = FolderImages | ParquetImages
Pixels = NDArray[np.uint8]
AnyImage = TypeVar("AnyImage")

_HEAD_BYTES = 2**16
_SHOWN_PAIRS = 3


def digest(content: bytes | memoryview) -> bytes:
    """What stands for the content of a file, or for pixels."""
    return hashlib.sha256(content).digest()


# Holding images out


def is_held_out(file_digest: bytes, holdout: float) -> bool:
    """Whether an image with this digest is for testing."""
    return int.from_bytes(file_digest[-8:]) < holdout * 2**64


def split(images: Pixels, file_digests: Sequence[bytes], holdout: float, where: str) -> tuple[Pixels, Pixels]:
    """Train and test images. Raises `ImagesError` where one of the two would be empty."""
    smallest: dict[bytes, bytes] = {}
    pixel_digests = [digest(image.data) for image in images]
    for pixels, file in zip(pixel_digests, file_digests, strict=True):
        smallest[pixels] = min(file, smallest.get(pixels, file))
    held = np.array([is_held_out(smallest[pixels], holdout) for pixels in pixel_digests])
    order = np.array(sorted(range(len(images)), key=file_digests.__getitem__))
    train, test = order[~held[order]], order[held[order]]
    if not len(train) or not len(test):
        raise _one_sided(where, len(images), holdout)
    return images[train], images[test]


def check_split(images: EncodedImages, holdout: float, where: str) -> None:
    """As `split`, without decoding anything: reads as many images as it takes to see one on each side."""
    if isinstance(images, ParquetImages) and not images.is_at_hand:
        return
    sides = set()
    for encoded in images.encoded():
        sides.add(is_held_out(digest(encoded), holdout))
        if len(sides) == 2:
            return
    raise _one_sided(where, len(images), holdout)


def _one_sided(where: str, count: int, holdout: float) -> ImagesError:
    found = f"all of its {count:,} images on one side at holdout = {holdout:g}"
    remedy = "Write another holdout, or test in its place"
    return ImagesError.of(where, expected="images for training and for testing", found=found, remedy=remedy)


# Overlap


def check_files_apart(train: EncodedImages, test: EncodedImages, where: str) -> None:
    """Raises `ImagesError` where both splits have the same file, whatever its names."""
    train_files, test_files = train.files(), test.files()
    shared = [(train_files[real], path) for real, path in test_files.items() if real in train_files]
    _require_none(shared, len(test_files), "files", where)


def check_contents_apart(train: EncodedImages, test: EncodedImages, where: str) -> None:
    """Raises `ImagesError` where both splits have an image of equal bytes, as far as that is quickly seen.

    Of folders, files of equal length are read as far as they are equal; of Parquet files, all rows that are at hand.
    """
    if isinstance(train, FolderImages) and isinstance(test, FolderImages):
        pairs = _equal_files(list(train.files().values()), list(test.files().values()))
    elif isinstance(train, ParquetImages) and isinstance(test, ParquetImages) and train.is_at_hand and test.is_at_hand:
        equal = _equal(train.encoded(), test.encoded(), digest, _is_flat_file)
        pairs = [(train.where(i), test.where(j)) for i, j in equal]
    else:
        return
    _require_none(pairs, len(test), "images", where)


def check_pixels_apart(
    train: Pixels, test: Pixels, train_name: Callable[[int], str], test_name: Callable[[int], str], where: str
) -> None:
    """Raises `ImagesError` where a test image has the pixels of a train image."""
    pairs = [(train_name(i), test_name(j)) for i, j in _equal(train, test, lambda image: digest(image.data), is_flat)]
    _require_none(pairs, len(test), "images", where)


def _equal(
    train: Iterable[AnyImage],
    test: Iterable[AnyImage],
    key: Callable[[AnyImage], object],
    is_flat: Callable[[AnyImage], bool],
) -> list[tuple[int, int]]:
    """Each test image that is among the train images, after the first of these.

    Images of a single colour are left out: they are equal by chance, and nothing is learnt from them.
    """
    places: dict[object, list[int]] = {}
    for j, image in enumerate(test):
        places.setdefault(key(image), []).append(j)
    pairs = []
    for i, image in enumerate(train):
        found = places.pop(key(image), [])
        if found and not is_flat(image):
            pairs += [(i, j) for j in found]
    return pairs


def _equal_files(train: Sequence[str], test: Sequence[str]) -> list[tuple[str, str]]:
    for key in (os.path.getsize, _head):
        train_keys, test_keys = (list(in_threads(key, paths)) for paths in (train, test))
        common = set(train_keys) & set(test_keys)
        train = [path for path, found in zip(train, train_keys, strict=True) if found in common]
        test = [path for path, found in zip(test, test_keys, strict=True) if found in common]
    equal = _equal(map(read_file, train), map(read_file, test), digest, _is_flat_file)
    return [(train[i], test[j]) for i, j in equal]


def _head(path: str) -> bytes:
    with open(path, "rb") as file:
        return digest(file.read(_HEAD_BYTES))


def _is_flat_file(encoded: bytes) -> bool:
    try:
        return is_flat(decode(encoded, 8, "", "resize"))
    except ImagesError:
        return False


def _require_none(pairs: Sequence[tuple[str, str]], count: int, what: str, where: str) -> None:
    if not pairs:
        return
    shown = [test if train == test else f"{test} = {train}" for train, test in pairs[:_SHOWN_PAIRS]]
    shown += ["and others"] * (len(pairs) > len(shown))
    raise ImagesError.of(
        where,
        expected=f"test {what} that are not among the train {what}",
        found=f"{len(pairs):,} of {count:,} that are: {', '.join(shown)}",
        remedy="Remove them from one of the two, or write overlap: allowed if they are meant to be in both",
    )
