"""Where data sets of images are: the built-in names, and what a sweep file's `data` may add to them.

    data:
      butterflies: {format: folder, train: data/butterflies/train, test: data/butterflies/test}
      faces: {format: parquet, train: s3://bucket/faces/train-*.parquet, test: s3://bucket/faces/test.parquet}

A name is part of a cell's identity, its source is not: the same images may lie elsewhere on another machine. Nothing
here opens a file; `dvq_ray.learned_prior.images` does.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter
from pydantic_core import PydanticCustomError


class ImagesError(ValueError):
    """Images that cannot be used: says which file, what was expected, what was found and how to get it."""

    @classmethod
    def of(cls, where: object, *, expected: str, found: str, remedy: str = "") -> Self:
        """One problem, in the order in which every message says it."""
        return cls(f"{where}: expected {expected}; found {found}" + (f". {remedy}" if remedy else ""))


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


class Source(BaseModel):
    """Where the images of one data set are. Decides nothing about a result as long as the pixels are the same."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)
    locations: ClassVar[tuple[str, ...]] = ()
    """Fields that hold a path or URI."""

    def absolute(self) -> Self:
        """The same source with local paths as they are from any working folder; URIs stay."""
        return self.model_copy(update={field: _absolute(getattr(self, field)) for field in self.locations})


def _absolute(location: str) -> str:
    return location if "://" in location else str(Path(location).expanduser().absolute())


class PhotosSource(Source):
    """Crops of the two photographs that scikit-learn ships: no download."""

    format: Literal["photos"] = "photos"


class Cifar10Source(Source):
    """The official CIFAR-10 archive for Python, unpacked."""

    format: Literal["cifar10"] = "cifar10"
    folder: LocalFolder
    """Holds data_batch_1 to data_batch_5 and test_batch."""
    locations: ClassVar = ("folder",)


class ImagenetSource(Source):
    """The official Downsampled ImageNet files (Chrabaszcz et al., arXiv 1707.08819), unpacked."""

    format: Literal["imagenet"] = "imagenet"
    folder: LocalFolder
    """Holds train_data_batch_1 to train_data_batch_10 and val_data, each with the ending .npz or none."""
    locations: ClassVar = ("folder",)


class FolderSource(Source):
    """Image files below two folders, nested or not, in the order of their paths."""

    format: Literal["folder"] = "folder"
    train: LocalFolder
    test: LocalFolder
    locations: ClassVar = ("train", "test")


class ParquetSource(Source):
    """Parquet files with a column of encoded images (JPEG, PNG ...): binary, or struct<bytes: binary, ...>."""

    format: Literal["parquet"] = "parquet"
    train: ParquetLocation
    """Path or URI of a file; a * in the file name stands for several, read in the order of their names."""
    test: ParquetLocation
    column: Annotated[str, Field(min_length=1)] = "image"
    locations: ClassVar = ("train", "test")


AnySource = PhotosSource | Cifar10Source | ImagenetSource | FolderSource | ParquetSource

SOURCE: TypeAdapter[AnySource] = TypeAdapter(Annotated[AnySource, Field(discriminator="format")])
"""Checks one value of a sweep file's `data`, and gives its source."""

BUILT_IN: Mapping[str, AnySource] = {
    "photos": PhotosSource(),
    "cifar10": Cifar10Source(folder="data/cifar-10-batches-py"),
    "imagenet32": ImagenetSource(folder="data/imagenet32"),
    "imagenet64": ImagenetSource(folder="data/imagenet64"),
}
"""Names that every sweep file knows. Their paths are relative to the working folder."""
