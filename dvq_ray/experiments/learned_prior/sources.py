"""Where data sets of images are: the built-in names, and what a sweep file's `data` may add to them.

    data:
      butterflies: {format: folder, train: data/butterflies/train, test: data/butterflies/test}
      faces: {format: parquet, train: s3://bucket/faces/train-*.parquet, test: s3://bucket/faces/test.parquet}
      holidays: {format: folder, train: ~/Pictures, holdout: 0.1, fit: crop}

A name is part of a cell's identity, its source is not: the same images may lie elsewhere on another machine. Nothing
here opens a file; `dvq_ray.experiments.learned_prior.images` does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from dvq_ray.experiment.data_sets import DataSource

Fit = Literal["error", "crop", "resize"]


class ImagesError(ValueError):
    """Images that cannot be used: says which file, what was expected, what was found and how to get it."""

    where = expected = found = remedy = ""

    @classmethod
    def of(cls, where: object, *, expected: str, found: str, remedy: str = "") -> Self:
        """One problem, in the order in which every message says it."""
        where, found = printable(str(where)), printable(found)
        error = cls(f"{where}: expected {expected}; found {found}" + (f". {remedy}" if remedy else ""))
        error.where, error.expected, error.found, error.remedy = where, expected, found, remedy
        return error


def printable(text: str) -> str:
    """The text with escapes for control characters, and for bytes of file names that are not UTF-8."""
    return "".join(one if one.isprintable() else _escape(one) for one in text)


def _escape(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # Python's stand-in for a byte
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()


def _local(folder: str) -> str:
    if "://" in folder:
        raise PydanticCustomError("folder", "allowed: a folder of this machine, no URI")
    return folder


def _pattern_in_file_name(location: str) -> str:
    if "*" in location.rpartition("/")[0]:
        raise PydanticCustomError("location", "allowed: * in the name of the file, not in its folder")
    return location


LocalFolder = Annotated[str, Field(min_length=1), AfterValidator(_local)]
ParquetLocation = Annotated[str, Field(min_length=1), AfterValidator(_pattern_in_file_name)]


class PhotosSource(DataSource):
    """Crops of the two photographs that scikit-learn ships: no download."""

    format: Literal["photos"] = "photos"


class Cifar10Source(DataSource):
    """The official CIFAR-10 archive for Python, unpacked."""

    format: Literal["cifar10"] = "cifar10"
    folder: LocalFolder
    """Holds data_batch_1 to data_batch_5 and test_batch."""
    locations: ClassVar = ("folder",)


class ImagenetSource(DataSource):
    """The official Downsampled ImageNet files (Chrabaszcz et al., arXiv 1707.08819), unpacked."""

    format: Literal["imagenet"] = "imagenet"
    folder: LocalFolder
    """Holds train_data_batch_1 to train_data_batch_10 and val_data, each with the ending .npz or none."""
    locations: ClassVar = ("folder",)


class EncodedSource(DataSource):
    """Encoded images, of a size and with a test split that their owner did not choose for us."""

    fit: Fit = "error"
    """What becomes of an image of another size than `image_size`. `crop` scales the shorter side to it and cuts out
    the middle; `resize` scales both sides, whatever the proportions; both with Pillow's bicubic filter, antialiased.
    `error` refuses it before the start."""
    holdout: Annotated[float, Field(gt=0, lt=1)] | None = None
    """In place of `test`: the part of `train` that is for testing. Content alone decides which images that is (see
    `dvq_ray.experiments.learned_prior.train_test_split`)."""
    overlap: Literal["error", "allowed"] = "error"
    """Whether images may be in `train` and in `test`. Images of a single colour always may."""
    train: str
    test: str | None = None

    @model_validator(mode="after")
    def _one_test(self) -> Self:
        if self.test is None and self.holdout is None:
            raise PydanticCustomError("split", "test is missing; allowed: test, or holdout in its place")
        if self.test is not None and self.holdout is not None:
            raise PydanticCustomError("split", "test and holdout are both given; allowed: one of the two")
        return self


class FolderSource(EncodedSource):
    """Image files below two folders, nested or not, in the order of their paths."""

    format: Literal["folder"] = "folder"
    train: LocalFolder
    test: LocalFolder | None = None
    locations: ClassVar = ("train", "test")


class ParquetSource(EncodedSource):
    """Parquet files with a column of encoded images (JPEG, PNG ...): binary, or struct<bytes: binary, ...>."""

    format: Literal["parquet"] = "parquet"
    train: ParquetLocation
    """Path or URI of a file; a * in the file name stands for several, read in the order of their names."""
    test: ParquetLocation | None = None
    column: Annotated[str, Field(min_length=1)] = "image"
    locations: ClassVar = ("train", "test")


AnySource = PhotosSource | Cifar10Source | ImagenetSource | FolderSource | ParquetSource
SOURCES: tuple[type[DataSource], ...] = (PhotosSource, Cifar10Source, ImagenetSource, FolderSource, ParquetSource)
"""What a sweep file may describe, each by its `format`."""

BUILT_IN: Mapping[str, AnySource] = {
    "photos": PhotosSource(),
    "cifar10": Cifar10Source(folder="data/cifar-10-batches-py"),
    "imagenet32": ImagenetSource(folder="data/imagenet32"),
    "imagenet64": ImagenetSource(folder="data/imagenet64"),
}
"""Names that every sweep file knows. Their paths are relative to the working folder."""
