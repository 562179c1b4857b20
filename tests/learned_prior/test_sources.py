from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from dvq_ray.learned_prior.sources import BUILT_IN, SOURCE, Cifar10Source, FolderSource, ParquetSource, PhotosSource


@pytest.mark.parametrize(
    ("value", "source"),
    [
        ({"format": "photos"}, PhotosSource()),
        ({"format": "cifar10", "folder": "a"}, Cifar10Source(folder="a")),
        ({"format": "folder", "train": "a", "test": "b"}, FolderSource(train="a", test="b")),
        ({"format": "parquet", "train": "a", "test": "s3://b/c"}, ParquetSource(train="a", test="s3://b/c")),
    ],
)
def test_a_value_of_a_sweep_file_becomes_the_source_of_its_format(value: dict[str, Any], source: object) -> None:
    assert SOURCE.validate_python(value) == source


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"format": "png"}, "'photos', 'cifar10', 'imagenet', 'folder', 'parquet'"),
        ({"train": "a", "test": "b"}, "Unable to extract tag"),
        ({"format": "photos", "folder": "a"}, "Extra inputs are not permitted"),
        ({"format": "folder", "train": "a"}, "test is missing; allowed: test, or holdout in its place"),
        ({"format": "cifar10", "folder": 3}, "valid string"),
        ({"format": "cifar10", "folder": "s3://bucket/cifar"}, "allowed: a folder of this machine, no URI"),
        ({"format": "parquet", "train": "*/a", "test": "b"}, r"allowed: \* in the name of the file"),
    ],
)
def test_a_value_that_is_no_source_is_refused(value: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        SOURCE.validate_python(value)


def test_absolute_sources_do_not_depend_on_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    source = ParquetSource(train="data/a.parquet", test="s3://bucket/b.parquet", column="image")
    absolute = ParquetSource(train=f"{tmp_path}/data/a.parquet", test="s3://bucket/b.parquet", column="image")
    assert source.absolute() == absolute
    assert absolute.absolute() == absolute
    assert BUILT_IN["photos"].absolute() == BUILT_IN["photos"]
    assert BUILT_IN["cifar10"].absolute() == Cifar10Source(folder=f"{tmp_path}/data/cifar-10-batches-py")


def test_naming_a_source_imports_nothing_that_reads_images() -> None:
    code = "import dvq_ray.learned_prior.sources, sys; print(*sys.modules)"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {"torch", "torchvision", "numpy", "PIL", "pyarrow", "sklearn"} & set(printed.split())
