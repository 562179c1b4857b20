"""The report as data, in the order of the page."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from dvq_ray.store import SUGGESTION

from ..build import Absent, Attempt, Made, Refused
from ..claims import product as claims
from ..claims.claim import VERDICTS
from ..data.rows import Rows
from ..items import SEARCHES, Item
from ..output.product import Marks, Picture
from ..output.sidecar import commits
from ..output.tables import Table
from ..output.words import capitalised
from . import costs, environments, kept
from .findings import Finding, findings
from .wording import counted, listed_in_words, spoken

MOST_NAMED = 3
"""Stores that title and summary have the names of."""
MOST_BYTES = 50_000
"""Of an item's numbers that a page without files beside it holds itself."""


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
    has_files: bool = True
    """Whether the files of items lie beside the page."""
    reload_seconds: int = 0
    """How often the page reloads itself, because it is made again while the sweep runs; 0 for never."""

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
    def refused(self) -> list[Missing]:
        """What cells do not suffice for, of experiments that the stores have rows of, or is wrong with them."""
        return [
            Missing(item=each.item, state="refused", reason=capitalised(each.reason), details_title="Which",
                    details=each.details)
            for each in self.attempts if isinstance(each, Refused)
        ]  # fmt: skip

    @property
    def absent(self) -> list[Missing]:
        """What other cells of the experiments in the stores would give."""
        reason = "The stores hold none of the cells that it needs."
        return [
            Missing(item=each.item, state="not in these stores", reason=reason, details_title="What it needs",
                    details=each.item.needs.grids)
            for each in self.attempts if isinstance(each, Absent) and each.item.group in self.origin.groups
        ]  # fmt: skip

    @property
    def decides_claims(self) -> bool:
        """Whether the rows decide any of the paper's claims, if only at small scale."""
        both = [each for entry in self.claims.entries for each in (entry.reading, entry.small) if each]
        return any(each.verdict != "not run" for each in both)

    @property
    def findings(self) -> Sequence[Finding]:
        """What to know first."""
        made = [attempt for attempt in self.attempts if isinstance(attempt, Made)]
        return findings(made, self.claims.findings)

    def cells_expression(self, made: Made) -> str:
        """Python that reads the rows of which an item has some."""
        stores = [made.alone] if made.alone else [*self.origin.stores]
        return f"dvq_ray.load_results({stores[0]!r})" if len(stores) == 1 else f"dvq_ray.load_results({stores!r})"

    def files(self, made: Made) -> Mapping[str, str | Markup]:
        """Where to get the item's files, by suffix: beside the page; of a page alone its numbers, unless they are many.

        The script adds the pictures, which such a page holds anyway.
        """
        if self.has_files:
            return {suffix: f"{made.item.name}{suffix}" for suffix in sorted(made.product.files)}
        numbers = made.product.files.get(".csv", b"")
        return {".csv": _address("text/csv", numbers.decode())} if 0 < len(numbers) <= MOST_BYTES else {}

    @property
    def title(self) -> str:
        """The stores' own names; that of their folder, where they are many."""
        names = [location.rstrip("/").rpartition("/")[2] for location in self.origin.stores]
        return self._folder.rpartition("/")[2] if len(names) > MOST_NAMED and self._folder else " and ".join(names)

    @property
    def _folder(self) -> str:
        """The folder of all stores; empty where they have none in common."""
        folders = {location.rstrip("/").rpartition("/")[0] for location in self.origin.stores}
        return folders.pop() if len(folders) == 1 else ""

    @property
    def summary(self) -> str:
        """Says in a paragraph what was run."""
        origin = self.origin
        by_status = ", ".join(f"{count:,} {status}" for status, count in origin.statuses.items())
        filters = ", ".join(f"{column}={value}" for column, value in origin.only.items())
        kept_rows = f", of which only those with {filters} are looked at" if filters else ""
        experiments = listed_in_words([spoken(name).lower() for name in origin.groups])
        are_many = len(origin.stores) > MOST_NAMED and self._folder
        stores = f"{len(origin.stores)} stores in {self._folder}" if are_many else ", ".join(origin.stores)
        decided = (
            f" Of the paper's {len(self.claims.entries)} claims: {self.claims.tally}." if self.decides_claims else ""
        )
        return f"{counted(origin.cells, 'cell')} ({by_status}) of the {experiments}, from {stores}{kept_rows}.{decided}"


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


def image_address(picture: Picture) -> Markup:
    """A figure as a `data:` address, escaped for an attribute. As an image of its own its ids clash with none.

    It stays text, which is a quarter shorter than base64, and has no double quotes, which would be six letters each.
    """
    return _address("image/svg+xml", picture.svg.decode().replace("'", "&apos;").replace('"', "'"))


def _address(kind: str, text: str) -> Markup:
    for character, code in (("%", "%25"), ("#", "%23"), ("&", "&amp;"), ('"', "%22"), ("\n", "%0A")):
        text = text.replace(character, code)
    return Markup(f"data:{kind},{text}")


def marks_text(marks: Marks) -> str:
    """Marks as the page's script reads them; empty where there are none."""
    if not marks.points:
        return ""
    return json.dumps([marks.names, marks.points], ensure_ascii=False, separators=(",", ":"))
