"""One encoded image as 8-bit RGB pixels of one size: upright, on a white background.

The header is judged first, so that an image that cannot be used costs no memory, however large it says it is.
"""

from __future__ import annotations

import importlib
import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from dvq_ray.learned_prior.sources import Fit, ImagesError, printable

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "PPM", "TIFF")
"""Those of torchvision's image files. Pillow knows some forty more, whose decoders strangers' bytes need not reach."""
MOST_PIXELS = 100_000_000
"""Of an image that is scaled: its pixels take four bytes each while it is decoded."""
MOST_PIXELS_PER_BYTE = 10_000
"""Only blank images come near: a small file must not take much time either."""
FILTER = Image.Resampling.BICUBIC
"""Pillow widens it by the scale when it makes an image smaller, so that all pixels count: it is antialiased."""
BACKGROUND = (255, 255, 255)
"""Seen through transparent pixels."""

_EIGHT_BIT_MODES = {"1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"}
_ORIENTATIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What makes an image upright, by its EXIF orientation."""
_GRAY_STEPS = {"L;2": 85, "L;4": 17}
"""From one value to the next once Pillow has stretched gray of few bits to 0 to 255."""
_BITS_PER_SAMPLE, _SAMPLE_FORMAT = 258, 339
_UNSIGNED = {1, 4}
_MP_ENTRIES = 0xB002

# Imported now: threads that find a format missing would load them all, and get in each other's way.
for _plugin in ("Bmp", "Jpeg", "Png", "Ppm", "Tiff", "WebP"):
    importlib.import_module(f"PIL.{_plugin}ImagePlugin")
logging.getLogger("PIL").addHandler(logging.NullHandler())  # else it writes about broken files to stderr


@dataclass(frozen=True, slots=True)
class Header:
    """What is known about an image before it is decoded."""

    width: int
    height: int
    """As they are stored: an image that lies on its side is not turned yet."""
    attached: int
    """Further pictures in a JPEG file (a gain map, a depth map, a preview), which are left out."""


@contextmanager
def quietly() -> Iterator[None]:
    """Silences Pillow's warnings about odd metadata. For the main thread: other threads then are silent too."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def read_header(file: IO[bytes], where: str) -> Header:
    """Reads as little as the format allows. Raises `ImagesError` for what `decode` refuses, as far as headers say."""
    with _named(file, where):
        image = _opened(file, where)
        return Header(image.width, image.height, getattr(image, "n_frames", 1) - 1 if image.format == "MPO" else 0)


def decode(encoded: bytes, image_size: int, where: str, fit: Fit = "error") -> NDArray[np.uint8]:
    """`[3, image_size, image_size]` of one encoded image.

    `where` is for the error. An image of another size is scaled to fit: `crop` takes the middle square, `resize` the
    whole image, whatever its proportions; `error` refuses it.
    """
    file = io.BytesIO(encoded)
    with _named(file, where):
        image = _opened(file, where)
        if fit == "error":
            check_size(image, image_size, where)
        if image.format in ("JPEG", "MPO") and encoded.find(b"\xff\xd9", file.tell()) < 0:
            # libjpeg makes up the rest of an image whose end was overwritten.
            raise _broken(file, where, "the JPEG's end is missing")
        step = _GRAY_STEPS.get(_raw_mode(image), 1)
        image.load()
        upright = _on_background(_upright(image), step)
        return np.asarray(_fitted(upright, image_size, fit)).transpose(2, 0, 1)


def check_size(image: Header | Image.Image, image_size: int, where: str) -> None:
    """Raises `ImagesError` where an image is not of the size that is wanted."""
    if (image.width, image.height) != (image_size, image_size):
        raise ImagesError.of(
            where,
            expected=f"an image of {image_size}x{image_size} pixels",
            found=f"{image.width:,}x{image.height:,} (width x height)",
            remedy="To scale images, write fit: crop or fit: resize",
        )


def is_flat(pixels: NDArray[np.uint8]) -> bool:
    """Whether an image `[3, height, width]` is of one colour."""
    return bool((pixels == pixels[:, :1, :1]).all())


@contextmanager
def _named(file: IO[bytes], where: str) -> Iterator[None]:
    """Turns whatever Pillow raises into an `ImagesError`. It names no exceptions, and broken bytes raise all kinds."""
    try:
        yield
    except (ImagesError, MemoryError):
        raise
    except Exception as error:
        if isinstance(error, UnidentifiedImageError):
            reason = "unknown to Pillow, or of a kind that it does not read"  # its message holds a memory address
        elif isinstance(error, OSError | ValueError | SyntaxError | Image.DecompressionBombError):
            reason = str(error)
        else:
            reason = f"{type(error).__name__}: {error}"
        raise _broken(file, where, reason) from error


def _broken(file: IO[bytes], where: str, reason: str) -> ImagesError:
    found = f"{_byte_count(file):,} bytes that do not decode: {printable(reason)}"
    return ImagesError.of(where, expected=f"a {', '.join(FORMATS)} image", found=found)


def _byte_count(file: IO[bytes]) -> int:
    position = file.tell()
    try:
        return file.seek(0, io.SEEK_END)
    finally:
        file.seek(position)


