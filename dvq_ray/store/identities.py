"""Ids of cells as numbers: one of 16 hexadecimal digits is a number of 64 bits, which is small and fast to sort."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

_DIGITS = 16
_NO_DIGIT = 16
_VALUES = np.full(256, _NO_DIGIT, np.uint8)
"""The value of each lower-case hexadecimal digit, by its byte."""
_VALUES[np.frombuffer(b"0123456789abcdef", np.uint8)] = np.arange(16)


def numbers_of_ids(ids: pa.Array) -> npt.NDArray[np.uint64] | None:
    """The ids as numbers of the same order; None where one is not of 16 hexadecimal digits, as in made-up stores."""
    lengths = pc.min_max(pc.binary_length(ids))
    if ids.null_count or {lengths["min"].as_py(), lengths["max"].as_py()} != {_DIGITS}:
        return None
    _, offsets, text_buffer = ids.buffers()
    first = np.frombuffer(offsets, np.int32 if pa.types.is_string(ids.type) else np.int64)[ids.offset]
    text = np.frombuffer(text_buffer, np.uint8, _DIGITS * len(ids), int(first))
    digits = _VALUES[text.reshape(-1, _DIGITS)]
    if (digits == _NO_DIGIT).any():
        return None
    octets = (digits[:, ::2] << 4) | digits[:, 1::2]
    return octets.view(">u8").ravel().astype(np.uint64)


def keys_of_ids(ids: Sequence[pa.Array]) -> npt.NDArray[np.uint64]:
    """A number for each id, of one array after the other: equal where ids are equal, and in their order."""
    # Array by array: on the way to numbers, ids take several times their memory.
    numbers = [numbers_of_ids(its) for its in ids if len(its)]
    held = [its for its in numbers if its is not None]
    if len(held) < len(numbers):
        codes, _ = pd.factorize(np.concatenate([its.to_numpy(zero_copy_only=False) for its in ids]), sort=True)
        return np.asarray(codes, np.uint64)
    return np.concatenate([np.empty(0, np.uint64), *held])


def repeated(keys: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """The keys that are there twice or more."""
    in_order = np.sort(keys)
    return np.unique(in_order[1:][in_order[1:] == in_order[:-1]])
