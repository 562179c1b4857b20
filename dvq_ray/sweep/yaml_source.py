"""YAML 1.2 as plain values, each with the line that it stands on. Safe for files from strangers.

Only what a sweep file needs is let in: mappings, lists and scalars. Tags could build objects, aliases could unfold to
gigabytes, and a key given twice would silently lose one of its values, so each of them is a problem. Reading takes
time in proportion to the length of the text, which is limited.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    DocumentStartEvent,
    Event,
    MappingStartEvent,
    ScalarEvent,
    SequenceStartEvent,
    StreamEndEvent,
)

from dvq_ray.problems import Path, Problem, Problems, SweepFileError, cut, dotted, printable, shown
from dvq_ray.sweep.yaml_scalars import value_of

LARGEST_FILE_BYTES = 1 << 19
"""Some 60,000 numbers in a list, which take two seconds to read."""
DEEPEST_NESTING = 20
_TOO_LARGE = f"is too large; allowed: at most {LARGEST_FILE_BYTES:,} bytes (seeds: 5000 is short for a list of them)"
_NOT_YAML = re.compile("[^\t\n\r -~\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NOT_TEXT = re.compile("[\0\ud800-\udfff]")
"""What an escape in double quotes can stand for, and no file name or column can hold."""


@dataclass
class Source:
    """Plain data and where each part of it was written."""

    name: str
    data: Any
    places: dict[Path, str] = field(default_factory=dict)
    """Lines of every key, and of the items of lists that stand on lines of their own."""

    def where(self, path: Path) -> str:
        """`file:line` of the value at `path`, or of the nearest thing around it."""
        while path not in self.places and path:
            path = path[:-1]
        return self.places.get(path, self.name)

    def problem(self, path: Path, message: str) -> Problem:
        """A problem at `path`."""
        return Problem(self.where(path), dotted(path), message)


def read_file(path: FilePath) -> Source:
    """The file's one document. Raises `SweepFileError` for anything that cannot be read as plain data."""
    name = str(path)
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE_BYTES + 1)  # a device or a pipe may have no end
    except OSError as error:
        raise SweepFileError([Problem(name, "", f"cannot be read: {error.strerror}")]) from None
    try:
        # What is too large is cut, perhaps inside of a character, and rejected as it is.
        text = content.decode("utf-8", "strict" if len(content) <= LARGEST_FILE_BYTES else "ignore")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        message = f"is not UTF-8 text (byte 0x{content[error.start]:02x}); allowed: a YAML file in UTF-8"
        raise SweepFileError([Problem(f"{name}:{line}", "", message)]) from None
    return read_text(text, name)


def read_text(text: str, name: str) -> Source:
    """Reads a text like `read_file`; `name` stands for the file in messages."""
    if len(text) > LARGEST_FILE_BYTES or len(text.encode(errors="replace")) > LARGEST_FILE_BYTES:
        raise SweepFileError([Problem(name, "", _TOO_LARGE)])
    text = text.removeprefix("\ufeff")  # the mark by which some editors say that a file is in UTF-8
    if found := _NOT_YAML.search(text):
        line = text.count("\n", 0, found.start()) + 1
        message = f"holds the character U+{ord(found[0]):04X}; allowed: printable characters in UTF-8"
        raise SweepFileError([Problem(f"{name}:{line}", "", message)])
    try:
        return _Reader(text, name).source()
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{name}:{mark.line + 1}" if mark else name
        message = f"is not valid YAML: {printable(error.problem or error.context or '')}"
        raise SweepFileError([Problem(where, "", message)]) from None
    except SweepFileError:
        raise
    except (YAMLError, ValueError, OverflowError) as error:  # the last two for escapes of characters that do not exist
        message = printable(str(error).splitlines()[0])
        raise SweepFileError([Problem(name, "", f"is not valid YAML: {message}")]) from None


