"""A home directory for a user who has none: in a container, an arbitrary user id without HOME."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def with_home(folder: Path) -> Iterator[None]:
    """Lets `folder` stand for a missing home. Without one Ray Tune cannot be imported, here and in workers."""
    if os.path.expanduser("~") != "~":
        yield
        return
    before = os.environ.get("HOME")
    os.environ["HOME"] = str(folder)
    try:
        yield
    finally:
        del os.environ["HOME"]
        if before is not None:
            os.environ["HOME"] = before
