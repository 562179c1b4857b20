from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from dvq_ray.experiments.learned_prior.sources import (
    BUILT_IN,
    SOURCES,
    Cifar10Source,
    FolderSource,
    ImagesError,
    ParquetSource,
    PhotosSource,
)

FORMATS = {source.model_fields["format"].default: source for source in SOURCES}


@pytest.mark.parametrize(
    ("value", "source"),
    [
        ({"format": "photos"}, PhotosSource()),
        ({"format": "cifar10", "folder": "a"}, Cifar10Source(folder="a")),
        ({"format": "folder", "train": "a", "test": "b"}, FolderSource(train="a", test="b")),
        ({"format": "parquet", "train": "a", "test": "s3://b/c"}, ParquetSource(train="a", test="s3://b/c")),
        (
            {"format": "folder", "train": "~/a", "holdout": 0.1, "fit": "crop", "overlap": "allowed"},
            FolderSource(train="~/a", test=None, holdout=0.1, fit="crop", overlap="allowed"),
        ),
        (
            {"format": "parquet", "train": "a", "test": None, "holdout": 0.5},
            ParquetSource(train="a", holdout=0.5, fit="error", overlap="error", column="image"),
        ),
    ],
)
def test_a_value_of_a_sweep_file_becomes_the_source_of_its_format(value: dict[str, Any], source: object) -> None:
    assert FORMATS[value["format"]].model_validate(value) == source


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"format": "photos", "folder": "a"}, "Extra inputs are not permitted"),
        ({"format": "folder", "train": "a"}, "test is missing; allowed: test, or holdout in its place"),
        ({"format": "parquet", "train": "a", "test": "b", "holdout": 0.1}, "test and holdout are both given"),
        ({"format": "folder", "train": "a", "holdout": 0.0}, "greater than 0"),
        ({"format": "folder", "train": "a", "holdout": 1.0}, "less than 1"),
        ({"format": "folder", "train": "a", "holdout": float("nan")}, "less than 1"),
        ({"format": "folder", "train": "a", "holdout": "10%"}, "valid number"),
        ({"format": "folder", "train": "a", "holdout": True}, "valid number"),
        ({"format": "folder", "train": "a", "test": "b", "fit": "squash"}, "'error', 'crop' or 'resize'"),
        ({"format": "folder", "train": "a", "test": "b", "overlap": True}, "'error' or 'allowed'"),
        ({"format": "cifar10", "folder": "a", "fit": "crop"}, "Extra inputs are not permitted"),
        ({"format": "cifar10", "folder": 3}, "valid string"),
        ({"format": "cifar10", "folder": "s3://bucket/cifar"}, "allowed: a folder of this machine, no URI"),
        ({"format": "parquet", "train": "*/a", "test": "b"}, r"allowed: \* in the name of the file"),
    ],
)
def test_a_value_that_is_no_source_is_refused(value: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        FORMATS[value["format"]].model_validate(value)


def test_absolute_sources_do_not_depend_on_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    source = ParquetSource(train="data/a.parquet", test="s3://bucket/b.parquet", column="image")
    absolute = ParquetSource(train=f"{tmp_path}/data/a.parquet", test="s3://bucket/b.parquet", column="image")
    assert source.absolute() == absolute
    assert absolute.absolute() == absolute
    assert BUILT_IN["photos"].absolute() == BUILT_IN["photos"]
    assert BUILT_IN["cifar10"].absolute() == Cifar10Source(folder=f"{tmp_path}/data/cifar-10-batches-py")


def test_a_tilde_stands_for_the_home_folder_in_every_local_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert Cifar10Source(folder="~/cifar").expanded() == Cifar10Source(folder="/home/me/cifar")
    assert FolderSource(train="~/a", holdout=0.1).absolute() == FolderSource(train="/home/me/a", holdout=0.1)
    parquet = ParquetSource(train="~/a-*.parquet", test="s3://bucket/~/b.parquet")
    assert parquet.expanded() == ParquetSource(train="/home/me/a-*.parquet", test="s3://bucket/~/b.parquet")
    unchanged = ParquetSource(train="a~/b", test="~nobody-of-that-name/b")
    assert unchanged.expanded() == unchanged


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("pictures/a.png", "pictures/a.png"),
        ("größe 日本.png", "größe 日本.png"),
        (b"z\xe4.png".decode("utf-8", "surrogateescape"), "z\\xe4.png"),
        ("a\nb\t\x1b[31m\0", "a\\nb\\t\\x1b[31m\\x00"),
        ("\ud800\u202e", "\\ud800\\u202e"),
    ],
)
def test_an_error_can_be_printed_and_stored_whatever_a_file_is_called(text: str, shown: str) -> None:
    message = str(ImagesError.of(text, expected="an image", found=f"none in {text}"))
    assert message == f"{shown}: expected an image; found none in {shown}"
    assert message.encode().decode() == message


def test_naming_a_source_imports_nothing_that_reads_images() -> None:
    code = "import dvq_ray.experiments.learned_prior.sources, sys; print(*sys.modules)"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {"torch", "torchvision", "PIL", "pyarrow", "sklearn"} & set(printed.split())
