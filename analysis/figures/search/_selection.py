"""The rows of a search: its suggestions by what became of them, and the means of its points."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from dvq_ray.problems import SweepFileError
from dvq_ray.store import SUGGESTION, Store, StoreError
from dvq_ray.sweep.search import Search, SearchError
from dvq_ray.sweep.spec import SweepSpec, parse_sweep

from ...data.curves_and_artifacts import CurvesAndArtifacts
from ...data.declared import declared
from ...data.needs import Grid, Needs
from ...data.points import plain
from ...data.rows import Rows
from ...data.selection import Selection
from ...data.summary import summaries
from ...output.numbers import long_form
from ...output.product import UnfitError
from ..generic.rate import pareto

if TYPE_CHECKING:
    from dvq_ray.search.history import Suggested

STATES = ("complete", "stopped early", "failed", "underway")
"""Of suggestions."""


@dataclass(frozen=True, kw_only=True)
class SearchSelection(Selection):
    """The rows of one search. Its grids are the points that have a value, each named by its id."""

    search: Search
    suggestions: tuple[Suggested, ...]
    """By number."""

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields that are searched, in the order of the sweep file."""
        return tuple(self.search.space.axes)

    def title(self, metric: str) -> str:
        """A metric with its unit."""
        return self.declared.metrics[metric].title()

    def count(self, state: str) -> int:
        """Suggestions of that state."""
        return sum(each.state == state for each in self.suggestions)

    def listing(self) -> list[str]:
        """A line of how many suggestions there are of each state."""
        counts = ", ".join(f"{self.count(state)} {state}" for state in STATES)
        return [f"suggestions: {counts}, of {self.search.suggestions} wanted"]

    def shown(self) -> str:
        """How many suggestions, and of what."""
        return f"{len(self.suggestions)} suggestions of {', '.join(field.replace('_', ' ') for field in self.fields)}"

    def means(self, metric: str) -> pd.DataFrame:
        """A row for each point that has a value: `suggestion` (its first), `point_id`, the fields, `n` and numbers.

        The numbers are `mean`, `deviation`, `low` and `high`, over all repetitions; the earlier suggested come first.
        """
        points = pd.concat([grid.means(metric) for grid in self.grids])
        first = {each.point_id: each.number for each in reversed(self.suggestions)}
        points.insert(0, "suggestion", points["point_id"].map(first))
        points = points.merge(self._settings, on="point_id").sort_values("suggestion", ignore_index=True)
        return points[["suggestion", "point_id", *self.fields, "n", "wanted", "mean", "deviation", "low", "high"]]

    def history(self, metric: str) -> pd.DataFrame:
        """A row for each suggestion: `suggestion`, `point_id`, `state`, `repeats`, the fields, `best_so_far`, numbers.

        The numbers are those of `means`, as they were when the suggestion was complete. `best_so_far` is the mean of
        the best point then: a repetition of that point moves it, up or down.
        """
        places = {cell_id: place for place, cell_id in enumerate(self.rows["cell_id"])}
        cells = [
            [places[cell_id] for cell_id in each.cell_ids] if each.state == "complete" else []
            for each in self.suggestions
        ]
        groups = np.repeat(np.arange(len(cells)), [len(each) for each in cells])
        values = self.rows[metric].to_numpy(np.float64)[[place for each in cells for place in each]]
        numbers = summaries(values, groups, len(cells))
        table = pd.DataFrame(
            {
                "suggestion": [each.number for each in self.suggestions],
                "point_id": [each.point_id for each in self.suggestions],
                "state": [each.state for each in self.suggestions],
                "repeats": [each.repeats for each in self.suggestions],
                "sampler": [each.sampler for each in self.suggestions],
                "monitored_step": [each.monitored[0] if each.monitored else np.nan for each in self.suggestions],
                "monitored": [each.monitored[1] if each.monitored else np.nan for each in self.suggestions],
                "best_so_far": _best_so_far(self.suggestions, numbers["mean"], self.search.signs[metric]),
                "wanted": numbers["n"],
                **numbers,
            }
        )
        settings = pd.DataFrame([{field: each.params.get(field) for field in self.fields} for each in self.suggestions])
        return pd.concat([table, settings], axis=1)

    def best(self) -> list[str]:
        """Ids of the points that no other is better than: one, or the Pareto front, the best of the first objective
        first.
        """  # fmt: skip
        tables = {metric: self.means(metric) for metric in self.search.objectives}
        costs = [self.search.signs[metric] * table["mean"].to_numpy() for metric, table in tables.items()]
        front = np.flatnonzero(pareto(costs[0], costs[-1]))  # of one objective, the best point alone
        return next(iter(tables.values()))["point_id"][front[np.argsort(costs[0][front])]].tolist()

    @cached_property
    def _settings(self) -> pd.DataFrame:
        """The point ids and the values of the searched fields."""
        return self.rows[["point_id", *self.fields]].drop_duplicates("point_id")


def search_needs(grids: str = "the store of one search: every suggestion that ended", sweeps: tuple[str, ...] = (
    "sweeps/search_static_slices.yaml", "sweeps/search_slices_small.yaml", "sweeps/search_slices.yaml",
)) -> Needs:  # fmt: skip
    """Needs of an item that is made of whatever suggestions there are: a search has no grid, and no holes."""
    return Needs(
        trainable="",  # that of the search
        metrics=(),  # its objectives
        grids=(grids,), sweeps=sweeps, seeds_by=("point_id",), least_repetitions=1,
        choose=lambda frame: (),  # the points that have a value
    )  # fmt: skip


