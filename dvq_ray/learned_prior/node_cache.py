"""Images that come from afar, kept on each machine: the first trial reads and decodes them, the others map the file.

The folder is `$DVQ_RAY_CACHE`, or one of this user's own among the temporary files of the machine. What lies in it can
be removed at any time. It is found again by where the images are, their size and the state of their files, so that a
file that was replaced is read anew.
"""

from __future__ import annotations

import getpass
import hashlib
import logging
import os
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
    folder = _root() / hashlib.sha256(key.encode()).hexdigest()[:32]
    try:
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check_own(folder.parent)
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
    except ValueError as error:
        raise OSError(f"{folder} can be removed, it holds something else than images: {error}") from error
    return train, test


def _root() -> Path:
    given = os.environ.get("DVQ_RAY_CACHE")
    return Path(given) if given else Path(tempfile.gettempdir()) / f"dvq_ray-images-{getpass.getuser()}"


def _check_own(folder: Path) -> None:
    # Anybody may make a folder of that name among the temporary files, and put other images into it.
    if hasattr(os, "getuid") and folder.stat().st_uid != os.getuid():
        raise PermissionError(f"{folder} belongs to somebody else; DVQ_RAY_CACHE names another folder")


def _keep(folder: Path, splits: Splits) -> None:
    """The folder comes into being whole: a process that ends in between leaves another name behind."""
    unfinished = folder.with_name(f"{folder.name}.{uuid.uuid4().hex[:8]}")
    unfinished.mkdir()
    for name, images in zip(_NAMES, splits, strict=True):
        np.save(unfinished / name, images, allow_pickle=False)
    unfinished.rename(folder)
