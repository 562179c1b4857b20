"""What a cell measures of every test image: one file with a row for each, in the order of the data.

`pandas.read_parquet` reads it. Over its rows an analysis resamples test images.
"""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

FILE = "test_images.parquet"


def images_file(columns: Mapping[str, npt.NDArray[np.float64]]) -> bytes:
    """The content of a file of these metrics, each of shape [images], in single precision."""
    content = io.BytesIO()
    pq.write_table(pa.table({name: values.astype(np.float32) for name, values in columns.items()}), content)
    return content.getvalue()
