"""Where numba keeps the compiled kernel. Without a place for it each process compiles the kernel again, in seconds."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from numba.core import config as numba_config

from dvq_ray.process.user_cache import is_writable, user_cache

_config: Any = numba_config
_SOURCE = Path(__file__).with_name("kernel.py")
_beside_source = _SOURCE.parent / "__pycache__"
_given_up = False


def has_place() -> bool:
    """Whether numba can keep the kernel: in $NUMBA_CACHE_DIR, beside the source, or in a folder of this user's own.

    Numba by itself raises an error if the source is read-only and there is no home.
    """
    if _given_up:
        return False
    if (_config.CACHE_DIR and is_writable(Path(_config.CACHE_DIR))) or is_writable(_beside_source):
        return True
    folder = user_cache("numba")
    _config.CACHE_DIR = str(folder or "")
    return folder is not None


def give_up() -> None:
    """Removes what was kept, and keeps nothing in this process.

    A machine that lost its power can leave empty files there, which numba fails to read for ever; and on a full disk it
    fails to write.
    """
    global _given_up
    _given_up = True
    for folder in filter(None, (_config.CACHE_DIR, _beside_source)):
        for file in Path(folder).rglob(f"{_SOURCE.stem}.*.nb[ic]"):
            with suppress(OSError):
                file.unlink()
