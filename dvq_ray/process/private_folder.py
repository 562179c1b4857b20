"""A folder among the temporary files that belongs to this process alone, and the removal of abandoned ones.

No other user can enter it. A process that is killed cannot remove its folder, so the next one does: each folder holds a
file that its process keeps locked, and the system releases the lock when the process ends, however it ends. Unlike a
process id, a lock is never reused, and it is seen from every container that shares the folder.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_PREFIX = "dvq_ray_"
_NAME = re.compile(_PREFIX + "[a-z0-9_]{8}")
_LOCK = "lock"


@contextmanager
def private_folder(parent: Path) -> Iterator[Path]:
    """A new folder in `parent`, removed at the end. Raises `OSError` if none can be made there."""
    folder, lock = _make(parent)
    try:
        yield folder
    finally:
        remove(folder)
        os.close(lock)


def remove_abandoned(parent: Path) -> None:
    """Removes this user's private folders in `parent` whose processes have ended."""
    with suppress(OSError):
        for entry in list(os.scandir(parent)):
            if _NAME.fullmatch(entry.name):
                with suppress(OSError):
                    _remove_if_abandoned(Path(entry.path))


def _remove_if_abandoned(folder: Path) -> None:
    info = folder.lstat()
    if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.geteuid():
        return
    try:
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_NOFOLLOW)
    except FileNotFoundError:
        folder.rmdir()  # fails unless it is empty: then its process ended, or is about to notice and make another
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        remove(folder)
    finally:
        os.close(lock)


def _make(parent: Path) -> tuple[Path, int]:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
        folder.chmod(0o700)  # whatever the umask says
        try:
            lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        except FileNotFoundError:  # another process took it for abandoned before it was locked
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            continue
        except OSError:
            pass  # a file system without locks: nobody can take this folder for abandoned
        if (folder / _LOCK).exists():
            return folder, lock
        os.close(lock)


def remove(folder: Path) -> None:
    """Removes the lock last, so that what could not be removed now is found again later."""
    with suppress(OSError):
        for entry in list(os.scandir(folder)):
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            elif entry.name != _LOCK:
                with suppress(OSError):
                    os.unlink(entry.path)
        if os.listdir(folder) == [_LOCK]:
            os.unlink(folder / _LOCK)
            folder.rmdir()
