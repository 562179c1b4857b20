"""Whole files in a folder or on object storage, through the faults that either may have.

A file comes into being whole or not at all, and stays: once a write returns, a power cut cannot undo it. Where the
storage is busy or out of reach, what was asked is done again for a while: a request by the AWS SDK, a whole operation
here. Every operation may be done twice without harm. What waiting cannot help, such as a full disk or a bucket that is
not there, is reported at once.
"""

from __future__ import annotations

import contextlib
import errno
import os
import random
import re
import time
import uuid
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar
from urllib.parse import parse_qsl, quote, urlsplit

import pyarrow as pa
from pyarrow import fs

from dvq_ray.store import disk

_Found = TypeVar("_Found")

PATIENCE_SECONDS = 120.0
"""For how long an operation that failed is begun anew."""
FIRST_PATIENCE_SECONDS = 10.0
"""The same of a storage that never answered: more likely it is misnamed than down."""
FIRST_WAIT_SECONDS = 0.5
"""Before the first repetition. Each wait is twice the one before, and up to half of it is left out by chance."""
LONGEST_WAIT_SECONDS = 20.0
REQUEST_ATTEMPTS = 3
"""How often the AWS SDK sends one request, with waits of its own."""
CONNECT_SECONDS = 5.0
REQUEST_SECONDS = 10.0
"""A request that no byte moves in for this long counts as failed."""
LEFTOVER_SECONDS = 24 * 60 * 60.0
"""A temporary file that nobody wrote to for this long is of a process that was killed."""

_PASSING_ERRNO = {errno.ESTALE, errno.ETIMEDOUT, errno.EAGAIN, errno.EINTR}
"""Hiccups of network file systems."""
_PASSING = re.compile(
    r"NETWORK_CONNECTION|SLOW_DOWN|INTERNAL_FAILURE|UNAVAILABLE|REQUEST_TIMEOUT|THROTTLING|NO_SUCH_UPLOAD"
    r"|DEADLINE_EXCEEDED|RESOURCE_EXHAUSTED|HTTP status (429|5\d\d)|curlCode"
)
"""Object storage's errors have no number. NO_SUCH_UPLOAD: the answer to an upload's end was lost, and it ended."""
_GONE = re.compile(r"NO_SUCH_KEY|RESOURCE_NOT_FOUND|HTTP status 404")
_DENIED = re.compile(r"ACCESS_DENIED|INVALID_ACCESS_KEY_ID|INVALID_CLIENT_TOKEN_ID|SIGNATURE_DOES_NOT_MATCH"
                     r"|EXPIRED_TOKEN|UNRECOGNIZED_CLIENT|MISSING_AUTHENTICATION_TOKEN|HTTP status 40[13]")  # fmt: skip
_SECRET = re.compile(r"key|secret|token|password|signature|^sas", re.IGNORECASE)
_S3_QUERY = ("region", "scheme", "endpoint_override", "tls_ca_file_path")
_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{8}")
_REQUESTS_AT_ONCE = 16
_PROBE = bytes(1 << 16)


class StoreError(RuntimeError):
    """A store that cannot be read or written; says which file and why."""


class OutOfReachError(StoreError):
    """A storage that was busy or did not answer for longer than is waited for."""


def below(location: str | Path, name: str) -> str:
    """The location of that name below a folder or a URI; a URI's query stays behind it."""
    text, name = _not_empty(location), checked_name(name)
    if "://" not in text:
        return f"{text.rstrip('/')}/{name}"
    scheme, _, rest = text.partition("://")
    path, mark, query = rest.partition("?")
    return f"{scheme}://{path.rstrip('/')}/{quote(name)}{mark}{query}"


def checked_name(name: str) -> str:
    """The name of one file or folder. Raises `StoreError` where it leads elsewhere, or where readers pass it over."""
    if not name or name.startswith(".") or not name.isprintable() or set(name) & set("/\\"):
        raise StoreError(
            f"{name!r} cannot be the name of a file: allowed is one without / and \\ that begins with no ."
        )
    return name


