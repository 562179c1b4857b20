"""All figures and tables: the items that the modules of this folder declare.

A module whose name begins with an underscore holds what several items of its folder share.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pkgutil import walk_packages

from ..data.rows import Rows
from ..items import SEARCHES, Item
from . import generic


def _found() -> Iterator[Item]:
    for module in walk_packages(__path__, f"{__name__}."):
        if not module.name.rpartition(".")[2].startswith("_"):
            yield from (value for value in vars(import_module(module.name)).values() if isinstance(value, Item))


def _in_order(found: Sequence[Item]) -> Iterator[Item]:
    """By experiment, in the order of the paper's first figures of each, searches last; such figures before others."""

    def place(item: Item) -> tuple[bool, str]:
        return not item.title.startswith(("Figure", "Table")), item.title

    first = {group: min(place(item) for item in found if item.group == group) for group in {i.group for i in found}}
    groups = sorted(first, key=lambda group: (group == SEARCHES, first[group], group))
    yield from sorted(found, key=lambda item: (groups.index(item.group), place(item)[0], item.name))


ITEMS: Mapping[str, Item] = {item.name: item for item in _in_order([*_found()])}
"""By name, in the order in which they are made."""


def items(rows: Rows) -> Mapping[str, Item]:
    """All of them, and the generic ones of the experiments in these rows."""
    return {**ITEMS, **generic.items(rows)}


def named(rows: Rows, name: str) -> Item | None:
    """The item of that name; None where the rows have nothing that it could be made of."""
    return ITEMS.get(name) or generic.named(rows, name)
