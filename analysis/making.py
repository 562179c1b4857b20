"""Making an item of the rows: made, refused or absent, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from analysis.items import Item
from analysis.products import Product, UnfitError
from analysis.rows import Rows
from analysis.selection import Selection, select


@dataclass(frozen=True, kw_only=True)
class Made:
    """An item and what it came out as."""

    name: str
    item: Item
    selection: Selection
    product: Product


@dataclass(frozen=True, kw_only=True)
class Refused:
    """An item that the stores have cells of, and that cannot be made of them."""

    name: str
    item: Item
    reason: str
    details: Sequence[str]
    """Lines beneath the reason: the cells that are lacking, the points that are not fit."""


@dataclass(frozen=True, kw_only=True)
class Absent:
    """An item that the stores hold nothing for."""

    name: str
    item: Item


Attempt = Made | Refused | Absent


def make(name: str, item: Item, rows: Rows, *, allow_missing: bool) -> Attempt:
    """Makes the item. Raises `StoreError` where what lies beside the rows cannot be read."""
    selection = select(rows, item.needs)
    if selection is None:
        return Absent(name=name, item=item)
    if found := problems(selection, allow_missing=allow_missing):
        return Refused(name=name, item=item, reason=found[0], details=found[1:])
    try:
        product = item.make(selection)
    except UnfitError as error:
        return Refused(name=name, item=item, reason=str(error), details=())
    return Made(name=name, item=item, selection=selection, product=product)


def problems(selection: Selection, *, allow_missing: bool) -> list[str]:
    """A headline and its lines; empty where the item can be made."""
    if faults := selection.faults():
        return ["its points are not fit to draw", *faults]
    if allow_missing or not selection.hole_count():
        return []
    common = selection.common()
    where = f" (all: {common})" if common else ""
    count = f"{selection.hole_count():,} of {selection.cell_count():,} cells are missing or failed{where}"
    return [f"{count}; --allow-missing draws it with holes", *selection.holes()]
