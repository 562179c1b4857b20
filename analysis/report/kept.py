"""What a store keeps beside its rows: its sweep file, how far it has come with it, and what failed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from dvq_ray.problems import SHOWN_PROBLEMS, SweepFileError
from dvq_ray.store import Store, StoreError
from dvq_ray.sweep.coverage import Coverage, coverage
from dvq_ray.sweep.search import SearchError
from dvq_ray.sweep.spec import parse_sweep

from ..data.rows import Held
from ..output.tables import Section, Table, columns_of
from .wording import counted

if TYPE_CHECKING:
    from dvq_ray.search.history import SearchCoverage


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Cells of one status, with one of them as an example."""

    status: str
    count: int
    cell_id: str
    """The first, by id, that left a message."""
    error: str
    """Its traceback."""


@dataclass(frozen=True, kw_only=True)
class StoreEntry:
    """One store, whole: filters do not apply here."""

    location: str
    """Location as the user gave it."""
    sweep_text: str | None
    """None where it keeps no sweep file."""
    problems: Sequence[str]
    """Why its sweep file is not one in this version."""
    summary: str
    grids: Table | None
    """Cells of each grid by their state; None where there is no valid sweep file with grids."""
    failures: Sequence[Failure]
    is_incomplete: bool
    """Whether its sweep file asks for more than there is: items may be without cells that were never begun."""


def store_entry(location: str, held: Held) -> StoreEntry:
    """Reads what the store keeps beside the rows. Raises `StoreError` where it cannot be read."""
    store = Store(location)
    problems: list[str] = []
    found = None
    try:
        text = store.sweep_text()
        try:
            found = _coverage(store, text)
        except SweepFileError as error:
            problems = [str(problem) for problem in error.problems[:SHOWN_PROBLEMS]]
    except (OSError, ValueError, SearchError) as error:  # pyarrow's own errors about locations are among these
        raise StoreError(f"{location} cannot be read: {error}") from error
    return StoreEntry(
        location=location,
        sweep_text=text,
        problems=problems,
        summary=_summary(found, held.count),
        grids=_grids(found) if isinstance(found, Coverage) else None,
        failures=_failures(held.failed),
        is_incomplete=_is_incomplete(found),
    )


def _coverage(store: Store, text: str | None) -> Coverage | SearchCoverage | None:
    spec = parse_sweep(text, f"{store.location}/sweep.yaml") if text is not None else None
    if spec is None or spec.search is None:
        return coverage(store)
    from dvq_ray.search.history import search_coverage  # here, because it brings Optuna, which takes a second

    return search_coverage(spec.name, spec.search, store, text or "")


def _is_incomplete(found: Coverage | SearchCoverage | None) -> bool:
    if found is not None and not isinstance(found, Coverage):
        return sum(found.suggestions.values()) < found.wanted
    return found is not None and found.missing > 0


def _summary(found: Coverage | SearchCoverage | None, cells: int) -> str:
    stored = f"The store holds {counted(cells, 'cell')}"
    if found is None:
        return f"{stored}."
    if not isinstance(found, Coverage):
        return f"{stored}. {_search_summary(found)}"
    missing = f"{found.missing:,} have no row" if found.missing else "each has a row"
    unwanted = f" {counted(found.unwanted, 'stored cell is', 'stored cells are')} not in it." if found.unwanted else ""
    return f"{stored}. Its sweep file names {counted(found.wanted, 'cell')}, of which {missing}.{unwanted}"


def _search_summary(found: SearchCoverage) -> str:
    there = sum(found.suggestions.values())
    states = ", ".join(f"{count:,} {state}" for state, count in found.suggestions.items() if count)
    unwanted = f" {counted(found.unwanted, 'stored cell is', 'stored cells are')} of none of them." * bool(
        found.unwanted
    )
    return (
        f"Its sweep file asks for {counted(found.wanted, 'suggestion')} of {counted(found.repetitions, 'repetition')} "
        f"each. There are {there:,}{f': {states}' if states else ''}.{unwanted}"
    )


def _grids(found: Coverage) -> Table:
    rows = [[grid.name, *(f"{count:,}" for count in (grid.done, grid.failed, grid.missing))] for grid in found.grids]
    return Table(
        title="Cells of each grid by their state.", columns=columns_of(["grid"], ["done", "failed", "missing"]),
        sections=[Section(rows=rows)], notes=["A cell that several grids name counts in each."],
    )  # fmt: skip


def _failures(cells: pd.DataFrame) -> list[Failure]:
    failures = []
    for status, some in cells.groupby("status"):
        with_error = some.dropna(subset=["error"])
        first = (with_error if len(with_error) else some).sort_values("cell_id").iloc[0]
        error = first["error"] if len(with_error) else "It left no message."
        failures.append(Failure(status=str(status), count=len(some), cell_id=first["cell_id"], error=error))
    return failures
