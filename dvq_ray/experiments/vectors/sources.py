"""Where data sets of vectors are: the built-in names, and what a sweep file's `data` may add to them.

    data:
      mine: {format: npy, train: embeddings.npy, holdout: 0.1}
      sift: {format: fvecs, train: sift_learn.fvecs, test: sift_query.fvecs}
      glove: {format: hdf5, train: glove-100-angular.hdf5}
      texts: {format: parquet, train: s3://bucket/texts-*.parquet, columns: [embedding], holdout: 0.05}

A name is part of a cell's identity, its source is not: the same vectors may lie elsewhere, in another order or in
another format. A source opens its files; `dvq_ray.experiments.vectors.data` reads them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from dvq_ray.experiment.data_sets import DataSource

if TYPE_CHECKING:
    from dvq_ray.experiments.vectors.rows import Reader, Rows

Split = Literal["train", "test"]
State = tuple[tuple[tuple[str, int, int], ...], ...]


class VectorsError(ValueError):
    """Vectors that cannot be used: says which file, what was expected and what was found."""

    @classmethod
    def of(cls, where: str, *, expected: str, found: str, remedy: str = "") -> Self:
        """One problem, in the order in which every message says it."""
        return cls(f"{where}: expected {expected}; found {found}" + (f". {remedy}" if remedy else ""))


def _pattern_in_file_name(location: str) -> str:
    if "*" in location.rpartition("/")[0]:
        raise PydanticCustomError("location", "allowed: * in the name of the file, not in its folder")
    return location


Location = Annotated[str, Field(min_length=1), AfterValidator(_pattern_in_file_name)]
Name = Annotated[str, Field(min_length=1)]


class VectorSource(DataSource):
    """A source of vectors. What reads them is imported when it is needed."""

    holdout: Annotated[float, Field(gt=0, lt=1)] | None = None
    """In place of `test`: the part of `train` that is for testing. The content of a row decides, so that neither its
    place nor the file's format matters, and equal rows are on one side."""

    def opened(self, split: Split) -> Rows:
        """The rows of one split. Raises `VectorsError`."""
        raise NotImplementedError

    def state(self) -> State:
        """What changes when a file does."""
        return ()


class PatchesSource(VectorSource):
    """Grey patches of 8x8 pixels of the two photographs that scikit-learn ships: no download."""

    format: Literal["photo_patches"] = "photo_patches"
    holdout: None = None

    def opened(self, split: Split) -> Rows:
        """Cuts the patches; train and test have no pixel in common."""
        from dvq_ray.experiments.vectors.patches import patches

        return patches(split)


class FileSource(VectorSource):
    """Vectors in files, on this machine or at a URI."""

    train: Location
    """Path or URI of a file; a * in the file name stands for several."""
    test: Location | None = None
    locations: ClassVar = ("train", "test")
    ending: ClassVar[str]
    """Of the files' names, as a rule."""

    @model_validator(mode="after")
    def _one_test(self) -> Self:
        if self.test is None and self.holdout is None and not self._has_own_test():
            raise PydanticCustomError("split", "test is missing; allowed: test, or holdout in its place")
        if self.test is not None and self.holdout is not None:
            raise PydanticCustomError("split", "test and holdout are both given; allowed: one of the two")
        return self

    def _has_own_test(self) -> bool:
        """Whether `train` has the test rows too."""
        return False

    def opened(self, split: Split) -> Rows:
        """The rows of one file, or of several."""
        from dvq_ray.experiments.vectors.rows import opened_files

        location = self.train if split == "train" or self.test is None else self.test
        return opened_files(location, f"*.{self.ending}", self.reader(split))

    def state(self) -> State:
        """Path, size in bytes and time of the last change of each file."""
        from dvq_ray.experiments.vectors.rows import state_of_files

        return tuple(state_of_files(location, f"*.{self.ending}") for location in (self.train, self.test) if location)

    def reader(self, split: Split) -> Reader:
        """What opens one file."""
        raise NotImplementedError


