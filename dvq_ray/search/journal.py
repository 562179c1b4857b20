"""The journal of a store's searches: a file of Optuna's records, one a line, and what survives damage to it.

A power cut or a full disk can leave the last record cut off, or zeros in its place. Optuna would append to that line,
and could never read the file again. Records count trials by their order, so that one that is missing in the middle
would give later values to other trials: what follows a broken record is never used.
"""

from __future__ import annotations

import codecs
import contextlib
import fcntl
import json
import os
import re
import shutil
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend, JournalFileBackend

from dvq_ray.sweep.search import SearchError

Record = Mapping[str, Any]

_CREATE_STUDY, _DELETE_STUDY = 0, 1
"""Optuna's numbers for what a record does."""
_LATEST_OPERATION = 10
"""The highest `op_code` that Optuna writes in the versions that this was made for."""
_KEYS = {"study_name", "user_attr", "system_attr", "datetime_start", "param_name", "values", "intermediate_value"}
"""Of the operations up to that one. A record that has one and another `op_code` is damaged."""
_STALE_SECONDS = 1.0
"""Optuna's lock is held for milliseconds. One that stays is left over from a process that was killed."""
_LOCK_TRIES = 5


@dataclass(frozen=True, kw_only=True)
class Journal:
    """The records of a journal that can be used, and what follows them."""

    records: tuple[Record, ...]
    tail: bytes = b""
    """From the first broken record on; empty where all are intact."""
    reason: str = ""
    """What is wrong with the file, as the end of a sentence that its path begins; empty where nothing is."""
    tidy: bool = True
    """Whether the file holds these records and nothing else, each on a line of its own, as Optuna needs it."""

    def storage(self) -> JournalStorage:
        """The studies that the records describe, in memory. What is added is not written anywhere."""
        return JournalStorage(InMemory(self.records))

    @cached_property
    def view(self) -> JournalStorage:
        """The studies that the records describe, to read: replayed once."""
        return self.storage()

    def studies(self) -> list[str]:
        """The names of the studies, in the order in which they were created."""
        found = dict[int, str]()
        for record in self.records:
            if record["op_code"] == _CREATE_STUDY and record["study_name"] not in found.values():
                found[len(found)] = record["study_name"]
            elif record["op_code"] == _DELETE_STUDY:
                found[record["study_id"]] = ""
        return [name for name in found.values() if name]

    def cut(self, place: int, reason: str) -> Journal:
        """Without the record at that place and all that follow."""
        tail = _as_lines(self.records[place:]) + self.tail
        return replace(self, records=self.records[:place], tail=tail, reason=_at(place, reason), tidy=False)

    def content(self) -> bytes:
        """The records as a file."""
        return _as_lines(self.records)


