"""The files that a path or URI in a sweep file names."""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow as pa
from pyarrow import fs


class LocationError(ValueError):
    """A location that names no file that can be opened."""

    def __init__(self, found: str, remedy: str = "") -> None:
        super().__init__(found)
        self.found, self.remedy = found, remedy


def files_at(location: str, ending: str) -> list[tuple[fs.FileSystem, str]]:
    """The files of a path or URI, by their names where it has a `*`, which stands for no hidden file.

    `ending` is what a user would write after a folder, such as `*.parquet`. Raises `LocationError`.
    """
    try:
        if "://" in location:
            filesystem, path = fs.FileSystem.from_uri(location)
        else:
            filesystem, path = fs.LocalFileSystem(), str(Path(location).absolute())
        folder, _, name = path.rpartition("/")
        if "*" not in name:
            kind = filesystem.get_file_info(path).type
            if kind == fs.FileType.Directory:
                raise LocationError("a folder", remedy=f"Write {location}/{ending}")
            paths = [path] if kind == fs.FileType.File else []
        else:
            pattern = re.compile(".*".join(map(re.escape, name.split("*"))))
            entries = filesystem.get_file_info(fs.FileSelector(folder or "/", allow_not_found=True))
            paths = sorted(
                entry.path
                for entry in entries
                if entry.type == fs.FileType.File
                and pattern.fullmatch(entry.base_name)
                and (name.startswith(".") or not entry.base_name.startswith("."))
            )
    except (OSError, ValueError, pa.ArrowException) as error:
        if isinstance(error, LocationError):
            raise
        raise LocationError(f"that it cannot be opened: {error}") from error
    if not paths:
        raise LocationError("no such file")
    return [(filesystem, path) for path in paths]


def shown_file(location: str, path: str) -> str:
    """One of the files of a location, as the sweep file names it."""
    if "*" not in location:
        return location
    return path if "://" in location else location[: location.rfind("/") + 1] + path.rpartition("/")[2]
