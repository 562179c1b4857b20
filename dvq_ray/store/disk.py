"""Files on local disks that survive a power cut.

A new file is on the disk before it gets its name, and the name is on the disk before the caller continues. So a file
is never found half written, and whoever then deletes what the file replaces loses nothing.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import uuid
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa

_CANNOT_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EBADF, errno.EACCES, errno.EPERM, errno.EROFS}
"""Answers of file systems that have no notion of syncing a folder, and of folders that may not be listed."""
_LONGEST_NAME = 255
_MAKE_ACCESSIBLE = "make it accessible to this user, or name another place"


def write_durable(path: str, content: bytes | pa.Buffer) -> None:
    """Writes a file, in place of one of that name. Once this returns, a power cut cannot undo it."""
    _write(path, content, lambda stream: os.fsync(stream))
    sync_folder(os.path.dirname(path))


def write_unsynced(path: str, content: bytes | pa.Buffer) -> None:
    """Writes a file that outlives this process at once, and a power cut only some time later.

    After a power cut the file may be missing, or empty under its name.
    """
    _write(path, content, lambda stream: None)


def move_durable(path: str, to: str) -> None:
    """Gives a file another name, for good. Raises `FileNotFoundError` where there is no such file."""
    make_folder(os.path.dirname(to))
    os.replace(path, to)
    sync_folder(os.path.dirname(to))
    sync_folder(os.path.dirname(path))


def make_folder(folder: str) -> None:
    """Creates a folder, and those above it that are missing. They survive a power cut."""
    missing = []
    while not os.path.isdir(folder):
        missing.append(folder)
        folder = os.path.dirname(folder)
    for path in reversed(missing):
        with contextlib.suppress(FileExistsError):  # another process was faster, or it is no folder: the next step says
            os.mkdir(path)
        sync_folder(os.path.dirname(path))


def sync_folder(folder: str) -> None:
    """Puts the names in a folder on the disk, where the file system can do that."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except PermissionError:
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _CANNOT_SYNC:
            raise
    finally:
        os.close(descriptor)


def problem_of_folder(path: str) -> str:
    """Why nothing can be written to a folder, or why it cannot be created; empty where it can. Changes nothing."""
    if problem := problem_of_path(path):
        return problem
    nearest = next(str(place) for place in (Path(path), *Path(path).parents) if place.exists())
    if os.access(nearest, os.W_OK | os.X_OK):
        return ""
    is_read_only = os.statvfs(nearest).f_flag & os.ST_RDONLY
    reason = "the file system is read-only" if is_read_only else "permission denied"
    return f"{nearest}: {reason}; {_MAKE_ACCESSIBLE}"


def problem_of_path(path: str) -> str:
    """Why there can be no folder of that name; empty where there is one, or could be."""
    for place in [str(each) for each in reversed([Path(path), *Path(path).parents])]:
        if len(os.fsencode(os.path.basename(place))) > _LONGEST_NAME:
            return f"{place}: the name is longer than {_LONGEST_NAME} bytes; name another place"
        try:
            mode = os.stat(place).st_mode
        except FileNotFoundError:
            if os.path.islink(place):
                target = os.readlink(place)
                return f"{place} is a link to {target}, which does not exist; create that folder, or name another place"
            continue
        except OSError as error:
            if error.errno == errno.ELOOP:
                return f"{place} is a link that leads back to itself; remove it, or name another place"
            return f"{place}: {error.strerror}; {_MAKE_ACCESSIBLE}"
        if not stat.S_ISDIR(mode):
            return f"{place} is a file, and should be a folder; move it, or name another place"
    return ""


def _write(path: str, content: bytes | pa.Buffer, sync: Callable[[int], None]) -> None:
    folder, name = os.path.split(path)
    temporary = f"{folder}/.{name.lstrip('.')}.{uuid.uuid4().hex[:8]}"
    make_folder(folder)
    try:
        with open(temporary, "wb") as stream:
            stream.write(content)
            stream.flush()
            sync(stream.fileno())
        os.replace(temporary, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