class InMemory(BaseJournalBackend):
    """Records without a file."""

    def __init__(self, records: Sequence[Record]) -> None:
        self.records = [dict(record) for record in records]
        self.begun = 0
        """How many records Optuna has begun to replay."""

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        """The records from a number on."""
        for place in range(log_number_from, len(self.records)):
            self.begun = place + 1
            yield self.records[place]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Keeps them as a file would."""
        self.records += json.loads(json.dumps(logs))


class JournalFile(JournalFileBackend):
    """Optuna's file, with one line for what cannot be written."""

    def __init__(self, path: Path) -> None:
        self._path = path
        if not path.exists():
            write(path, b"")
        with _in_words(path, "written"):
            super().__init__(str(path))

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Appends the records, whole or not at all. Raises `SearchError`."""
        with _in_words(self._path, "written"):
            size = os.path.getsize(self._path)
            try:
                super().append_logs(logs)
            except OSError:
                with contextlib.suppress(OSError):
                    os.truncate(self._path, size)
                raise


def parse(content: bytes) -> Journal:
    """The leading records that are intact and that Optuna can replay."""
    content = content.removeprefix(codecs.BOM_UTF8)
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        text = content[: error.start].decode()
    reason = "is not text"
    records, starts, place, tidy = list[Record](), list[int](), 0, True
    while (start := _after_space(text, place)) < len(text):
        tidy &= text.count("\n", place, start) == (1 if records else 0)
        try:
            record, end = _DECODER.raw_decode(text, start)
        except (ValueError, RecursionError):
            reason = "holds zeros" if text[start] == "\0" else "is broken or cut off"
            break
        if not isinstance(record, dict):
            reason = "is not a record of Optuna"
            break
        tidy &= text.count("\n", start, end) == 0
        records.append(record)
        starts.append(start)
        place = end
    tidy &= text.count("\n", place) == 1
    count = _replayable(records)
    if count < len(records):
        _reject_newer(records[count], count)
        reason = "is not a record that Optuna can replay"
    tail = content[len(text[: [*starts, start][count]].encode()) :]
    return Journal(
        records=tuple(records[:count]),
        tail=tail,
        reason=_at(count, reason) if tail else "",
        tidy=tidy and not tail,
    )


def _at(place: int, reason: str) -> str:
    return f":{place + 1}: {reason}"


_DECODER = json.JSONDecoder()
_SPACE = re.compile(r"[ \t\r\n]*")


def _after_space(text: str, place: int) -> int:
    found = _SPACE.match(text, place)
    assert found is not None
    return found.end()


def _replayable(records: Sequence[Record]) -> int:
    backend = InMemory(records)
    try:
        JournalStorage(backend)
    except Exception:  # whatever Optuna's replay runs into
        return backend.begun - 1
    return len(records)


def _reject_newer(record: Record, place: int) -> None:
    operation = record.get("op_code")
    if isinstance(operation, int) and operation > _LATEST_OPERATION and not record.keys() & _KEYS:
        version = f"a newer version of Optuna than {optuna.__version__}"
        raise SearchError(_at(place, f"was written by {version} (operation {operation}); install that version"))


def read(path: Path) -> Journal | None:
    """The journal at `path`; None where there is none. Raises `SearchError` where it cannot be read."""
    with _in_words(path, "read"):
        try:
            kind = os.lstat(path).st_mode
        except FileNotFoundError:
            return None
        if stat.S_ISLNK(kind):
            raise SearchError(
                f"{path}: is a symbolic link; allowed: a file (put a copy of the linked file in its place)"
            )
        if not stat.S_ISREG(kind):
            raise SearchError(f"{path}: is not a file; allowed: a journal (move this away, and the search begins anew)")
        content = path.read_bytes()
    try:
        return parse(content)
    except SearchError as error:
        raise SearchError(f"{path}{error}") from None


def write(path: Path, content: bytes) -> None:
    """Writes a file, in place of one of that name: whole or not at all, and safe from a power cut once this returns."""
    temporary = path.with_name(f".{path.name}.new")
    with _in_words(path, "written"):
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        if path.exists():
            shutil.copymode(path, temporary)
        os.replace(temporary, path)
        for folder in (path.parent, path.parent.parent):  # which may be new too
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


@contextlib.contextmanager
def locked(path: Path, location: str) -> Iterator[None]:
    """Keeps other processes from the journal. Raises `SearchError` where one has it; `location` is the store's."""
    lock = path.with_name("lock")
    with contextlib.ExitStack() as held:
        with _in_words(lock, "written"):
            path.parent.mkdir(parents=True, exist_ok=True)
            stream = held.enter_context(open(lock, "w"))
        for patience in range(_LOCK_TRIES, -1, -1):
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)  # goes with the process, however that ends
                break
            except BlockingIOError:
                if not patience:
                    message = "another search runs on this store; wait for it to end"
                    raise SearchError(f"{location}: {message}") from None
                time.sleep(0.05)  # `is_locked` of another process holds it for a moment
            except OSError as error:
                raise SearchError(f"{lock}: cannot be locked: {error.strerror}") from None
        yield


def is_locked(path: Path) -> bool:
    """Whether a search has the journal."""
    try:
        with open(path.with_name("lock")) as stream:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return isinstance(error, BlockingIOError)
    return False


def remove_stale_lock(path: Path) -> None:
    """Removes the lock that Optuna left when its process was killed: the next one would wait half a minute for it."""
    lock = f"{path}.lock"
    until = time.monotonic() + _STALE_SECONDS  # a dashboard may be writing a note
    while os.path.lexists(lock):
        if time.monotonic() > until:
            with _in_words(path, "written"), contextlib.suppress(FileNotFoundError):
                os.unlink(lock)
        time.sleep(0.02)


def _as_lines(records: Sequence[Record]) -> bytes:
    return b"".join(json.dumps(record, separators=(",", ":")).encode() + b"\n" for record in records)


@contextlib.contextmanager
def _in_words(path: Path, done: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        go_on = "; the same command resumes once that is fixed" if done == "written" else ""
        raise SearchError(f"{path}: cannot be {done}: {error.strerror or error}{go_on}") from error