class Storage:
    """A folder on a disk, or a URI that pyarrow knows (`s3://`, `gs://`, `abfs://`, `file://`).

    Paths are the file system's own, below `root`. Raises `StoreError` where there can be no such place, or where the
    URI carries credentials.
    """

    def __init__(self, location: str | Path) -> None:
        text = _not_empty(location)
        is_uri = "://" in text
        if is_uri:
            _refuse_credentials(text)
        else:
            text = _local_path(text)
        _refuse_unlike_encodings(text)
        self._answered = False
        self.location = _without_slash(text)
        """The location as it was named, with a leading `~` expanded. It never holds credentials."""
        try:
            self.filesystem, root = (
                self.patiently(self.location, lambda: _opened(self.location))
                if is_uri
                else (fs.LocalFileSystem(), str(Path(text).absolute()))
            )
        except (OSError, ValueError) as error:  # pyarrow's ArrowInvalid is a ValueError
            raise refusal(self.location, "opened", error) from error
        self._answered = False
        self.root = root.rstrip("/")
        self.absolute_location = self.location if is_uri else self.root
        """The location from any working folder."""
        self.is_local = isinstance(self.filesystem, fs.LocalFileSystem)
        """Whether it is a folder, where no request costs time."""

    def put(self, path: str, content: bytes | pa.Buffer) -> None:
        """Writes a file, in place of one of that name. Whoever reads meanwhile sees the old one or the new one.

        It survives a power cut from the moment that this returns.
        """
        self._put(path, content, disk.write_durable)

    def put_unsynced(self, path: str, content: bytes | pa.Buffer) -> None:
        """Writes in a hundredth of the time of `put` on a disk; for a while a power cut may lose or empty the file."""
        self._put(path, content, disk.write_unsynced)

    def _put(self, path: str, content: bytes | pa.Buffer, write: Callable[[str, bytes | pa.Buffer], None]) -> None:
        try:
            if self.is_local:
                self.patiently(path, lambda: write(path, content))
            else:
                self.patiently(path, lambda: self._upload(path, content))
        except OSError as error:
            raise refusal(path, "written", error) from error

    def overwrite(self, path: str, content: bytes) -> None:
        """Writes into the file that is there, for readers that keep it open. They may see it half written."""
        if not self.is_local:
            self.put(path, content)
            return
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o666), "wb") as stream:
                stream.write(content)
                stream.truncate()
        except OSError as error:
            raise refusal(path, "written", error) from error

    def get(self, path: str) -> bytes | None:
        """The content of a file; None where there is none."""
        try:
            return self.patiently(path, lambda: self._get_once(path))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise refusal(path, "read", error) from error

    def delete(self, paths: Iterable[str]) -> None:
        """Removes files. One that is gone already does no harm."""
        self.each(self._delete_one, paths)

    def move(self, path: str, to: str) -> None:
        """Gives a file another name. Object storage copies it first, so that it is never at neither place.

        Raises `FileNotFoundError` where there is no such file.
        """
        try:
            self.patiently(path, lambda: self._move_once(path, to))
        except FileNotFoundError:
            raise
        except OSError as error:
            raise refusal(path, "moved", error) from error

    def exists(self, path: str) -> bool:
        """Whether there is a file or a folder; on object storage a folder is there as long as a file is in it."""
        try:
            info = self.patiently(path, lambda: self.filesystem.get_file_info(path))
        except OSError as error:
            raise refusal(path, "read", error) from error
        return bool(info.type != fs.FileType.NotFound)

    def files(self, folder: str, *, below: bool = False) -> list[fs.FileInfo]:
        """The files right in a folder, or all below it; those whose names begin with a dot are nobody's to read."""
        selector = fs.FileSelector(folder, allow_not_found=True, recursive=below)
        try:
            found = self.patiently(folder, lambda: self.filesystem.get_file_info(selector))
        except OSError as error:
            problem = disk.problem_of_path(folder) if self.is_local else ""
            raise (StoreError(problem) if problem else refusal(folder, "read", error)) from error
        shown = [info for info in found if info.type == fs.FileType.File and not info.base_name.startswith(".")]
        return sorted(shown, key=lambda info: info.path)

    def each(self, action: Callable[[str], _Found], paths: Iterable[str]) -> list[_Found]:
        """What `action` gives for each of the paths, of which several are seen to at once."""
        paths = list(paths)
        if len(paths) < 2:
            return [action(path) for path in paths]
        with ThreadPoolExecutor(os.cpu_count() if self.is_local else _REQUESTS_AT_ONCE) as pool:
            return list(pool.map(action, paths))

    def patiently(self, path: str, action: Callable[[], _Found]) -> _Found:
        """What `action` gives, which is begun anew where the storage is busy or out of reach.

        Raises `OutOfReachError` where that lasts, and what waiting cannot help as it came.
        """
        began, wait = time.monotonic(), FIRST_WAIT_SECONDS
        while True:
            try:
                found = action()
            except OSError as error:
                if _GONE.search(str(error)):
                    raise FileNotFoundError(errno.ENOENT, "there is no such object", path) from error
                if not _may_pass(error):
                    raise
                tried = time.monotonic() - began
                if tried >= (PATIENCE_SECONDS if self._answered else FIRST_PATIENCE_SECONDS):
                    what = f"the storage did not do it in {tried:.0f} s of trying; the last cause: {_in_words(error)}"
                    raise OutOfReachError(f"{path}: {what}") from error
            else:
                self._answered = True
                return found
            time.sleep(wait * random.uniform(0.5, 1))  # workers that failed together must not come back together
            wait = min(2 * wait, LONGEST_WAIT_SECONDS)

    def check_place(self) -> None:
        """Raises `StoreError`, which says what to do, where a folder can neither be written nor created.

        Writes nothing. Object storage is only asked by writing.
        """
        if self.is_local and (problem := disk.problem_of_folder(self.root)):
            raise StoreError(problem)

    def check_writable(self) -> None:
        """Writes and removes a small file, in the nearest folder that there is. Raises `StoreError` with what to do."""
        self.check_place()
        folder = self.root
        while self.is_local and not os.path.lexists(folder):
            folder = os.path.dirname(folder)
        probe = f"{folder.rstrip('/')}/.writable.{uuid.uuid4().hex[:8]}"
        self.put(probe, _PROBE)
        self.delete([probe])

    def remove_leftovers(self, *folders: str) -> None:
        """Removes old temporary files of writers that were killed, from the folders and what is below them."""
        if not self.is_local:
            return  # object storage has none: an object that was not finished is not there
        before = time.time() - LEFTOVER_SECONDS
        for folder in folders:
            for where, _, names in os.walk(folder):
                for path in (f"{where}/{name}" for name in names if _TEMPORARY.fullmatch(name)):
                    with contextlib.suppress(OSError):  # another process was faster
                        if os.path.getmtime(path) < before:
                            os.unlink(path)

    def _upload(self, path: str, content: bytes | pa.Buffer) -> None:
        with self.filesystem.open_output_stream(path) as stream:  # shows an object once it is whole
            stream.write(content)

    def _get_once(self, path: str) -> bytes:
        with self.filesystem.open_input_stream(path) as stream:
            return bytes(stream.read())

    def _delete_one(self, path: str) -> None:
        try:
            self.patiently(path, lambda: self.filesystem.delete_file(path))
        except FileNotFoundError:
            return  # by another process, or by a request whose answer was lost
        except OSError as error:
            raise refusal(path, "removed", error) from error

    def _move_once(self, path: str, to: str) -> None:
        if self.is_local:
            disk.move_durable(path, to)
            return
        try:
            self.filesystem.move(path, to)
        except OSError as error:
            gone = isinstance(error, FileNotFoundError) or _GONE.search(str(error))
            if not gone or self.filesystem.get_file_info(to).type != fs.FileType.File:  # moved, and the answer lost
                raise


