"""Encoded images of folders and Parquet files: a look at them before the start, and their pixels."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import PIL

from dvq_ray.experiments.learned_prior.image_decoding import check_size, decode
from dvq_ray.experiments.learned_prior.node_cache import Splits, read_once
from dvq_ray.experiments.learned_prior.settings import CHANNELS
from dvq_ray.experiments.learned_prior.sources import EncodedSource, Fit, ImagesError, printable
from dvq_ray.experiments.learned_prior.train_test_split import (
    EncodedImages,
    Pixels,
    check_contents_apart,
    check_files_apart,
    check_pixels_apart,
    check_split,
    digest,
    split,
)

_SHOWN_IMAGES = 3


def read_encoded(source: EncodedSource, image_size: int) -> tuple[Pixels, Pixels]:
    """Train and test images, `[images, 3, image_size, image_size]`. Raises `ImagesError`."""
    splits = _splits(source)
    digests: list[bytes] = []
    pixels = [_decoded(images, image_size, source.fit, digests) for images in splits]
    if source.holdout is not None:
        return split(pixels[0], digests, source.holdout, source.train)
    if source.overlap == "error":
        train, test = splits
        check_pixels_apart(pixels[0], pixels[1], train.where, test.where, _locations(source)[-1])
    return pixels[0], pixels[1]


def read_encoded_once(source: EncodedSource, image_size: int) -> Splits:
    """Reads like `read_encoded`, once for all processes of a machine as long as the files stay as they are."""
    state = [each for location in _locations(source) for each in source.state(location)]
    key = json.dumps([source.model_dump(mode="json"), image_size, state, PIL.__version__])
    return read_once(key, lambda: read_encoded(source, image_size))


def check_encoded(source: EncodedSource, image_size: int, note: Callable[[str], None]) -> list[ImagesError]:
    """What is wrong, as far as the headers of all images say, and the pixels of the first one of each split.

    Of a column at a URI, or a very large one, the first image and what the footers say. `note` is called with what a
    user may want to know.
    """
    problems: list[ImagesError] = []
    splits: list[EncodedImages] = []
    for location in _locations(source):
        try:
            images = source.opened(location)
            splits.append(images)
            problems += _header_problems(images, location, image_size, source.fit, note)
        except ImagesError as error:
            problems.append(error)
    where = _locations(source)[-1]
    if len(splits) == 2 and source.overlap == "error":
        problems += _raised(check_files_apart, *splits, where)
    if problems:
        return problems
    for images in splits:
        problems += _raised(_check_first, images, image_size, source.fit)
    if source.holdout is not None:
        problems += _raised(check_split, splits[0], source.holdout, where)
    elif source.overlap == "error":
        problems += _raised(check_contents_apart, *splits, where)
    return problems


def _locations(source: EncodedSource) -> list[str]:
    return [source.train] if source.test is None else [source.train, source.test]


def _splits(source: EncodedSource) -> list[EncodedImages]:
    return [source.opened(location) for location in _locations(source)]


def _decoded(images: EncodedImages, image_size: int, fit: Fit, digests: list[bytes]) -> Pixels:
    """The pixels of each image; adds the digest of its file to `digests`."""
    pixels = np.empty((len(images), CHANNELS, image_size, image_size), np.uint8)
    for index, encoded in enumerate(images.encoded()):
        pixels[index] = decode(encoded, image_size, images.where(index), fit)
        digests.append(digest(encoded))
    return pixels


def _raised(check: Callable[..., None], *arguments: Any) -> list[ImagesError]:
    try:
        check(*arguments)
    except ImagesError as error:
        return [error]
    return []


def _check_first(images: EncodedImages, image_size: int, fit: Fit) -> None:
    decode(next(images.encoded()), image_size, images.where(0), fit)


def _header_problems(
    images: EncodedImages, location: str, image_size: int, fit: Fit, note: Callable[[str], None]
) -> list[ImagesError]:
    """One problem for each kind, with how many images have it."""
    counts: Counter[tuple[str, str]] = Counter()
    examples: dict[tuple[str, str], list[ImagesError]] = {}
    attached = small = 0
    for index, header in enumerate(images.headers()):
        if isinstance(header, ImagesError):
            found = [header]
        else:
            attached += header.attached > 0
            small += min(header.width, header.height) < image_size
            wrong = fit == "error" and (header.width, header.height) != (image_size, image_size)
            found = _raised(check_size, header, image_size, images.where(index)) if wrong else []
        for error in found:
            kind = error.expected, error.remedy
            counts[kind] += 1
            examples.setdefault(kind, []).extend([error] if counts[kind] <= _SHOWN_IMAGES else [])
    for text in images.notes():
        note(text)
    of_all = f"of {len(images):,} images"
    if attached:
        note(f"{location}: {attached:,} {of_all} come with further pictures (gain or depth maps, previews), left out")
    if small and fit != "error":
        note(f"{location}: {small:,} {of_all} are smaller than {image_size}x{image_size} and are enlarged")
    return [_together(alike, counts[kind], location, of_all) for kind, alike in examples.items()]


def _together(alike: list[ImagesError], count: int, location: str, of_all: str) -> ImagesError:
    first = alike[0]
    if count == 1:
        return first
    places = [error.where.removeprefix(printable(location)).lstrip("/, ") for error in alike]
    found = [f"{error.found} in {place}" for error, place in zip(alike, places, strict=True)]
    found += ["and others"] * (count > len(alike))
    where = f"{location}: {count:,} {of_all}"
    return ImagesError.of(where, expected=first.expected, found=", ".join(found), remedy=first.remedy)
