"""The items as the page shows them: figures and tables, and why others are not there."""

from __future__ import annotations

import base64
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from ..build import Absent, Attempt, Made, Refused
from ..output.products import Product
from ..output.tables import Table
from .wording import spoken

_MEDIA_TYPES = {".svg": "image/svg+xml", ".png": "image/png"}
"""Of pictures by suffix, the best first."""
_Entry = TypeVar("_Entry")


@dataclass(frozen=True, kw_only=True)
class Result:
    """An item that was made."""

    name: str
    title: str
    caption: str
    image: str
    """The figure as a `data:` address; empty for a table. As an image of its own, so that ids in it clash with none."""
    alternative: str
    """What the figure shows, for those who do not see it."""
    table: Table | None
    cells: int
    holes: Sequence[str]
    """Cells that are missing or failed, grouped."""
    hole_count: int
    left_out: Sequence[str]
    """Parts that would have been drawn if they were complete."""


@dataclass(frozen=True, kw_only=True)
class Lacking:
    """An item that was not made."""

    name: str
    title: str
    state: str
    """`refused` or `not in these stores`."""
    reason: str
    details_title: str
    details: Sequence[str]
    sweeps: Sequence[str]
    """Sweep files that provide all that it needs, the smallest first; none where there is no such file."""


def results(attempts: Iterable[Attempt]) -> dict[str, list[Result]]:
    """What was made, by the group of the item."""
    return _by_group((attempt.item.group, _result(attempt)) for attempt in attempts if isinstance(attempt, Made))


def lacking(attempts: Iterable[Attempt], groups: Collection[str]) -> dict[str, list[Lacking]]:
    """What was not made, by the group of the item; `groups` are those that the stores have rows of."""
    return _by_group(
        (attempt.item.group, _lacking(attempt, groups)) for attempt in attempts if not isinstance(attempt, Made)
    )


def _by_group(entries: Iterable[tuple[str, _Entry]]) -> dict[str, list[_Entry]]:
    grouped = dict[str, list[_Entry]]()
    for group, entry in entries:
        grouped.setdefault(group, []).append(entry)
    return grouped


def _result(made: Made) -> Result:
    return Result(
        name=made.name,
        title=made.item.title,
        caption=made.product.caption,
        image=_image(made.product),
        alternative=made.extent.alternative,
        table=made.product.table,
        cells=made.extent.cell_count,
        holes=made.extent.holes,
        hole_count=made.extent.hole_count,
        left_out=made.extent.left_out,
    )


def _image(product: Product) -> str:
    for suffix, media_type in _MEDIA_TYPES.items():
        if suffix in product.files:
            return f"data:{media_type};base64,{base64.b64encode(product.files[suffix]).decode()}"
    return ""


def _lacking(attempt: Absent | Refused, groups: Collection[str]) -> Lacking:
    needs = attempt.item.needs
    if isinstance(attempt, Refused):
        state, reason, details_title, details = "refused", attempt.reason, "Which", attempt.details
    else:
        state, details_title, details = "not in these stores", "What it needs", needs.grids
        none_of_it = f"no rows of the {spoken(attempt.item.group).lower()}"
        held = "none of the cells that it needs" if attempt.item.group in groups else none_of_it
        reason = f"The stores hold {held}."
    return Lacking(
        name=attempt.name,
        title=attempt.item.title,
        state=state,
        reason=f"{reason[0].upper()}{reason[1:]}",
        details_title=details_title,
        details=details,
        sweeps=needs.sweeps,
    )
