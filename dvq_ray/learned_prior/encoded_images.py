"""Image files in folders, and columns of encoded images in Parquet: whatever Pillow decodes, as 8-bit RGB."""

from __future__ import annotations

import io
import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image
from pyarrow import fs

from dvq_ray.learned_prior.settings import CHANNELS
from dvq_ray.learned_prior.sources import ImagesError, ParquetSource
from dvq_ray.learned_prior.torchvision_datasets import torchvision_datasets

_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "PPM", "TIFF")
"""Those of torchvision's image files. Pillow knows some forty more, whose decoders strangers' bytes need not reach."""
_EIGHT_BIT_MODES = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"}
"""Pillow turns others into RGB by cutting values off at 255."""
_BROKEN = (OSError, SyntaxError, ValueError, TypeError, IndexError, EOFError, struct.error, zlib.error,
           Image.DecompressionBombError)  # fmt: skip
"""What Pillow raises for bytes that are no image, or a broken one."""
_ROWS_AT_ONCE = 1024


def decode(encoded: bytes, image_size: int, where: str) -> NDArray[np.uint8]:
    """`[3, image_size, image_size]` of one encoded image; transparency is dropped. `where` is for the error."""
    size = f"{image_size}x{image_size}"
    try:
        image = Image.open(io.BytesIO(encoded), formats=_FORMATS)
        if image.size != (image_size, image_size):  # before the pixels are decoded, however many they say they are
            found = f"{image.width}x{image.height} (width x height)"
            raise ImagesError.of(where, expected=f"an image of {size} pixels", found=found)
        if image.mode not in _EIGHT_BIT_MODES:
            raise ImagesError.of(where, expected="8 bits for each colour", found=f"an image of mode {image.mode}")
        image.load()
        pixels = np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
    except ImagesError:
        raise
    except _BROKEN as error:
        found = f"{len(encoded):,} bytes that do not decode: {error}"
        raise ImagesError.of(where, expected=f"a {', '.join(_FORMATS)} image of {size} pixels", found=found) from error
    return pixels.transpose(2, 0, 1)


# Folders


def folder_files(folder: Path) -> list[Path]:
    """The image files below a folder, by torchvision's list of endings, sorted by folder and name."""
    reader = torchvision_datasets().folder
    endings = reader.IMG_EXTENSIONS
    expected = f"a folder with image files in it ({', '.join(endings)})"
    if not folder.is_dir():
        raise ImagesError.of(folder, expected=expected, found="no such folder")
    try:
        # One class, the folder itself: torchvision walks all that is below it.
        return [Path(path) for path, _ in reader.make_dataset(folder, {"": 0}, extensions=endings)]
    except FileNotFoundError:
        raise ImagesError.of(folder, expected=expected, found="none") from None


def check_folder(folder: Path, image_size: int) -> None:
    """Raises `ImagesError` where there is no image, or the first one cannot be used."""
    _decode_file(folder_files(folder)[0], image_size)


def read_folder(folder: Path, image_size: int) -> NDArray[np.uint8]:
    """All images below a folder, `[images, 3, image_size, image_size]`. Raises `ImagesError`, with the file's name."""
    files = folder_files(folder)
    images = np.empty((len(files), CHANNELS, image_size, image_size), np.uint8)
    for index, path in enumerate(files):
        images[index] = _decode_file(path, image_size)
    return images


def _decode_file(path: Path, image_size: int) -> NDArray[np.uint8]:
    try:
        encoded = path.read_bytes()
    except OSError as error:
        raise ImagesError.of(path, expected="a file that can be read", found=str(error)) from error
    return decode(encoded, image_size, str(path))


# Parquet


