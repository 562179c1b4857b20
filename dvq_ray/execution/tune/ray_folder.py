"""Where Ray keeps its files and sockets: a private folder whose path is short enough for sockets."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from dvq_ray.execution.executor import ResourcesError
from dvq_ray.process.private_folder import private_folder, remove_abandoned

_SUBFOLDER = "ray"
"""Ray gives the folder that it is started in mode 0777, so that is one below the private folder."""
_LONGEST_SOCKET = "session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store"
"""What Ray adds to its folder for a socket, with the largest process id of Linux."""
_ROOM = 64 * 2**20
"""Bytes that must be free: Ray's logs grow to some 20 MB with a thousand trials."""


@contextmanager
def ray_folder() -> Iterator[Path]:
    """A private folder in the first place that suits Ray, removed at the end.

    Raises `ResourcesError`, which names each place and what is wrong with it, if there is none. Folders that earlier
    runs left behind because they were killed are removed.
    """
    with ExitStack() as stack:
        unsuitable = []
        for parent in _parents():
            remove_abandoned(parent)
            try:
                folder = stack.enter_context(private_folder(parent))
                _check(folder)
                break
            except OSError as error:
                stack.close()
                unsuitable.append(f"{parent}: {error.strerror or error}")
        else:
            places = "; ".join(unsuitable)
            raise ResourcesError(f"no folder suits Ray's files and sockets ({places}); set TMPDIR to one, such as /tmp")
        yield folder


def given_to_ray(folder: Path) -> str:
    """The place in a folder of `ray_folder` that Ray may start in."""
    return str(folder / _SUBFOLDER)


@contextmanager
def staged_in(folder: Path) -> Iterator[None]:
    """Has Tune write what it keeps of trials, such as pickled errors, to `folder`.

    It would write to the session folder of the cluster, which in a given cluster any user of the machine can write to.
    """
    from ray.train._internal import storage as module

    storage: Any = module
    before = storage._get_ray_train_session_dir
    storage._get_ray_train_session_dir = lambda: str(folder)
    try:
        yield
    finally:
        storage._get_ray_train_session_dir = before


def _parents() -> list[Path]:
    named = [os.environ.get(name) for name in ("RAY_TMPDIR", "TMPDIR", "TEMP", "TMP")]
    usual = ["/tmp", "/var/tmp", os.environ.get("XDG_RUNTIME_DIR"), "/dev/shm", os.curdir]
    return list(dict.fromkeys(Path(os.path.abspath(place)) for place in [*named, *usual] if place))


def _check(folder: Path) -> None:
    """Raises `OSError` unless sockets and files of Ray's can be made here."""
    if not str(folder).isprintable():
        raise OSError("its name is not plain text, which Ray requires")
    longest = folder / _SUBFOLDER / _LONGEST_SOCKET
    longest.parent.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(longest))
    # Written, because quotas do not show in the free space.
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(bytes(2**20))
    free = shutil.disk_usage(folder).free
    if free < _ROOM:
        raise OSError(f"{free / 2**20:.0f} MB are free, {_ROOM / 2**20:.0f} MB are needed")
    shutil.rmtree(folder / _SUBFOLDER)
