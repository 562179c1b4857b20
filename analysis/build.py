"""Makes the items of the rows: made, refused or absent, and why."""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dvq_ray.store import StoreError
from dvq_ray.store.columns import first_line

from . import figures
from .data.query import query_of
from .data.rows import Rows, load_rows
from .data.selection import Selection
from .draw.style import PAGE, Format
from .items import Item
from .output.product import Output, Product, UnfitError
from .output.sidecar import not_shown, sidecar


@dataclass(frozen=True, kw_only=True)
class Made:
    """An item and its product."""

    item: Item
    product: Product
    """If files are wanted, the `.json` among them says what the item was made from."""
    alternative: str
    """What a figure shows, for those who do not see it."""
    cell_count: int
    """Cells that the grids call for."""
    holes: Sequence[str]
    """Cells that are missing or cannot be used, grouped."""
    hole_count: int
    left_out: Sequence[str]
    """A line for each grid that would be there if it were complete."""
    alone: str = ""
    """The one of several stores that it was made of; empty where it is of all."""
    query: str | None = None
    """Selects the item's rows among all rows of the stores; None where that takes more than a few words."""
    not_shown: Mapping[str, int]
    """By quantizer, the experiment's cells in the stores that the item has no place for."""


@dataclass(frozen=True, kw_only=True)
class Refused:
    """An item that the stores have cells of, and that cannot be made of them."""

    item: Item
    reason: str
    details: Sequence[str] = ()
    """Lines beneath the reason: the cells that are missing, the points that are not fit."""


@dataclass(frozen=True, kw_only=True)
class Absent:
    """An item that the stores hold nothing for."""

    item: Item


Attempt = Made | Refused | Absent


def make(
    item: Item, rows: Rows, *, allow_missing: bool, output: Output = Output.FILES, form: Format = PAGE
) -> Attempt:  # fmt: skip
    """Makes the item for these outputs. An error in it refuses this item alone."""
    try:
        selection = item.select(rows, item.needs)
        if selection is None:
            return Absent(item=item)
        if found := problems(selection, allow_missing=allow_missing):
            return Refused(item=item, reason=found[0], details=found[1:])
        product = item.product(selection, output, form)
        if Output.FILES in output:
            files = {**product.files, ".json": sidecar(item.name, product, selection, rows)}
            product = replace(product, files=files)
        query = query_of(selection, rows) if Output.PAGE in output else None
    except Exception as error:
        return Refused(item=item, reason=reason(error))
    return Made(
        item=item,
        product=product,
        query=query,
        not_shown=not_shown(selection, rows),
        alternative=f"{item.title}. Drawn: {selection.shown()}. The caption follows.",
        cell_count=selection.cell_count(),
        holes=selection.holes(),
        hole_count=selection.hole_count(),
        left_out=selection.left_out,
    )


def make_named(rows: Rows, name: str, **how: Any) -> Attempt:
    """Makes the item of that name, as `make` does. What several stores do not give together, one may give alone."""
    item = figures.named(rows, name)
    assert item is not None
    attempt = make(item, rows, **how)
    if not isinstance(attempt, Refused) or len(rows.stores) == 1:
        return attempt
    for store in rows.stores:
        alone = make(item, load_rows([store], rows.only), **how)
        if isinstance(alone, Made):
            return replace(alone, alone=store)
    return attempt


def reason(error: Exception) -> str:
    """Says in a line what is wrong; for an error that was not written for users, where it was raised too."""
    text = first_line(error)
    if isinstance(error, UnfitError | StoreError):
        return text
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {text} ({Path(place.filename).name}, line {place.lineno})"


def problems(selection: Selection, *, allow_missing: bool) -> list[str]:
    """A headline and its lines; empty where the item can be made."""
    if faults := selection.faults():
        return ["its points are not fit to draw", *faults]
    if allow_missing or selection.needs.tolerates_holes or not selection.hole_count():
        return []
    common = selection.common()
    where = f" (all: {common})" if common else ""
    count = f"{selection.hole_count():,} of {selection.cell_count():,} cells are missing or failed{where}"
    return [f"{count}; --allow-missing draws it with holes", *selection.holes()]
