"""The report as data, in the order of the page."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dvq_ray.store import SUGGESTION

from ..build import Absent, Attempt, Made, Refused
from ..claims import product as claims
from ..claims.claim import VERDICTS
from ..data.rows import Rows
from ..items import SEARCHES, Item
from ..output.product import Product
from ..output.sidecar import commits
from ..output.tables import Table
from ..output.words import capitalised
from . import costs, environments, kept
from .wording import counted, spoken

_MEDIA_TYPES = {".svg": "image/svg+xml", ".png": "image/png"}
"""Media types of pictures by suffix, the best first."""


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What the page was made from."""

    rows_sha256: str
    """Digest of the rows, as in `claims.json`."""
    statuses: Mapping[str, int]
    """How many cells there are of each."""
    stores: Sequence[str]
    """Locations as the user gave them."""
    only: Mapping[str, str]
    """Values that the user kept, by column."""
    notes: Sequence[str]
    commits: Sequence[str]
    """Commits of the code that computed the rows."""
    groups: Sequence[str]
    """Groups of items that the stores have rows of."""
    kept: Sequence[kept.StoreEntry]
    environments: Table
    warnings: Sequence[str]
    """What differs between environments, where rows are from several."""
    costs: Table

    @property
    def cells(self) -> int:
        """Number of all cells."""
        return sum(self.statuses.values())


@dataclass(frozen=True, kw_only=True)
class Missing:
    """An item that was not made."""

    item: Item
    state: str
    """`refused` or `not in these stores`."""
    reason: str
    details_title: str
    details: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class Report:
    """The page."""

    attempts: Sequence[Attempt]
    claims: claims.Results
    origin: Origin

    @property
    def verdicts(self) -> dict[str, int]:
        """Claims by verdict, those without any included."""
        return {verdict: sum(e.reading.verdict == verdict for e in self.claims.entries) for verdict in VERDICTS}

    @property
    def results(self) -> dict[str, list[Made]]:
        """What was made, by the group of the item."""
        grouped: dict[str, list[Made]] = {}
        for attempt in self.attempts:
            if isinstance(attempt, Made):
                grouped.setdefault(attempt.item.group, []).append(attempt)
        return grouped

    @property
    def missing(self) -> dict[str, list[Missing]]:
        """What was not made, by the group of the item."""
        grouped: dict[str, list[Missing]] = {}
        for attempt in self.attempts:
            if not isinstance(attempt, Made):
                grouped.setdefault(attempt.item.group, []).append(_missing(attempt, self.origin.groups))
        return grouped

    @property
    def summary(self) -> str:
        """Says in a paragraph what the page is from."""
        origin, made = self.origin, sum(isinstance(attempt, Made) for attempt in self.attempts)
        by_status = ", ".join(f"{count:,} {status}" for status, count in origin.statuses.items())
        filters = ", ".join(f"{column}={value}" for column, value in origin.only.items())
        kept_rows = f", of which only those with {filters} are looked at" if filters else ""
        items = counted(len(self.attempts), "figure or table", "figures and tables")
        return (
            f"Of the paper's {len(self.claims.entries)} claims: {self.claims.tally}. "
            f"This is from {counted(origin.cells, 'cell')} ({by_status}) of {counted(len(origin.stores), 'store')}, "
            f"{', '.join(origin.stores)}{kept_rows}. "
            f"{made} of {items} could be made of them."
        )


def origin_of(rows: Rows) -> Origin:
    """What the rows say of themselves. Raises `StoreError` where a store cannot be read."""
    frame = rows.frame
    searched = SUGGESTION in frame and bool(frame[SUGGESTION].notna().any())
    return Origin(
        rows_sha256=claims.digest(rows),
        statuses={str(status): n for status, n in frame["status"].value_counts().sort_index().items()},
        stores=rows.stores,
        only=rows.only,
        notes=rows.notes,
        commits=commits(frame),
        groups=[*frame["trainable"].unique(), *([SEARCHES] if searched else [])],
        kept=[kept.store_entry(location, rows.held[location]) for location in rows.stores],
        environments=environments.table(frame),
        warnings=environments.warnings(frame),
        costs=costs.table(frame),
    )


def image_address(product: Product) -> str:
    """A figure as a `data:` address; empty for a table. As an image of its own its ids clash with none."""
    for suffix, media_type in _MEDIA_TYPES.items():
        if suffix in product.files:
            return f"data:{media_type};base64,{base64.b64encode(product.files[suffix]).decode()}"
    return ""


def _missing(attempt: Absent | Refused, groups: Sequence[str]) -> Missing:
    item = attempt.item
    if isinstance(attempt, Refused):
        return Missing(
            item=item, state="refused", reason=capitalised(attempt.reason), details_title="Which",
            details=attempt.details,
        )  # fmt: skip
    no_rows = f"no rows of the {spoken(item.group).lower()}"
    return Missing(
        item=item, state="not in these stores", details_title="What it needs", details=item.needs.grids,
        reason=f"The stores hold {'none of the cells that it needs' if item.group in groups else no_rows}.",
    )  # fmt: skip