class ParquetImages:
    """The images of one split: a column of one file or several.

    Opening it reads the footers. Raises `ImagesError` where there is no file, one cannot be read, or the column is not
    there or holds no bytes.
    """

    def __init__(self, location: str, column: str) -> None:
        self._column = column
        self._files: list[tuple[str, pq.ParquetFile]] = []
        for filesystem, path in _matching(location):
            try:
                file = pq.ParquetFile(filesystem.open_input_file(path))
            except (OSError, pa.ArrowException) as error:
                found = f"that it cannot be read: {error}"
                raise ImagesError.of(path, expected="a Parquet file", found=found) from error
            _check_column(file.schema_arrow, column, path)
            self._files.append((path, file))
        self.count = sum(file.metadata.num_rows for _, file in self._files)
        if not self.count:
            raise ImagesError.of(location, expected="one row or more", found="none")

    def decoded(self, image_size: int) -> Iterator[NDArray[np.uint8]]:
        """Each image in turn, `[3, image_size, image_size]`. Raises `ImagesError`, with the number of the row."""
        for path, file in self._files:
            row = 0
            try:
                for batch in file.iter_batches(_ROWS_AT_ONCE, columns=[_leaf(file.schema_arrow, self._column)]):
                    values = batch.column(0)
                    if pa.types.is_struct(values.type):
                        values = values.field("bytes")
                    for encoded in values.to_pylist():
                        where = f"{path}, column {self._column}, row {row} (from 0)"
                        if encoded is None:
                            raise ImagesError.of(where, expected="an encoded image", found="null")
                        yield decode(encoded, image_size, where)
                        row += 1
            except (OSError, pa.ArrowException) as error:
                found = f"that it cannot be read: {error}"
                raise ImagesError.of(f"{path}, after row {row}", expected="Parquet data", found=found) from error


def check_parquet(source: ParquetSource, image_size: int) -> None:
    """Raises `ImagesError` where a footer, the column or the first image of a split cannot be used."""
    for location in (source.train, source.test):
        next(ParquetImages(location, source.column).decoded(image_size))


def read_parquet(location: str, column: str, image_size: int) -> NDArray[np.uint8]:
    """All images of a split, `[images, 3, image_size, image_size]`."""
    encoded = ParquetImages(location, column)
    images = np.empty((encoded.count, CHANNELS, image_size, image_size), np.uint8)
    for index, image in enumerate(encoded.decoded(image_size)):
        images[index] = image
    return images


def state_of_files(location: str) -> list[list[str]]:
    """Path, size in bytes and time of the last change of each file that a path or URI names."""
    files = (filesystem.get_file_info(path) for filesystem, path in _matching(location))
    return [[info.path, str(info.size), str(info.mtime_ns)] for info in files]


def _matching(location: str) -> list[tuple[fs.FileSystem, str]]:
    """The files that a path or URI names, by their names where it has a `*`."""
    expected = "a Parquet file"
    try:
        if "://" in location:
            filesystem, path = fs.FileSystem.from_uri(location)
        else:
            filesystem, path = fs.LocalFileSystem(), str(Path(location).absolute())
        folder, _, name = path.rpartition("/")
        if "*" not in name:
            paths = [path] if filesystem.get_file_info(path).type == fs.FileType.File else []
        else:
            pattern = re.compile(".*".join(map(re.escape, name.split("*"))))
            entries = filesystem.get_file_info(fs.FileSelector(folder or "/", allow_not_found=True))
            paths = sorted(
                entry.path for entry in entries if entry.type == fs.FileType.File and pattern.fullmatch(entry.base_name)
            )
    except (OSError, pa.ArrowException) as error:
        raise ImagesError.of(location, expected=expected, found=f"that it cannot be opened: {error}") from error
    if not paths:
        raise ImagesError.of(location, expected=expected, found="no such file")
    return [(filesystem, path) for path in paths]


def _check_column(schema: pa.Schema, column: str, path: str) -> None:
    where = f"{path}, column {column}"
    if column not in schema.names:
        raise ImagesError.of(where, expected="that column", found=f"the columns {', '.join(schema.names)}")
    kind = schema.field(column).type
    if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        kind = kind.field("bytes").type
    if not (pa.types.is_binary(kind) or pa.types.is_large_binary(kind)):
        found = str(schema.field(column).type)
        raise ImagesError.of(where, expected="encoded images: binary, or struct<bytes: binary, ...>", found=found)


def _leaf(schema: pa.Schema, column: str) -> str:
    return f"{column}.bytes" if pa.types.is_struct(schema.field(column).type) else column