def _local_path(text: str) -> str:
    if "\0" in text:
        raise StoreError(f"{text!r} is not a folder; allowed: the path of a folder, or a URI")
    expanded = os.path.expanduser(text)
    if expanded == text and text.startswith("~"):
        user = text.partition("/")[0]
        raise StoreError(f"{text}: there is no home folder for {user}; write the whole path, or ./{text} for that name")
    return expanded


def _without_slash(location: str) -> str:
    path, mark, query = location.partition("?") if "://" in location else (location, "", "")
    bare = path.rstrip("/")
    return f"{path if not bare or bare.endswith(':') else bare}{mark}{query}"


def _opened(uri: str) -> tuple[fs.FileSystem, str]:
    query = dict(parse_qsl(urlsplit(uri).query))
    is_s3 = uri.startswith("s3://")
    if is_s3 and (strange := sorted(query.keys() - set(_S3_QUERY))):
        raise ValueError(f"{', '.join(strange)} cannot be set in a URI; allowed: {', '.join(_S3_QUERY)}")
    filesystem, root = fs.FileSystem.from_uri(uri)
    if not root:
        raise ValueError("it names no bucket")
    if not is_s3:
        return filesystem, root
    for variable in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"):
        if endpoint := os.environ.get(variable):
            query.setdefault("endpoint_override", endpoint)
    # from_uri takes no retry strategy and no timeouts, and its result does not say which endpoint it found.
    patient = fs.S3FileSystem(
        **{**query, "region": filesystem.region},
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=REQUEST_ATTEMPTS),
        connect_timeout=CONNECT_SECONDS,
        request_timeout=REQUEST_SECONDS,
        allow_delayed_open=True,  # a small object is one request
    )
    return patient, root


