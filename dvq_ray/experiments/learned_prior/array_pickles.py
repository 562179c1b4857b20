"""Reading pickles that hold numbers and numpy arrays, and nothing else.

A pickle is a program, and the official archives of CIFAR-10 and Downsampled ImageNet are pickles. Of a program's names
only the three that an array is made of are known here, and each stands for a reader of its own: not even numpy's
functions are called with what a file says.
"""

from __future__ import annotations

import pickle
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

_NUMBERS = {"u1", "i1", "i2", "i4", "i8", "f4", "f8"}


class _Dtype:
    """Stands for `numpy.dtype` while a pickle is read."""

    def __init__(self, code: str | bytes, *_: object) -> None:
        self.code = _text(code)
        self.byte_order = "="
        if self.code not in _NUMBERS:
            raise pickle.UnpicklingError(f"holds an array of {self.code!r}, not of numbers")

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.byte_order = _text(state[1])

    def dtype(self) -> np.dtype[Any]:
        return np.dtype(self.byte_order + self.code)


class _Array:
    """Stands for `numpy.ndarray`; becomes an array when the whole pickle is read."""

    def __init__(self) -> None:
        self.values: NDArray[Any] = np.empty(0)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, fortran_order, data = state
        flat = np.frombuffer(data, dtype.dtype())
        self.values = flat.reshape(shape, order="F" if fortran_order else "C")


def _reconstruct(*_: object) -> _Array:
    return _Array()


def _bytes_of(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"holds bytes encoded as {encoding!r}")
    return text.encode(encoding)


def _text(value: str | bytes) -> str:
    return value.decode("ascii") if isinstance(value, bytes) else value


_NAMES = {
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _bytes_of,  # how Python 3 writes bytes for Python 2
}


class _ArrayUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _NAMES[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"asks for {module}.{name}, which no array needs") from None


def load_arrays(file: IO[bytes]) -> dict[str, NDArray[Any]]:
    """The arrays of a pickled dictionary, by key; what else is in it is left out.

    Reads pickles of Python 2 and 3. The arrays are read-only. Raises `pickle.UnpicklingError` for whatever is not a
    dictionary of numbers, strings, lists and arrays of numbers.
    """
    try:
        contents = _ArrayUnpickler(file, encoding="bytes").load()
        if not isinstance(contents, dict):
            raise pickle.UnpicklingError(f"holds a {type(contents).__name__}, not a dictionary")
        return {_text(key): value.values for key, value in contents.items() if isinstance(value, _Array)}
    except pickle.UnpicklingError:
        raise
    except Exception as error:  # a broken pickle raises nearly anything
        raise pickle.UnpicklingError(f"is broken: {type(error).__name__}: {error}") from error
