"""Freed memory, kept for the next step: a training frees and requests the same large blocks in each step.

Linux fills every page with zeros that a process touches for the first time. By default glibc returns large blocks to it
as soon as they are freed, so that a training touches all of its memory for the first time in each step.
"""

from __future__ import annotations

import ctypes
import platform
from functools import cache

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Parameters of `mallopt` (malloc.h of glibc)."""
_KEPT_BYTES = 2**30
"""Free memory at the end of the heap that is not returned."""
_LARGEST_BLOCK = 2**25
"""Bytes of the largest block that comes from the heap: glibc allows no more (`HEAP_MAX_SIZE` / 2)."""


@cache
def keep_freed_memory() -> bool:
    """Has this process keep up to a GiB that it frees. Returns whether it does: only glibc can."""
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(_MMAP_THRESHOLD, _LARGEST_BLOCK) and mallopt(_TRIM_THRESHOLD, _KEPT_BYTES))