class _Reader:
    """Turns the parser's events into plain values, and keeps their places.

    Events come one by one and unfold nothing, so a hostile file is rejected before it can grow.
    """

    def __init__(self, text: str, name: str) -> None:
        self._events: Iterator[Event] = YAML(typ="safe", pure=True).parse(text)
        self._source = Source(name=name, data=None)
        self._problems = Problems()

    def source(self) -> Source:
        next(self._events)  # the start of the stream
        start = next(self._events)
        if isinstance(start, StreamEndEvent):
            raise SweepFileError([Problem(self._source.name, "", "is empty; allowed: a mapping of keys to values")])
        if getattr(start, "version", None) not in (None, (1, 2)):
            self._add(start, "", "is not in YAML 1.2, the version allowed; remove the directive %YAML")
        self._source.data = self._value(next(self._events), (), line=0, depth=1)
        next(self._events)  # the end of the document
        after = next(self._events)
        if isinstance(after, DocumentStartEvent):
            self._add(after, "", "a second document begins here; allowed: one")
        self._problems.raise_any()
        return self._source

    def _add(self, event: Event, key: str, message: str) -> None:
        self._problems.add(Problem(f"{self._source.name}:{event.start_mark.line + 1}", key, message))

    def _keep_place(self, event: Event, path: Path) -> int:
        line = int(event.start_mark.line) + 1
        self._source.places[path] = f"{self._source.name}:{line}"
        return line

    def _value(self, event: Event, path: Path, *, line: int, depth: int) -> Any:
        """The value that begins with the event; `line` is that of its key, or of the list around it."""
        if event.start_mark.line + 1 != line and path not in self._source.places:
            line = self._keep_place(event, path)
        if isinstance(event, AliasEvent) or getattr(event, "anchor", None):
            self._add(event, "", "anchors and aliases are not allowed; write the value out")
        if (tag := getattr(event, "tag", None)) and not _is_implicit(event):
            self._add(event, "", f"tag {shown(str(tag))} is not allowed; write a plain value")
        if depth > DEEPEST_NESTING:
            self._add(event, "", f"is nested too deeply; allowed: {DEEPEST_NESTING} levels")
            self._problems.raise_any()
        if isinstance(event, MappingStartEvent):
            return self._mapping(path, depth)
        if isinstance(event, SequenceStartEvent):
            return self._list(path, line, depth)
        return self._scalar(event, path) if isinstance(event, ScalarEvent) else None

    def _mapping(self, path: Path, depth: int) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        while not isinstance(event := next(self._events), CollectionEndEvent):
            key = self._value(event, (), line=event.start_mark.line + 1, depth=depth + 1)
            inside: Path = (*path, key) if isinstance(key, str) else path
            after = next(self._events)
            if not isinstance(key, str):
                self._add(event, dotted(path), f"key {shown(key)} is not text; allowed: names (in quotes if need be)")
            elif key == "<<" and _is_plain(event):
                if not isinstance(after, AliasEvent):  # which is reported
                    self._add(event, dotted(path), "merge keys are not allowed; write the values out")
            elif key in mapping:
                first = self._source.where(inside)
                self._add(event, dotted(inside), f"is given twice (first at {first}); keep one")
            else:
                self._keep_place(event, inside)  # a block's value begins on a later line than its key
            mapping[str(key)] = self._value(after, inside, line=event.start_mark.line + 1, depth=depth + 1)
        return mapping

    def _list(self, path: Path, line: int, depth: int) -> list[Any]:
        values: list[Any] = []
        while not isinstance(event := next(self._events), CollectionEndEvent):
            values.append(self._value(event, (*path, len(values)), line=line, depth=depth + 1))
        return values

    def _scalar(self, event: ScalarEvent, path: Path) -> Any:
        text = str(event.value)
        if _is_plain(event):
            try:
                return value_of(text)
            except ValueError as error:
                self._add(event, dotted(path), f"found {cut(text)}; {error}")
                return None
        if _NOT_TEXT.search(text):
            text = _with_pairs_joined(text)
            if found := _NOT_TEXT.search(text):
                self._add(event, dotted(path), f"holds the character U+{ord(found[0]):04X}; allowed: Unicode text")
        return text


def _is_implicit(event: Any) -> bool:
    implicit = event.implicit
    return any(implicit) if isinstance(implicit, tuple) else bool(implicit)


def _is_plain(event: Event) -> bool:
    return isinstance(event, ScalarEvent) and bool(event.implicit[0])


def _with_pairs_joined(text: str) -> str:
    """The text with two escapes of UTF-16 as the one character that they are in JSON."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
