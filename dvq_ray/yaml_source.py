"""YAML 1.2 as plain values, each with the line that it stands on. Safe for files from strangers.

Only what a sweep file needs is let in: mappings, lists and scalars. Tags could build objects, aliases could unfold to
gigabytes, and a key given twice would silently lose one of its values, so each of them is a problem.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent, Event
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from dvq_ray.problems import Path, Problem, SweepFileError, dotted, shown

LARGEST_FILE_BYTES = 1 << 20
DEEPEST_NESTING = 20


@dataclass
class Source:
    """Plain data and where each part of it was written."""

    name: str
    data: Any
    places: dict[Path, str] = field(default_factory=dict)

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
        size = path.stat().st_size
        if size > LARGEST_FILE_BYTES:
            message = f"is {size} bytes long; allowed: at most {LARGEST_FILE_BYTES}"
            raise SweepFileError([Problem(name, "", message)])
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SweepFileError([Problem(name, "", f"cannot be read: {error.strerror}")]) from None
    except UnicodeDecodeError as error:
        message = f"is no UTF-8 text (byte {error.start}); allowed: a YAML file"
        raise SweepFileError([Problem(name, "", message)]) from None
    return read_text(text, name)


def read_text(text: str, name: str) -> Source:
    """As `read_file`, of a text; `name` stands for the file in messages."""
    source = Source(name=name, data=None)
    try:
        problems = list(_forbidden(YAML(typ="safe", pure=True).parse(text), name))
        if problems:
            raise SweepFileError(problems)
        yaml = YAML(typ="safe", pure=True)
        node = yaml.compose(text)
        if node is None:
            raise SweepFileError([Problem(name, "", "is empty; allowed: a mapping of keys to values")])
        source.data = _Builder(yaml, source, problems).build(node, ())
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{name}:{mark.line + 1}" if mark else name
        raise SweepFileError([Problem(where, "", f"is no YAML: {error.problem or error.context}")]) from None
    except (YAMLError, ValueError) as error:
        if isinstance(error, SweepFileError):
            raise
        message = str(error).splitlines()[0]
        raise SweepFileError([Problem(name, "", f"is no YAML: {message}")]) from None
    if problems:
        raise SweepFileError(problems)
    return source


def _forbidden(events: Iterator[Event], name: str) -> Iterator[Problem]:
    # Events come one by one and unfold nothing, so a hostile file is refused before it can grow.
    depth = 0
    for event in events:
        where = f"{name}:{event.start_mark.line + 1}"
        if isinstance(event, AliasEvent) or getattr(event, "anchor", None):
            yield Problem(where, "", "anchors and aliases are not allowed; write the value out")
        tag = getattr(event, "tag", None)
        if tag and not _is_implicit(event):
            yield Problem(where, "", f"tag {shown(str(tag))} is not allowed; write a plain value")
        depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
        if depth > DEEPEST_NESTING:
            yield Problem(where, "", f"is nested too deeply; allowed: {DEEPEST_NESTING} levels")
            return


def _is_implicit(event: Any) -> bool:
    implicit = event.implicit
    return any(implicit) if isinstance(implicit, tuple) else bool(implicit)


class _Builder:
    """Turns composed nodes into plain values, and keeps their places."""

    def __init__(self, yaml: YAML, source: Source, problems: list[Problem]) -> None:
        self._yaml = yaml
        self._source = source
        self._problems = problems

    def build(self, node: Node, path: Path) -> Any:
        self._source.places[path] = f"{self._source.name}:{node.start_mark.line + 1}"
        if isinstance(node, MappingNode):
            return self._mapping(node, path)
        if isinstance(node, SequenceNode):
            return [self.build(item, (*path, index)) for index, item in enumerate(node.value)]
        return self._scalar(node)

    def _mapping(self, node: MappingNode, path: Path) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = self._scalar(key_node) if isinstance(key_node, ScalarNode) else None
            where = f"{self._source.name}:{key_node.start_mark.line + 1}"
            if not isinstance(key, str):
                message = f"key {shown(key)} is no text; allowed: names"
                self._problems.append(Problem(where, dotted(path), message))
            elif key in mapping:
                first = self._source.where((*path, key))
                message = f"is given twice (first at {first}); keep one"
                self._problems.append(Problem(where, dotted((*path, key)), message))
            else:
                mapping[key] = self.build(value_node, (*path, key))
                self._source.places[(*path, key)] = where  # a block's value begins on a later line than its key
        return mapping

    def _scalar(self, node: Node) -> Any:
        value = self._yaml.constructor.construct_object(node)
        return value if isinstance(value, bool | int | float | str) or value is None else str(value)
