"""Images that take long to read, kept on each machine: the first trial reads and decodes them, the others map the file.

They are in a private folder below `$DVQ_RAY_CACHE`, or among the temporary files of the machine. It can be removed at
any time. Images are found again by where they are, their size and the state of their files, so that a file that was
replaced is read again.
"""

from __future__ import annotations

import getpass
import hashlib
import logging
import os
import stat
import tempfile
import uuid
from collections.abc import Callable
from pathlib import Path

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

Splits = tuple[NDArray[np.uint8], NDArray[np.uint8]]
"""Train and test, `[images, 3, size, size]` each."""

_NAMES = ("train.npy", "test.npy")


def read_once(key: str, read: Callable[[], Splits]) -> Splits:
    """What `read` gives, from this machine's cache where another process kept it under `key`.

    Where nothing can be kept, on a full disk for example, or what is kept is broken, every process reads for itself.
    Pages of a kept file are shared by all processes that map it, and what one writes into them the others do not see.
    """
    try:
        folder = _private_folder() / hashlib.sha256(key.encode()).hexdigest()[:32]
        with FileLock(f"{folder}.lock"):
            if not folder.is_dir():
                _keep(folder, read())
            return _kept(folder)
    except OSError as error:
        logging.getLogger(__name__).warning("images are not kept on this machine: %s", error)
        return read()


def _kept(folder: Path) -> Splits:
    try:
        train, test = (np.load(folder / name, mmap_mode="c", allow_pickle=False) for name in _NAMES)
    except (ValueError, EOFError) as error:
        raise OSError(f"{folder} can be removed, it holds something other than images: {error}") from error
    return train, test


def _private_folder() -> Path:
    """A folder of this user alone, made where it is missing. Raises `OSError` where it is open to others.

    The user may have no name and no home: a container can run as any number.
    """
    given = os.environ.get("DVQ_RAY_CACHE")
    root = Path(os.path.expanduser(given) if given else tempfile.gettempdir())
    folder = root / f"dvq_ray-images-{os.getuid() if hasattr(os, 'getuid') else getpass.getuser()}"
    root.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    if hasattr(os, "getuid"):
        # Anybody may make a folder or a link of that name among the temporary files, and put other images into it.
        state = folder.lstat()
        if not stat.S_ISDIR(state.st_mode) or state.st_uid != os.getuid() or state.st_mode & 0o077:
            raise PermissionError(
                f"{folder} is not a folder of this user alone (mode 700); remove it, or name another in DVQ_RAY_CACHE"
            )
    return folder


def _keep(folder: Path, splits: Splits) -> None:
    """The folder comes into being whole: a process that ends in between leaves another name behind."""
    unfinished = folder.with_name(f"{folder.name}.{uuid.uuid4().hex[:8]}")
    unfinished.mkdir()
    for name, images in zip(_NAMES, splits, strict=True):
        with (unfinished / name).open("wb") as file:
            np.save(file, images, allow_pickle=False)
            file.flush()
            os.fsync(file.fileno())  # a name must not outlive a power cut that its content does not
    unfinished.rename(folder)