def select_search(rows: Rows, needs: Needs) -> SearchSelection | None:
    """The one search that the stores hold; None where they hold none.

    Raises `UnfitError` where there are several, where the store no longer says what was searched, and where no
    suggestion is complete; `StoreError` where a store cannot be read.
    """
    by_search = rows.frame[SUGGESTION].notna() if SUGGESTION in rows.frame else pd.Series(False, rows.frame.index)
    if not by_search.any() and not any(map(_has_journal, rows.stores)):
        return None
    origins = pd.Series(rows.origins, dtype=object).reindex(rows.frame["cell_id"]).fillna("").to_numpy(object)
    locations = [place for place in sorted({*origins}) if by_search[origins == place].any() or _has_journal(place)]
    if not locations:
        return None
    if len(locations) > 1:
        raise UnfitError(f"there are {len(locations)} searches, of {', '.join(locations)}; name one store at a time")
    (location,) = locations
    spec = _search_of(location)
    search = spec.search
    assert search is not None
    suggestions = _suggested(location, len(rows.frame))
    here = plain(rows.frame[origins == location])
    cells = here[here["cell_id"].isin({cell_id for each in suggestions for cell_id in each.cell_ids})]
    cells = cells.sort_values("cell_id", ignore_index=True)
    latest = {each.point_id: each for each in suggestions if each.state == "complete"}
    if not latest:
        raise UnfitError("no suggestion of the search is complete")
    used = cells[cells["cell_id"].isin([cell_id for each in latest.values() for cell_id in each.cell_ids])]
    missing = {cell_id for each in latest.values() for cell_id in each.cell_ids} - {*used["cell_id"]}
    if missing:
        raise UnfitError(f"{len(missing)} cells of its suggestions are not among the rows; run the search again")
    grids = [
        Grid(quantizer=str(quantizer), axes={"point_id": tuple(sorted(here["point_id"].unique()))})
        for quantizer, here in used.groupby("quantizer", observed=True)
    ]
    known = declared(search.experiment.name, [str(name) for name in cells["quantizer"].unique()])
    others = int(by_search[(origins == location) & ~rows.frame["cell_id"].isin(cells["cell_id"])].sum())
    return SearchSelection(
        needs=replace(
            needs, trainable=search.experiment.name, metrics=tuple(search.objectives),
            draws=tuple(search.space.axes),
        ),
        declared=known,
        placed=[(grid, grid.find(cells)) for grid in grids],
        rows=cells,
        seeds={(point,): tuple(sorted(here["seed"])) for point, here in used.groupby("point_id", observed=True)},
        left_out=(f"left out: {others} cells that other searches in the store suggested",) if others else (),
        curves_and_artifacts=CurvesAndArtifacts(), search=search, suggestions=suggestions,
    )  # fmt: skip


def searched(selection: Selection) -> SearchSelection:
    """The selection that an item of a search is always given."""
    assert isinstance(selection, SearchSelection)
    return selection


def _has_journal(location: str) -> bool:
    return bool(location) and "://" not in location and Path(location, "search", "journal.log").exists()


def _search_of(location: str) -> SweepSpec:
    try:
        text = Store(location).sweep_text()
        spec = None if text is None else parse_sweep(text, f"{location}/sweep.yaml")
    except SweepFileError as error:
        raise UnfitError(f"its sweep file is not valid in this version: {error.problems[0]}") from None
    except (OSError, ValueError) as error:  # pyarrow's own errors about locations are among these
        raise StoreError(f"{location} cannot be read: {error}") from error
    if spec is None or spec.search is None:
        why = "keeps no sweep file" if spec is None else "was last run with a sweep file of grids"
        raise UnfitError(f"{location} {why}, so that nothing says what was searched; run the search's file again")
    return spec


@cache
def _suggested(location: str, rows: int) -> tuple[Suggested, ...]:
    """The suggestions, read once for all items that are made of so many rows."""
    from dvq_ray.search.history import suggested  # here, because it brings Optuna, which takes a second

    spec = _search_of(location)
    assert spec.search is not None
    try:
        return tuple(suggested(spec.name, spec.search, Store(location)))
    except SearchError as error:
        raise UnfitError(str(error)) from None


def _best_so_far(
    suggestions: Sequence[Suggested], means: npt.NDArray[np.float64], sign: float
) -> npt.NDArray[np.float64]:
    latest = dict[str, float]()
    best, found = "", np.full(len(suggestions), np.nan)
    for place, (each, mean) in enumerate(zip(suggestions, means, strict=True)):
        if each.state == "complete":
            latest[each.point_id] = sign * float(mean)
            if not best or latest[each.point_id] < latest[best]:
                best = each.point_id
            elif each.point_id == best:
                best = min(latest, key=latest.__getitem__)
        if best:
            found[place] = sign * latest[best]
    return found


def by_objective(table_of: Callable[[SearchSelection, str], pd.DataFrame]) -> Callable[[Selection], pd.DataFrame]:
    """The numbers of an item: the tables of all objectives in long form, one after the other."""

    def numbers(selection: Selection) -> pd.DataFrame:
        found = searched(selection)
        return long_form(table_of(found, metric).assign(metric=metric) for metric in found.search.objectives)

    return numbers
