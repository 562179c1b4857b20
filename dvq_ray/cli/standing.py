"""How far a store has come: the cells of its grids, or the suggestions of its search, and what is left to do."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import pandas as pd

from dvq_ray.store import FINISHED, STOPPED, Store
from dvq_ray.sweep.pace import Estimate
from dvq_ray.sweep.plan import missing_kept, plan_of
from dvq_ray.sweep.search import Search, SearchError
from dvq_ray.sweep.spec import SweepSpec


@dataclass(frozen=True, kw_only=True)
class Standing:
    """A store held against what its sweep file wants."""

    what: str
    """What is counted: cells, or suggestions."""
    wanted: int
    done: int
    failed: int
    missing: int
    """Cells without a row, or suggestions that are not done; those underway are among them."""
    headings: Sequence[str]
    counts: Sequence[tuple[str, Sequence[int]]]
    """Numbers under the headings, by grid or in one line."""
    notes: Sequence[tuple[str, str]]
    """Further lines, each with its label."""
    left: Estimate
    """How long what is missing will take."""
    failed_ids: Sequence[str]
    """Cells that failed, of those that are wanted."""


def failed_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of cells that failed."""
    return rows[~rows["status"].isin([*FINISHED, STOPPED])]


def grids_standing(
    spec: SweepSpec, rows: pd.DataFrame, missing_curves: Collection[str] = (), without_kept: Collection[str] = ()
) -> Standing:
    """How far grids have come, from all rows of a store with the columns that a plan needs."""
    plan = plan_of(spec, rows, missing_curves=missing_curves, without_kept=without_kept)
    counts, failed = plan.counts(), failed_rows(rows)
    notes = []
    if plan.unwanted:
        notes.append(("also", f"{plan.unwanted:,} rows of cells that the sweep file does not name"))
    if plan.without_curve:
        notes.append(("curves", f"{plan.without_curve:,} of the missing cells have a row, but their curve is missing"))
    if plan.without_kept:
        kept = f"but have not kept all of: {', '.join(sorted(spec.keep))}"
        notes.append(("kept", f"{plan.without_kept:,} of the missing cells have a row, {kept}"))
    notes += [("seeds", line) for line in plan.looks_in_words()]
    return Standing(
        what="cells",
        wanted=len(plan.cells),
        done=counts.done,
        failed=counts.failed,
        missing=counts.missing,
        headings=("grid", "done", "failed", "missing"),
        counts=[(grid.name, (grid.done, grid.failed, grid.missing)) for grid in plan.grids()],
        notes=notes,
        left=plan.estimate(),
        failed_ids=failed.loc[plan.cells.find(failed) >= 0, "cell_id"].tolist(),
    )


def search_standing(spec: SweepSpec, search: Search, store: Store, rows: pd.DataFrame) -> Standing:
    """Progress of a search, from its journal if there is one, otherwise from its rows."""
    # Optuna takes a second to import, which a look at grids need not spend.
    from dvq_ray.cli.search import open_repeats, search_estimate
    from dvq_ray.search.suggestions import STATES_IN_WORDS, Suggestions, quiet

    notes = list[tuple[str, str]]()
    missing = search.suggestions
    states = dict.fromkeys(STATES_IN_WORDS.values(), 0)
    with quiet():
        try:
            found = Suggestions.looked_at(spec.name, search, store, lambda line: notes.append(("journal", line)))
        except SearchError as error:
            found = None
            notes.append(("journal", str(error)))
        if found is not None:
            states |= {STATES_IN_WORDS[name]: count for name, count in found.states().items()}
            notes += [("best", best.in_words(search)) for best in found.best()]
            missing = found.missing()
            if not missing and (repeats := open_repeats(found, store)):
                notes.append(("contest", f"{repeats:,} points need further repetitions"))
                missing = repeats
            if not missing and not found.regret_is_small and sum(found.states().values()) < search.suggestions:
                notes.append(("space", f"it holds no more than {sum(found.states().values()):,} points"))
    if without_kept := missing_kept(spec, store):
        kept = ", ".join(sorted(spec.keep))
        notes.append(("kept", f"{len(without_kept):,} cells are done, but have not kept all of: {kept}"))
    done = states.get("complete", 0) + states.get("stopped early", 0)
    failed = states.get("failed", 0)
    return Standing(
        what="suggestions",
        wanted=search.suggestions,
        done=done,
        failed=failed,
        missing=missing,
        headings=("suggestions", *states),
        counts=[(f"of {len(search.seeds)} cells", list(states.values()))],
        notes=notes,
        left=search_estimate(search, rows, missing, spec.resources),
        failed_ids=failed_rows(rows)["cell_id"].tolist(),  # any row of the store may be wanted
    )
