"""Folders of this user's own, kept between runs, for what compilers keep: code that is loaded and run."""

from __future__ import annotations

import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path


def user_cache(name: str) -> Path | None:
    """A folder that this user can write and no other user can: in the home, or else among the temporary files.

    None if there is no such place. Where the home is missing or read-only, as in many containers, a folder among the
    temporary files takes its place; anybody may have made one of that name before, which is then not used.
    """
    for place in _places():
        folder = place / name
        with suppress(OSError):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder = folder.resolve()
            if _is_own(folder) and is_writable(folder):
                return folder
    return None


def is_writable(folder: Path) -> bool:
    """Whether files can be made there; the folder is made too if need be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return False
    return True


def _places() -> list[Path]:
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    temporary = Path(tempfile.gettempdir()) / f"dvq_ray-cache-{os.getuid()}"
    return [Path(home) / "dvq_ray", temporary] if os.path.isabs(home) else [temporary]


def _is_own(folder: Path) -> bool:
    """Whether nobody but this user and root can write here, or put another folder in its place."""
    for place in (folder, *folder.parents):
        info = place.lstat()
        sticky = info.st_mode & stat.S_ISVTX and place != folder
        writable = info.st_mode & stat.S_IWOTH and not sticky
        if info.st_uid not in (0, os.getuid()) or writable:
            return False
    return folder.lstat().st_uid == os.getuid()
