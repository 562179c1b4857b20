"""Keeps what a computation does to its process from the cells that follow and from the sweep's own output."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO, cast

import numpy as np


@contextmanager
def contained() -> Iterator[None]:
    """Undoes at its end: another working folder, other standard streams, NumPy's error state, warnings made errors.

    Standard output and standard error cannot be closed inside.
    """
    streams = sys.stdin, sys.stdout, sys.stderr
    filters = list(warnings.filters)
    folder = _working_folder()
    sys.stdout, sys.stderr = _unclosable(sys.stdout), _unclosable(sys.stderr)
    try:
        with np.errstate():
            yield
    finally:
        sys.stdin, sys.stdout, sys.stderr = streams
        if warnings.filters != filters:
            strict = [each for each in warnings.filters if each[0] == "error" and each not in filters]
            warnings.filters[:] = [each for each in warnings.filters if each not in strict]  # type: ignore[index]
        if folder is not None and _working_folder() != folder:
            with suppress(OSError):  # it is gone
                os.chdir(folder)


def _working_folder() -> str | None:
    try:
        return os.getcwd()
    except OSError:
        return None


class _Unclosable:
    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._stream, name)
        return _Unclosable(found) if name in ("buffer", "raw") else found

    def close(self) -> None:
        """Has no effect."""

    detach = close


def _unclosable(stream: TextIO) -> TextIO:
    return stream if stream is None or isinstance(stream, _Unclosable) else cast(TextIO, _Unclosable(stream))
