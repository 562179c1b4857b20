"""Thousands of damaged images and Parquet files: each gives pixels or an `ImagesError`, soon and in little memory."""

from __future__ import annotations

import io
import random
import resource
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from dvq_ray.learned_prior.image_decoding import decode, quietly, read_header
from dvq_ray.learned_prior.images import check, load_images
from dvq_ray.learned_prior.sources import Fit, ImagesError, ParquetSource
from tests.learned_prior.image_files import GRAY_ALPHA, PALETTE, RGB, RGBA, bmp, exif, png, png_chunk, tiff

SIZE = 16
NUMBERS = [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\x80\0\0\0", b"\1\0\0\0"]
"""Lengths, offsets and counts that readers stumble over."""


def saved(image: Image.Image, form: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def whole_images() -> dict[str, bytes]:
    """Every format in every mode, compression and depth."""
    pixels = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    modes = {
        "PNG": ["1", "L", "LA", "P", "RGB", "RGBA"],
        "WEBP": ["RGB", "RGBA"],
        "BMP": ["1", "L", "P", "RGB", "RGBA"],
        "PPM": ["1", "L", "RGB"],
        "JPEG": ["L", "RGB", "CMYK"],
        "TIFF": ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr"],
    }
    images = {f"{form} {mode}": saved(image.convert(mode), form) for form in modes for mode in modes[form]}
    for form in ("PNG", "JPEG", "WEBP"):
        images[f"{form} on its side"] = saved(image, form, exif=b"Exif\0\0" + exif(6))
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "zstd"):
        images[f"TIFF {compression}"] = saved(image, "TIFF", compression=compression)
    for form in ("PNG", "WEBP", "TIFF", "MPO"):
        images[f"{form} of frames"] = saved(image, form, save_all=True, append_images=[image.rotate(90)])
    return images | {
        "JPEG, progressive": saved(image, "JPEG", progressive=True),
        "WebP, lossless": saved(image, "WEBP", lossless=True),
        "TIFF, fax": saved(image.convert("1"), "TIFF", compression="group4"),
        "PNG, 16 bits": png(SIZE, SIZE, [bytes(6 * SIZE)] * SIZE, bits=16, colour=RGB),
        "PNG, gray and alpha": png(SIZE, SIZE, [bytes(2 * SIZE)] * SIZE, colour=GRAY_ALPHA),
        "PNG, RGBA": png(SIZE, SIZE, [bytes(range(64))] * SIZE, colour=RGBA),
        "PNG, palette": png(
            SIZE,
            SIZE,
            [bytes(range(8))] * SIZE,
            bits=4,
            colour=PALETTE,
            chunks=png_chunk(b"PLTE", bytes(48)) + png_chunk(b"tRNS", b"\x80\0"),
        ),
        "TIFF, planes": tiff(SIZE, SIZE, [bytes(256)] * 3, bits=[8] * 3, photometric=2),
        "TIFF, 16 bits": tiff(SIZE, SIZE, [bytes(1536)], bits=[16] * 3, photometric=2, order=">"),
        "TIFF, palette": tiff(SIZE, SIZE, [bytes(128)], bits=[4], photometric=3, tags={320: [0, 65535, 9] * 16}),
        "BMP, 4 bits": bmp(SIZE, SIZE, [bytes(8)] * SIZE, bits=4, palette=[(i, 0, 9) for i in range(16)]),
        "PGM, plain": b"P2 16 16 15\n" + b"1 2 3 4 5 6 7 8 " * 32,
        "PPM, 16 bits": b"P6 16 16 999\n" + bytes(1536),
    }


def damaged(whole: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    """Cut off, flipped, zeroed, with another file's header or end, doubled, shortened or overwritten."""
    content = bytearray(whole)
    for _ in range(rng.choice([1, 1, 1, 2, 5])):
        if not content:
            break
        place = rng.randrange(len(content))
        match rng.randrange(9):
            case 0:
                del content[place:]
            case 1:
                for _ in range(rng.choice([1, 1, 2, 8])):
                    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
            case 2:
                content[place:] = bytes(len(content) - place)
            case 3:
                length = rng.randrange(1, 64)
                content[:length] = rng.choice(others)[:length]
            case 4:
                start, length = min(place, rng.randrange(128)), rng.choice([1, 2, 4])
                content[start : start + length] = rng.choice(NUMBERS)[:length]
            case 5:
                content[place:place] = content[place : place + rng.randrange(1, 200)]
            case 6:
                del content[place : place + rng.randrange(1, 64)]
            case 7:
                content[place : place + rng.randrange(1, 16)] = rng.randbytes(rng.randrange(1, 16))
            case 8:
                other = rng.choice(others)
                content[place:] = other[rng.randrange(len(other)) :]
    return bytes(content)


@pytest.fixture
def bounded() -> Iterator[None]:
    """Holds the whole test to a time and a memory that a single hang or bomb would exceed."""
    started, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with quietly():
        yield
    assert time.process_time() - started < 120
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000, "kilobytes"


def test_damaged_images_give_pixels_or_one_line_of_error(bounded: None) -> None:
    images = list(whole_images().values())
    rng = random.Random(0)
    fits: list[Fit] = ["error", "crop", "resize"]
    messages: list[str] = []
    decoded = 0
    for i in range(4000):
        content = damaged(images[i % len(images)], images, rng)
        try:
            read_header(io.BytesIO(content), "x")
            pixels = decode(content, SIZE, "x", rng.choice(fits))
        except ImagesError as error:
            messages.append(str(error))
        else:
            assert pixels.shape == (3, SIZE, SIZE)
            assert pixels.dtype == np.uint8
            decoded += 1
    assert all(message.startswith("x: expected ") and message.isprintable() for message in messages)
    assert min(decoded, len(messages)) > 300, "both happen"


def test_every_whole_image_is_decoded_or_refused_for_a_reason() -> None:
    refused = set()
    with quietly():
        for name, content in whole_images().items():
            try:
                decode(content, SIZE, "x")
            except ImagesError:
                refused.add(name)
    frames = {f"{form} of frames" for form in ("PNG", "WEBP", "TIFF")}
    assert refused == frames | {"PNG, 16 bits", "TIFF, 16 bits", "PPM, 16 bits"}


def test_every_beginning_of_an_image_is_refused() -> None:
    with quietly():
        for name, content in whole_images().items():
            needed = len(content) - 24  # what is behind the pixels: checksums, padding, an end
            if name == "MPO of frames":
                needed = content.index(b"\xff\xd9")  # the first picture's
            for length in range(0, needed, 1 + needed // 40):
                with pytest.raises(ImagesError):
                    decode(content[:length], SIZE, "x")


def parquet_files() -> Iterator[bytes]:
    usable = [image for name, image in whole_images().items() if "frames" not in name and "16 bits" not in name]
    images = usable[::4]
    hub = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    for kind in (pa.binary(), pa.large_binary(), hub):
        values: list[Any] = [{"bytes": one, "path": "a.png"} for one in images] if kind == hub else images
        for options in ({}, {"compression": "zstd", "use_dictionary": False}, {"row_group_size": 3}):
            file = io.BytesIO()
            pq.write_table(pa.table({"label": range(len(images)), "image": pa.array(values, kind)}), file, **options)
            yield file.getvalue()


def test_damaged_parquet_files_give_images_or_lines_of_error(bounded: None, tmp_path: Path) -> None:
    files = list(parquet_files())
    rng = random.Random(0)
    pq.write_table(pa.table({"image": [whole_images()["PNG RGB"]]}), tmp_path / "test.parquet")
    source = ParquetSource(
        train=str(tmp_path / "train.parquet"), test=str(tmp_path / "test.parquet"), fit="error", overlap="allowed"
    )
    messages: list[str] = []
    loaded = 0
    for i in range(300):
        content = bytearray(files[i % len(files)])
        footer = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
        for _ in range(rng.choice([1, 2, 4])):
            place = rng.randrange(rng.choice([0, footer]), len(content))
            if rng.random() < 0.5:
                content[place] ^= 1 << rng.randrange(8)
            else:
                length = rng.randrange(1, 9)
                content[place : place + length] = rng.randbytes(length)
        if rng.random() < 0.1:
            del content[rng.randrange(len(content)) :]
        Path(source.train).write_bytes(content)
        load_images.cache_clear()
        for look in (partial(check, source, SIZE, "x"), partial(load_images, source, SIZE)):
            try:
                loaded += look() is not None
            except ImagesError as error:
                messages += str(error).splitlines()
    assert all(message.isprintable() for message in messages)
    assert min(loaded, len(messages)) > 30, "both happen"
