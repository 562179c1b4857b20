"""The image files below a folder: each file once, hidden ones left out."""

from __future__ import annotations

import os
import stat
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import IO, TypeVar

from dvq_ray.learned_prior.image_decoding import Header, read_header
from dvq_ray.learned_prior.sources import ImagesError

ENDINGS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
"""Of image files, as torchvision has them."""
MOST_BYTES = 2**30
"""Of an image file: more than any that can be used needs."""
_SYSTEM_NAMES = {
    "__macosx", "@eadir", "#recycle", "@recycle", "#snapshot", "$recycle.bin", "system volume information",
    "network trash folder", "temporary items", "lost+found", "thumbs.db", "ehthumbs.db", "desktop.ini",
}  # fmt: skip
"""What archives, file servers and desktops leave in folders, beside names that begin with a dot."""
_SHOWN_ENDINGS = 8
_THREADS = 16
"""A file server answers that many at once."""
_FILES_AT_ONCE = 64
Result = TypeVar("Result")


class FolderImages:
    """The images of one split, in the order of their folders and names.

    Links are followed, and every file and folder is read once, by its own path rather than by a link's. A link to a
    folder that the images lie in is not followed. Raises `ImagesError` where there is no image, or a folder cannot be
    read.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._skipped: Counter[str] = Counter()
        expected = f"a folder with image files in it ({', '.join(ENDINGS)})"
        try:
            if not os.path.isdir(folder):
                found = "a file" if os.path.exists(folder) else "no such folder"
                raise ImagesError.of(folder, expected=expected, found=found)
            found_files = self._found_files()
        except OSError as error:
            raise ImagesError.of(
                error.filename or folder, expected="a folder that can be read", found=str(error)
            ) from None
        self._real_paths = dict(sorted(found_files.items(), key=lambda item: os.path.split(item[0])))
        self._paths: Sequence[str] = list(self._real_paths)
        if not self._paths:
            found = f"only files with other endings: {self._skipped_endings()}" if self._skipped else "none"
            raise ImagesError.of(folder, expected=expected, found=found)

    def __len__(self) -> int:
        return len(self._paths)

    def where(self, index: int) -> str:
        """The path of an image."""
        return self._paths[index]

    def files(self) -> Mapping[str, str]:
        """The paths of the files, by what is the same for all names of a file."""
        return {real: path for path, real in self._real_paths.items()}

    def notes(self) -> list[str]:
        """What a user would like to know."""
        count = self._skipped.total()
        if not count:
            return []
        files = "1 file" if count == 1 else f"{count:,} files"
        endings = self._skipped_endings()
        return [f"{self._folder}: skipped {files} by ending: {endings}; images end in {', '.join(ENDINGS)}"]

    def encoded(self) -> Iterator[bytes]:
        """The content of each file. Raises `ImagesError` for one that cannot be read."""
        for path in self._paths:
            yield read_file(path)

    def headers(self) -> Iterator[Header | ImagesError]:
        """What the files' headers say."""
        return in_threads(_header, self._paths)

    def state(self) -> list[list[str]]:
        """Path, size in bytes and time of the last change of each file."""
        return [_state(path) for path in self._paths]

    def _skipped_endings(self) -> str:
        shown = [f"{ending or 'none'} ({count:,})" for ending, count in self._skipped.most_common(_SHOWN_ENDINGS)]
        more = len(self._skipped) - len(shown)
        return ", ".join(shown) + (f" and {more:,} more endings" if more else "")

    def _found_files(self) -> dict[str, str]:
        """Real path by path. Counts what is skipped."""
        top = os.path.realpath(self._folder)
        paths: dict[str, str] = {}
        linked: dict[str, str] = {}
        seen: set[str] = set()
        folders = deque([(self._folder, top)])  # those behind links last, so that a file's own path is found first
        while folders:
            folder, real_folder = folders.popleft()
            if real_folder in seen:
                continue
            seen.add(real_folder)
            with os.scandir(folder) as entries:
                for entry in sorted(entries, key=lambda entry: entry.name):
                    if _is_hidden(entry.name):
                        continue
                    link = entry.is_symlink()
                    real = os.path.realpath(entry.path) if link else os.path.join(real_folder, entry.name)
                    if os.path.isdir(entry.path) if link else entry.is_dir():
                        if link and not _is_inside(top, real):
                            folders.append((entry.path, real))
                        elif not link:
                            folders.appendleft((entry.path, real))
                    elif not entry.name.lower().endswith(ENDINGS):
                        self._skipped[os.path.splitext(entry.name)[1].lower()] += 1
                    elif link:
                        linked.setdefault(real, entry.path)
                    else:
                        paths.setdefault(real, entry.path)
        return {path: real for real, path in (linked | paths).items()}


def in_threads(read: Callable[[str], Result], paths: Sequence[str]) -> Iterator[Result]:
    """What `read` gives for each path, in their order."""
    chunks = [paths[i : i + _FILES_AT_ONCE] for i in range(0, len(paths), _FILES_AT_ONCE)]
    with ThreadPoolExecutor(_THREADS) as threads:
        yield from chain.from_iterable(threads.map(lambda chunk: [read(path) for path in chunk], chunks))


def read_file(path: str) -> bytes:
    """The whole content of an image file. Raises `ImagesError`."""
    try:
        with _opened(path) as file:
            return file.read()
    except OSError as error:
        raise _unreadable(path, error) from error


def _state(path: str) -> list[str]:
    try:
        state = os.stat(path)
    except OSError as error:
        raise _unreadable(path, error) from error
    return [path, str(state.st_size), str(state.st_mtime_ns)]


def _header(path: str) -> Header | ImagesError:
    try:
        with _opened(path) as file:
            return read_header(file, path)
    except ImagesError as error:
        return error
    except OSError as error:
        return _unreadable(path, error)


def _opened(path: str) -> IO[bytes]:
    state = os.stat(path)
    if not stat.S_ISREG(state.st_mode):  # reading it may never end
        raise ImagesError.of(path, expected="a file", found="a pipe, a socket or a device")
    if state.st_size > MOST_BYTES:
        found = f"{state.st_size:,} bytes"
        raise ImagesError.of(path, expected=f"an image file of at most {MOST_BYTES:,} bytes", found=found)
    return open(path, "rb")


def _unreadable(path: str, error: OSError) -> ImagesError:
    return ImagesError.of(path, expected="a file that can be read", found=str(error))


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name.casefold() in _SYSTEM_NAMES


def _is_inside(path: str, folder: str) -> bool:
    return os.path.commonpath([path, folder]) == folder
