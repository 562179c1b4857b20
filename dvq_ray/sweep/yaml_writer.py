"""Plain data as YAML that reads back as the same data, whatever texts it holds.

A mapping is a block, a key to a line, and a list of mappings or lists an item to a line. Other lists and mappings are
written on one line where they fit. Texts that could be read otherwise are in double quotes, with escapes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from dvq_ray.sweep.yaml_scalars import text_of

_WIDTH = 120
_LONGEST_KEY = 1000
"""Characters. YAML finds a key by its colon no farther than 1024 characters on; a longer one needs a question mark."""


def write_yaml(data: Mapping[str, Any]) -> str:
    """The text of a document that holds `data`: mappings with texts as keys, lists, and scalars."""
    return "".join(f"{line}\n" for line in (_block(data, "") if data else ["{}"]))


def _block(mapping: Mapping[str, Any], indent: str) -> Iterator[str]:
    deeper = indent + "  "
    for key, value in mapping.items():
        name = text_of(key)
        if len(name) > _LONGEST_KEY:
            yield f"{indent}? {name}"
            name = ""
        start = f"{indent}{name}:"
        if any(isinstance(item, Mapping | list) for item in _items(value)):
            yield start
            yield from _block(value, deeper) if isinstance(value, Mapping) else _dashes(value, deeper)
        elif len(line := f"{start} {_flow(value)}") <= _WIDTH or not _items(value):
            yield line
        elif isinstance(value, Mapping):
            yield start
            yield from _block(value, deeper)
        else:
            yield f"{start} ["
            yield from _filled([f"{_flow(item)}," for item in value], deeper)
            yield f"{deeper}]"


def _items(value: Any) -> Collection[Any]:
    return value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()


def _dashes(values: Iterable[Any], indent: str) -> Iterator[str]:
    return (f"{indent}- {_flow(value)}" for value in values)


def _filled(items: Iterable[str], indent: str) -> Iterator[str]:
    """The items on as few lines as the width allows."""
    line = ""
    for item in items:
        if line and len(indent) + len(line) + 1 + len(item) > _WIDTH:
            yield indent + line
            line = ""
        line = f"{line} {item}" if line else item
    yield indent + line


def _flow(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_flow_key(key)}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return text_of(value)


def _flow_key(key: str) -> str:
    name = text_of(key)
    return name if len(name) <= _LONGEST_KEY else f"? {name} "
