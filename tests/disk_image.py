"""A file system in a file, which can be seen as a power cut would leave it.

The device behind the mount is a loop device over an image. What the file system has not submitted yet (data in the page
cache, metadata that its journal has not committed) is not in the image, so a copy of it is what a disk holds when the
power goes at that moment. Mounting the copy replays the journal, as after a power cut.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

_MEGABYTES = 24


class _Writes(NamedTuple):
    """Those that the device has been given."""

    done: int
    underway: int


class DiskImage:
    """One that is mounted at `root`."""

    def __init__(self, folder: Path, device: str, image: Path, root: Path) -> None:
        self.root = root
        self._folder = folder
        self._image = image
        self._statistics = Path("/sys/block", os.path.basename(device), "stat")

    @contextmanager
    def after_power_cut(self) -> Iterator[Path]:
        """The files as they are found if the power goes now."""
        copy, place = self._folder / "copy.img", self._folder / "copy"
        place.mkdir(exist_ok=True)
        while True:
            before = self._writes()
            shutil.copyfile(self._image, copy)
            if self._writes() == before and before.underway == 0:  # else the copy is of no single moment
                break
        with _mounted(copy, place):
            yield place

    def let_others_sync(self) -> None:
        """Commits the journal as the `fsync` of another program does: with all names, and without others' data."""
        with open(self.root / "other", "ab") as file:
            file.write(b"x")
            file.flush()
            os.fsync(file.fileno())

    def _writes(self) -> _Writes:
        fields = self._statistics.read_text().split()
        return _Writes(done=int(fields[4]), underway=int(fields[8]))


@contextmanager
def disk_image(folder: Path) -> Iterator[DiskImage]:
    """A fresh file system. Skips where it cannot be mounted."""
    image, root = folder / "disk.img", folder / "disk"
    root.mkdir()
    with open(image, "wb") as file:
        file.truncate(_MEGABYTES << 20)
    try:
        _run("mkfs.ext4", "-q", "-b", "4096", "-J", "size=4", str(image))
        mounting = _mounted(image, root)
        device = mounting.__enter__()
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no file system in a file can be mounted here: {error}")
    try:
        yield DiskImage(folder, device, image, root)
    finally:
        mounting.__exit__(None, None, None)


@contextmanager
def _mounted(image: Path, place: Path) -> Iterator[str]:
    device = _run("losetup", "--find", "--show", str(image))
    try:
        _run("mount", device, str(place))
        try:
            yield device
        finally:
            _run("umount", str(place))
    finally:
        _run("losetup", "--detach", device)


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
