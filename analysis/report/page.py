"""The report as data, in the order of the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dvq_ray.store import SUGGESTION

from ..build import Attempt, Made
from ..claims import product as claims
from ..claims import sentences
from ..claims.verdicts import Decision
from ..data.rows import Rows
from ..figures.search import items as searches
from ..output.sidecar import commits
from ..output.tables import Table
from . import costs, environments, kept, readings, shown
from .wording import counted


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """What the page was made from."""

    rows_sha256: str
    """As in `claims.json`."""
    cells: int
    stores: Sequence[str]
    """As the user named them."""
    only: Mapping[str, str]
    """Values that the user kept, by column."""
    notes: Sequence[str]
    commits: Sequence[str]
    """Of the code that computed the rows."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """The page, section by section."""

    summary: str
    """A paragraph."""
    claims: Sequence[readings.ClaimEntry]
    verdicts: Mapping[str, int]
    """Claims by verdict, those without any included."""
    method: str
    """How a claim is decided."""
    results: Mapping[str, Sequence[shown.Result]]
    """What was made, by trainable; that of searches by itself."""
    lacking: Mapping[str, Sequence[shown.Lacking]]
    """What was not, likewise."""
    stores: Sequence[kept.StoreEntry]
    environments: Table
    warnings: Sequence[str]
    """Of rows that are not from one environment."""
    costs: Table
    provenance: Provenance


def gather(attempts: Sequence[Attempt], decided: Sequence[Decision], rows: Rows) -> Report:
    """All that the page says. Raises `StoreError` where a store cannot be read."""
    entries = [readings.entry(decision) for decision in decided]
    return Report(
        summary=_summary(attempts, decided, rows),
        claims=entries,
        verdicts={v: sum(entry.reading.verdict == v for entry in entries) for v in claims.VERDICTS},
        method=sentences.METHOD,
        results=shown.results(attempts),
        lacking=shown.lacking(attempts, _groups(rows)),
        stores=[kept.store_entry(location, rows.held[location]) for location in rows.stores],
        environments=environments.table(rows.frame),
        warnings=environments.warnings(rows.frame),
        costs=costs.table(rows.frame),
        provenance=Provenance(
            rows_sha256=claims.digest(rows),
            cells=len(rows.frame),
            stores=rows.stores,
            only=rows.only,
            notes=rows.notes,
            commits=commits(rows.frame),
        ),
    )


def _groups(rows: Rows) -> set[str]:
    """Groups of items that the stores have rows of."""
    searched = SUGGESTION in rows.frame and bool(rows.frame[SUGGESTION].notna().any())
    return {*rows.frame["trainable"], *([searches.GROUP] if searched else [])}


def _summary(attempts: Sequence[Attempt], decided: Sequence[Decision], rows: Rows) -> str:
    made = [attempt for attempt in attempts if isinstance(attempt, Made)]
    statuses = rows.frame["status"].value_counts().sort_index()
    by_status = ", ".join(f"{count:,} {status}" for status, count in statuses.items())
    filters = ", ".join(f"{column}={value}" for column, value in rows.only.items())
    kept_rows = f", of which only those with {filters} are looked at" if filters else ""
    return (
        f"Of the paper's {len(decided)} claims: {claims.tally(decided)}. "
        f"This is from {counted(len(rows.frame), 'cell')} ({by_status}) of {counted(len(rows.stores), 'store')}, "
        f"{', '.join(rows.stores)}{kept_rows}. "
        f"{len(made)} of {counted(len(attempts), 'figure or table', 'figures and tables')} could be made of them."
    )
