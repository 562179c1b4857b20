"""All figures and tables: the items that the modules of this folder declare.

A module whose name begins with an underscore holds what several items of its folder share.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from importlib import import_module
from pkgutil import walk_packages

from dvq_ray.experiment.registry import find_experiment

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


def metrics_not_read(names: Collection[str]) -> set[str]:
    """Metrics of their experiments that none of these items reads: rows need not have them."""
    needed = [ITEMS[name].needs for name in names if name in ITEMS]
    if len(needed) < len(names) or any(needs.others is None for needs in needed):
        return set()  # such an item may read any column
    read = {name for needs in needed for name in (*needs.metrics, *(needs.others or ()))}
    measured = [find_experiment(needs.trainable).measures() for needs in needed]
    return {name for its in measured for name, metric in its.items() if not metric.is_condition} - read
