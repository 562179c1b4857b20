"""The file of codes that a cell keeps."""

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dvq_ray.quantizer.kept_codes import codes_file, read_codes


@pytest.mark.parametrize("shape", [(7, 3), (7, 3, 4), (7, 1), (7, 1, 1)])
@pytest.mark.parametrize("largest", [3, 255, 256, 70_000])
def test_codes_are_read_as_they_were_kept(shape: tuple[int, ...], largest: int) -> None:
    rng = np.random.default_rng(0)
    train, test = rng.integers(0, largest + 1, shape), rng.integers(0, largest + 1, (2, *shape[1:]))
    train.flat[0] = largest
    found = read_codes(codes_file({"train": train, "test": test}))
    assert list(found) == ["train", "test"]
    np.testing.assert_array_equal(found["train"], train)
    np.testing.assert_array_equal(found["test"], test)


def test_pandas_reads_a_row_for_every_image(tmp_path: Path) -> None:
    codes = np.arange(24).reshape(2, 3, 4)
    frame = pd.read_parquet(io.BytesIO(codes_file({"train": codes, "test": codes[:1]})))
    assert list(frame.columns) == ["split", "codebook_0", "codebook_1", "codebook_2"]
    assert frame["split"].tolist() == ["train", "train", "test"]
    assert frame["codebook_2"].iloc[1].tolist() == [20, 21, 22, 23]


def test_codes_take_little_more_than_their_entropy() -> None:
    codes = np.random.default_rng(0).integers(0, 64, (2000, 1, 64))  # 6 bits each, in bytes
    assert len(codes_file({"train": codes})) < 1.1 * codes.size * 6 / 8