def _refuse_credentials(uri: str) -> None:
    scheme, _, rest = uri.partition("://")
    place, _, query = rest.partition("?")
    host, _, _ = place.partition("/")
    # A secret may hold a slash, so that what comes before it looks like a bucket. No bucket's name has a colon.
    in_host = set(host) & set("@:") if scheme.lower() == "s3" else ":" in host.rpartition("@")[0]
    pairs = [pair.partition("=") for pair in re.split("[&;]", query)]
    in_query = any(_SECRET.search(key) or re.search(r"(//|%2F%2F)[^/]*(@|%40)", value, re.I) for key, _, value in pairs)
    if in_host or in_query:
        raise StoreError(
            f"a location of {scheme}:// must hold no credentials, because it is shown and stored; they come from the "
            "environment alone: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile, or the role of the machine"
        )


def _not_empty(location: str | Path) -> str:
    """The location as text. An unset shell variable would mean the root of the disk, or the working folder."""
    if (text := str(location)) in ("", "file://"):
        raise StoreError(f"{text!r} is not a location; allowed: a folder, or a URI such as s3://bucket/results")
    return text


def _refuse_unlike_encodings(location: str) -> None:
    """Arrow encodes file names in UTF-8. If Python does not, the two would write to different folders."""
    try:
        if os.fsencode(location) == location.encode():
            return
    except UnicodeEncodeError:
        pass
    raise StoreError(
        f"{location!r}: the path of a store must be valid UTF-8, and Python must read it as UTF-8; rename the folder, "
        "or set PYTHONUTF8=1"
    )


def _may_pass(error: OSError) -> bool:
    return error.errno in _PASSING_ERRNO or (error.errno is None and bool(_PASSING.search(str(error))))


def refusal(path: str, done: str, error: Exception) -> StoreError:
    """What to tell a user of an operation that failed."""
    return StoreError(f"{path} cannot be {done}: {_in_words(error)}")


def _in_words(error: Exception) -> str:
    text = str(error).partition("\n")[0]
    if isinstance(error, OSError) and error.errno is not None:
        reason = error.strerror if isinstance(error.strerror, str) else text
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return f"{reason}; make room there, and run the same command again"
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            return f"{reason}; make it accessible to this user, or name another place"
        if error.errno in (errno.EEXIST, errno.ENOTDIR):
            return "there is a file where a folder should be; move it, or name another place"
        if error.errno == errno.ENOENT:
            return f"{reason}; no file can be created there: name another place"
        return reason
    if "NO_SUCH_BUCKET" in text:
        return f"there is no such bucket; create it, or name another ({text})"
    if _DENIED.search(text):
        return f"access is denied; the credentials of this environment must allow it ({text})"
    if "Unrecognized filesystem type" in text:
        return f"{text}; allowed: a folder, file://, s3://, gs:// and abfs://"
    return text
