"""Where data sets of images are: the built-in names, and what a sweep file's `data` may add to them.

    data:
      butterflies: {format: folder, train: data/butterflies/train, test: data/butterflies/test}
      faces: {format: parquet, train: s3://bucket/faces/train-*.parquet, test: s3://bucket/faces/test.parquet}
      holidays: {format: folder, train: ~/Pictures, holdout: 0.1, fit: crop}

A name is part of a cell's identity, its source is not: the same images may lie elsewhere on another machine. A
source reads its images, and looks at them before the start; `dvq_ray.experiments.learned_prior.images` is where to
ask for them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from dvq_ray.experiment.data_sets import DataSource

if TYPE_CHECKING:
    from dvq_ray.experiments.learned_prior.array_archives import Archive
    from dvq_ray.experiments.learned_prior.node_cache import Splits
    from dvq_ray.experiments.learned_prior.train_test_split import EncodedImages

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


class ImageSource(DataSource):
    """A source of images. What reads them is imported when it is needed."""

    def read(self, image_size: int) -> Splits:
        """Train and test images, `[images, 3, image_size, image_size]`. Raises `ImagesError`."""
        raise NotImplementedError

    def problems(self, image_size: int, note: Callable[[str], None]) -> list[ImagesError]:
        """What is wrong, as far as a quick look shows; also raises `ImagesError`.

        `note` is called with what is not a problem, but would surprise a user.
        """
        raise NotImplementedError


class PhotosSource(ImageSource):
    """Crops of the two photographs that scikit-learn ships: no download."""

    format: Literal["photos"] = "photos"

    def read(self, image_size: int) -> Splits:
        """Cuts the crops."""
        from dvq_ray.experiments.learned_prior.photos import read_photos

        return read_photos(image_size)

    def problems(self, image_size: int, note: Callable[[str], None]) -> list[ImagesError]:
        """Cuts the crops, which takes no time."""
        self.read(image_size)
        return []


class ArchiveSource(ImageSource):
    """Arrays in an official form."""

    def archive(self, image_size: int) -> Archive:
        """The files, and what they must be."""
        raise NotImplementedError

    def read(self, image_size: int) -> Splits:
        """Reads all batches."""
        archive = self.archive(image_size)
        return archive.read(archive.train), archive.read(archive.test)

    def problems(self, image_size: int, note: Callable[[str], None]) -> list[ImagesError]:
        """Looks at checksums and headers."""
        self.archive(image_size).check()
        return []


class Cifar10Source(ArchiveSource):
    """The official CIFAR-10 archive for Python, unpacked."""

    format: Literal["cifar10"] = "cifar10"
    folder: LocalFolder
    """Holds data_batch_1 to data_batch_5 and test_batch."""
    locations: ClassVar = ("folder",)

    def archive(self, image_size: int) -> Archive:
        """The six batches."""
        from dvq_ray.experiments.learned_prior.array_archives import cifar10

        return cifar10(self, image_size)


class ImagenetSource(ArchiveSource):
    """The official Downsampled ImageNet files (Chrabaszcz et al., arXiv 1707.08819), unpacked."""

    format: Literal["imagenet"] = "imagenet"
    folder: LocalFolder
    """Holds train_data_batch_1 to train_data_batch_10 and val_data, each with the ending .npz or none."""
    locations: ClassVar = ("folder",)

    def archive(self, image_size: int) -> Archive:
        """The eleven batches."""
        from dvq_ray.experiments.learned_prior.array_archives import imagenet

        return imagenet(self, image_size)


class EncodedSource(ImageSource):
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

    def read(self, image_size: int) -> Splits:
        """Decodes all images; where that is slow, once for all processes of a machine."""
        from dvq_ray.experiments.learned_prior.encoded_images import read_encoded, read_encoded_once

        is_slow = self.fit != "error" or "://" in self.train or "://" in (self.test or "")  # afar, or large as a rule
        return read_encoded_once(self, image_size) if is_slow else read_encoded(self, image_size)

    def problems(self, image_size: int, note: Callable[[str], None]) -> list[ImagesError]:
        """Looks at headers and first images."""
        from dvq_ray.experiments.learned_prior.encoded_images import check_encoded

        return check_encoded(self, image_size, note)

    def opened(self, location: str) -> EncodedImages:
        """The images at one of its locations."""
        raise NotImplementedError

    def state(self, location: str) -> list[list[str]]:
        """Path, size in bytes and time of the last change of each file at a location."""
        raise NotImplementedError


class FolderSource(EncodedSource):
    """Image files below two folders, nested or not, in the order of their paths."""

    format: Literal["folder"] = "folder"
    train: LocalFolder
    test: LocalFolder | None = None
    locations: ClassVar = ("train", "test")

    def opened(self, location: str) -> EncodedImages:
        """The files below a folder."""
        from dvq_ray.experiments.learned_prior.image_folders import FolderImages

        return FolderImages(location)

    def state(self, location: str) -> list[list[str]]:
        """As they are on the disk."""
        from dvq_ray.experiments.learned_prior.image_folders import FolderImages

        return FolderImages(location).state()


class ParquetSource(EncodedSource):
    """Parquet files with a column of encoded images (JPEG, PNG ...): binary, or struct<bytes: binary, ...>."""

    format: Literal["parquet"] = "parquet"
    train: ParquetLocation
    """Path or URI of a file; a * in the file name stands for several, read in the order of their names."""
    test: ParquetLocation | None = None
    column: Annotated[str, Field(min_length=1)] = "image"
    locations: ClassVar = ("train", "test")

    def opened(self, location: str) -> EncodedImages:
        """The rows of one file, or of several."""
        from dvq_ray.experiments.learned_prior.image_parquet import ParquetImages

        return ParquetImages(location, self.column)

    def state(self, location: str) -> list[list[str]]:
        """As they are where they lie."""
        from dvq_ray.experiments.learned_prior.image_parquet import state_of_files

        return state_of_files(location)


SOURCES: tuple[type[ImageSource], ...] = (PhotosSource, Cifar10Source, ImagenetSource, FolderSource, ParquetSource)
"""What a sweep file may describe, each by its `format`."""

BUILT_IN: Mapping[str, ImageSource] = {
    "photos": PhotosSource(),
    "cifar10": Cifar10Source(folder="data/cifar-10-batches-py"),
    "imagenet32": ImagenetSource(folder="data/imagenet32"),
    "imagenet64": ImagenetSource(folder="data/imagenet64"),
}
"""Names that every sweep file knows. Their paths are relative to the working folder."""