class NpySource(FileSource):
    """NumPy's .npy files with an array [rows, dimension]: float16, float32, float64 or whole numbers."""

    format: Literal["npy"] = "npy"
    ending: ClassVar = "npy"

    def reader(self, split: Split) -> Reader:
        """Maps a local file."""
        from dvq_ray.experiments.vectors.binary_rows import NpyRows

        return NpyRows


class FvecsSource(FileSource):
    """Files of float32 rows, each after its dimension as int32 (corpus-texmex.irisa.fr)."""

    format: Literal["fvecs"] = "fvecs"
    ending: ClassVar = "fvecs"
    number: ClassVar[str] = "<f4"

    def reader(self, split: Split) -> Reader:
        """Maps a local file."""
        from functools import partial

        from dvq_ray.experiments.vectors.binary_rows import VecsRows

        return partial(VecsRows, number=self.number)


class BvecsSource(FvecsSource):
    """The same of bytes."""

    format: Literal["bvecs"] = "bvecs"  # type: ignore[assignment]
    ending: ClassVar = "bvecs"
    number: ClassVar[str] = "u1"


class IvecsSource(FvecsSource):
    """The same of int32."""

    format: Literal["ivecs"] = "ivecs"  # type: ignore[assignment]
    ending: ClassVar = "ivecs"
    number: ClassVar[str] = "<i4"


class TableSource(FileSource):
    """Tables with a column for each feature, or one column of lists."""

    columns: Annotated[tuple[Name, ...], Field(min_length=1, strict=False)] | None = None
    """Those that hold the vectors: one of lists, or one for each feature, in this order. All, where not given."""


class ParquetSource(TableSource):
    """Parquet files: a column of lists, of lists of a fixed size, or a column for each feature."""

    format: Literal["parquet"] = "parquet"
    ending: ClassVar = "parquet"

    def reader(self, split: Split) -> Reader:
        """Reads batches of rows."""
        from functools import partial

        from dvq_ray.experiments.vectors.table_rows import ParquetRows

        return partial(ParquetRows, columns=self.columns)


class CsvSource(TableSource):
    """Numbers separated by commas. A first line that is not all numbers has the names of the columns."""

    format: Literal["csv"] = "csv"
    ending: ClassVar = "csv"
    delimiter: ClassVar[str] = ","

    def reader(self, split: Split) -> Reader:
        """Reads batches of rows; decompresses by the ending of the name."""
        from functools import partial

        from dvq_ray.experiments.vectors.table_rows import CsvRows

        return partial(CsvRows, columns=self.columns, delimiter=self.delimiter)


class TsvSource(CsvSource):
    """Numbers separated by tabulators."""

    format: Literal["tsv"] = "tsv"  # type: ignore[assignment]
    ending: ClassVar = "tsv"
    delimiter: ClassVar[str] = "\t"


class Hdf5Source(FileSource):
    """HDF5 files as ann-benchmarks has them: `train` and `test` are two data sets of one file."""

    format: Literal["hdf5"] = "hdf5"
    ending: ClassVar = "hdf5"
    train_key: Name = "train"
    """The data set with the training rows, which `holdout` divides where it is given."""
    test_key: Name = "test"
    """That with the test rows, in the file `test` or, where there is none, in `train`."""

    def _has_own_test(self) -> bool:
        return True

    def reader(self, split: Split) -> Reader:
        """Reads blocks of rows."""
        from functools import partial

        from dvq_ray.experiments.vectors.hdf5_rows import Hdf5Rows

        return partial(Hdf5Rows, key=self.train_key if split == "train" else self.test_key)


SOURCES: tuple[type[VectorSource], ...] = (
    PatchesSource, NpySource, FvecsSource, BvecsSource, IvecsSource, ParquetSource, CsvSource, TsvSource, Hdf5Source,
)  # fmt: skip
"""What a sweep file may describe, each by its `format`."""

BUILT_IN: Mapping[str, VectorSource] = {"photo_patches": PatchesSource()}
"""Names that every sweep file knows."""