def _opened(file: IO[bytes], where: str) -> Image.Image:
    """The image, its pixels not decoded yet. Raises `ImagesError` where they must not be."""
    image = Image.open(file, formats=FORMATS)
    pixels, size = image.width * image.height, _byte_count(file)
    if not 0 < pixels <= min(MOST_PIXELS, MOST_PIXELS_PER_BYTE * size):
        expected = f"1 to {MOST_PIXELS:,} pixels, and at most {MOST_PIXELS_PER_BYTE:,} for each byte of the file"
        raise ImagesError.of(where, expected=expected, found=f"{image.width:,}x{image.height:,} in {size:,} bytes")
    if image.mode not in _EIGHT_BIT_MODES or _bits(image) > 8:
        bits = _bits(image)
        raise ImagesError.of(
            where,
            expected="8 bits or fewer per colour",
            found=f"{bits} bits" if bits > 8 else f"an image of mode {image.mode}",
            remedy="Scale the values to 0 to 255 and save them with 8 bits; a file does not say how far they reach",
        )
    if frames := _frames(file, image):
        remedy = "Save each one as a file of its own"
        raise ImagesError.of(where, expected="a single image", found=frames, remedy=remedy)
    _check_layout(file, image, where)
    return image


def _bits(image: Image.Image) -> int:
    """Bits of each colour in the file. Pillow's mode hides them: it drops the lower half of 16-bit colours."""
    if image.mode[0] in "IF":
        return 16 if "16" in image.mode else 32
    if image.format == "TIFF":
        return int(max(cast(Any, image).tag_v2.get(_BITS_PER_SAMPLE, (1,))))
    if image.format == "PNG":
        return 16 if ";16" in _raw_mode(image) else 8
    if image.format == "PPM":
        return int(_tile_arguments(image)[-1]).bit_length() if len(_tile_arguments(image)) == 2 else 8
    return 8


def _tile_arguments(image: Image.Image) -> tuple[Any, ...]:
    tiles = cast(Any, image).tile
    arguments = tiles[0].args if tiles else ()
    return arguments if isinstance(arguments, tuple) else (arguments,)


def _raw_mode(image: Image.Image) -> str:
    """How the pixels are stored."""
    arguments = _tile_arguments(image)
    return str(arguments[0]) if arguments else ""


def _frames(file: IO[bytes], image: Image.Image) -> str:
    """The frames or pages of a file that has several; empty for one."""
    if image.format == "MPO":  # the first is the photograph; others are its attachments, or views from elsewhere
        entries = cast(Any, image).mpinfo[_MP_ENTRIES]
        views = {str(entry["Attribute"]["MPType"]) for entry in entries[1:]}
        return ", ".join(sorted(view for view in views if view.startswith("Multi-Frame")))
    if image.format == "PPM":
        return _further_image(file, image)
    if not getattr(image, "is_animated", False):
        return ""
    # Counting a TIFF's pages takes as long as its file says.
    return "several pages" if image.format == "TIFF" else f"{cast(Any, image).n_frames:,} frames"


def _further_image(file: IO[bytes], image: Image.Image) -> str:
    """Whether another image follows in a raw PPM file, which netpbm allows."""
    tile = cast(Any, image).tile[0]
    if tile.codec_name == "ppm_plain":
        return ""
    row = (image.width + 7) // 8 if image.mode == "1" else image.width * len(image.getbands())
    file.seek(tile.offset + row * image.height)
    following = file.read(16).lstrip()
    return "another one behind it" if following[:1] == b"P" and following[1:2] in b"123456" and following[1:] else ""


def _check_layout(file: IO[bytes], image: Image.Image, where: str) -> None:
    """Raises `ImagesError` for what Pillow would take for something else."""
    if image.format == "TIFF":
        kinds = cast(Any, image).tag_v2.get(_SAMPLE_FORMAT, (1,))
        if not set(kinds) <= _UNSIGNED:
            raise ImagesError.of(where, expected="whole numbers from 0", found="signed numbers or fractions")
    if image.format == "BMP" and image.mode in ("1", "L"):
        bits = _bmp_bits(file)
        if bits != (1 if image.mode == "1" else 8):  # Pillow reads it as if it were
            raise ImagesError.of(where, expected="1 bit for black and white, or 8 for gray", found=f"{bits} bits")


def _bmp_bits(file: IO[bytes]) -> int:
    """Bits of each pixel."""
    file.seek(14)
    header = file.read(16)
    start = 10 if int.from_bytes(header[:4], "little") == 12 else 14
    return int.from_bytes(header[start : start + 2], "little")


def _upright(image: Image.Image) -> Image.Image:
    if image.format == "TIFF":  # Pillow did
        return image
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # broken metadata says nothing about the pixels
        return image
    turn = _ORIENTATIONS.get(orientation) if isinstance(orientation, int) else None
    return image if turn is None else image.transpose(turn)


def _on_background(image: Image.Image, gray_step: int) -> Image.Image:
    if not image.has_transparency_data:
        return image if image.mode == "RGB" else image.convert("RGB")
    if image.mode == "La":
        image = image.convert("LA")
    if image.mode == "L":
        image.info["transparency"] *= gray_step  # Pillow stretches the pixels, and not this
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, BACKGROUND), image).convert("RGB")


def _fitted(image: Image.Image, size: int, fit: Fit) -> Image.Image:
    if image.size == (size, size):
        return image
    if fit == "crop":
        return ImageOps.fit(image, (size, size), FILTER)
    return image.resize((size, size), FILTER)
