"""Our own sources of images do what every data source must do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from dvq_ray.experiment.data_sets import DataSource
from dvq_ray.experiments.learned_prior.images import load_images
from dvq_ray.testing import SourceContract
from tests.learned_prior.test_images import cifar_folder, imagenet_folder


class Images(SourceContract):
    experiment = "learned_prior"
    fields = {"quantizer": "vq", "codebook_size": 4, "dimension": 4, "image_size": 32}

    @pytest.fixture(autouse=True)
    def files_may_be_few(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        self.monkeypatch = monkeypatch
        load_images.cache_clear()
        yield
        load_images.cache_clear()

    def read(self, source: DataSource) -> tuple[Any, Any, str]:
        images = load_images(cast(Any, source), self.fields["image_size"])
        load_images.cache_clear()
        return images.train, images.test, images.sha256


class TestPhotos(Images):
    def describe(self, folder: Path) -> Mapping[str, Any]:
        return {"format": "photos"}


class TestCifar10(Images):
    def describe(self, folder: Path) -> Mapping[str, Any]:
        cifar_folder(folder, self.monkeypatch)
        return {"format": "cifar10", "folder": str(folder)}


class TestImagenet(Images):
    def describe(self, folder: Path) -> Mapping[str, Any]:
        imagenet_folder(folder, self.monkeypatch, size=32)
        return {"format": "imagenet", "folder": str(folder)}


def pictures(folder: Path, count: int, seed: int) -> list[Path]:
    """PNG files."""
    folder.mkdir()
    paths = [folder / f"{number}.png" for number in range(count)]
    for number, path in enumerate(paths):
        pixels = np.random.default_rng([number, seed]).integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    return paths


class TestFolder(Images):
    def describe(self, folder: Path) -> Mapping[str, Any]:
        pictures(folder / "train", 3, 0)
        pictures(folder / "test", 2, 1)
        return {"format": "folder", "train": f"{folder}/train", "test": f"{folder}/test"}


class TestParquet(Images):
    def describe(self, folder: Path) -> Mapping[str, Any]:
        for seed, split in enumerate(("train", "test")):
            images = [path.read_bytes() for path in pictures(folder / split, 3, seed)]
            pq.write_table(pa.table({"image": images}), folder / f"{split}.parquet")
        return {"format": "parquet", "train": f"{folder}/train.parquet", "test": f"{folder}/test.parquet"}
