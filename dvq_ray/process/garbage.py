"""The garbage collector of this process."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_garbage_collection(*, freeze: bool = False) -> Iterator[None]:
    """For code that makes many small objects which all stay: the collector searches through them again and again.

    With `freeze` it never searches through what there is at the end, such as the modules of a program.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
        if freeze:
            gc.freeze()
    finally:
        if was_on:
            gc.enable()
