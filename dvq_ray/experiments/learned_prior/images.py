"""The images of a data set: decoded once, train and test, as uint8."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from dvq_ray.experiments.learned_prior.image_decoding import quietly
from dvq_ray.experiments.learned_prior.settings import LearnedPriorSettings
from dvq_ray.experiments.learned_prior.sources import ImagesError, ImageSource, printable

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
def load_images(source: ImageSource, image_size: int) -> Images:
    """Reads and decodes a data set; the last one is kept, do not write to it.

    Raises `ImagesError` with the file for whatever is missing, broken or not of that size.
    """
    with quietly():
        train, test = source.expanded().read(image_size)
    return Images(train=train, test=test, sha256=_digest(train, test))


def check(source: ImageSource, image_size: int, name: str, note: Callable[[str], None] = lambda _: None) -> None:
    """A quick look before anything is started: are the files there, and are they what they should be?

    Reads checksums, headers and first images, not all pixels. Raises `ImagesError` with a line for each problem, which
    begins with `name`, like what `note` is called with: what is no problem, but would surprise a user.
    """
    with quietly():
        problems = _problems(source.expanded(), image_size, lambda text: note(printable(f"{name}: {text}")))
    if problems:
        raise ImagesError("\n".join(printable(f"{name}: {problem}") for problem in problems)) from problems[0]


def problems(
    settings: Iterable[LearnedPriorSettings],
    data: Mapping[str, ImageSource],
    note: Callable[[str], None] = lambda _: None,
) -> list[str]:
    """What `check` finds wrong with the data sets that cells of these settings read, each looked at once."""
    found: dict[str, None] = {}  # dictionaries, because a data set is looked at for each size of its images
    notes: dict[str, None] = {}
    for name, image_size in sorted({(one.dataset, one.image_size) for one in settings}):
        try:
            check(data[name], image_size, name, lambda text: notes.setdefault(text))
        except ImagesError as error:
            found |= dict.fromkeys(str(error).splitlines())
    for text in notes:
        note(text)
    return list(found)


def _problems(source: ImageSource, image_size: int, note: Callable[[str], None]) -> list[ImagesError]:
    try:
        return source.problems(image_size, note)
    except ImagesError as error:
        return [error]
    except OSError as error:  # a file that went away meanwhile
        return [ImagesError(printable(str(error)))]


def _digest(*splits: NDArray[np.uint8]) -> str:
    digest = hashlib.sha256()
    for images in splits:
        digest.update(f"{images.shape}".encode())
        digest.update(np.ascontiguousarray(images).data)
    return digest.hexdigest()
