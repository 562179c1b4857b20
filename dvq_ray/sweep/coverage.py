"""How far a store has come with the sweep that it keeps: the cells of its grids, or the suggestions of its search."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from dvq_ray.store import SUGGESTION, Store
from dvq_ray.sweep.plan import GridCount, make_plan
from dvq_ray.sweep.search import Search
from dvq_ray.sweep.spec import parse_sweep

State = Literal["complete", "stopped early", "failed", "underway"]
STATES: tuple[State, ...] = ("complete", "stopped early", "failed", "underway")


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """A store held against its own sweep file, which names grids."""

    sweep_text: str
    """The resolved sweep file, as run last."""
    grids: Sequence[GridCount]
    """Counts by grid, in the order of the file; a cell that several grids name counts in each."""
    wanted: int
    """Cells that the sweep file names, each once."""
    missing: int
    """Wanted cells without a row."""
    unwanted: int
    """Cells with a row that it does not name."""


@dataclass(frozen=True, kw_only=True)
class SearchCoverage:
    """A store held against its own sweep file, which describes a search."""

    sweep_text: str
    """The resolved sweep file, as run last."""
    wanted: int
    """Suggestions that the sweep file requests."""
    repetitions: int
    """Cells of each suggestion."""
    suggestions: Mapping[State, int]
    """How many there are by their state, of every state."""
    unwanted: int
    """Cells with a row that are of no suggestion of this search."""


@dataclass(frozen=True, kw_only=True)
class Suggested:
    """A suggestion, as the rows of a store tell of it."""

    number: int
    """Counts suggestions from 0, in the order in which they were requested."""
    point_id: str
    state: State
    repeats: bool
    """Whether its point had been suggested before: it adds repetitions."""
    cell_ids: tuple[str, ...]
    """The cells whose mean is its value, those of earlier suggestions of its point among them. None unless complete."""


def coverage(store: Store) -> Coverage | SearchCoverage | None:
    """What of its sweep a store holds; None where it keeps no sweep file.

    Raises `SweepFileError` where that file is not one in this version, `StoreError` where rows cannot be read.
    """
    text = store.sweep_text()
    if text is None:
        return None
    spec = parse_sweep(text, f"{store.location}/sweep.yaml")
    if spec.search:
        frame = store.load()
        rows = searched_rows(frame, spec.search)
        counts = Counter(suggestion.state for suggestion in suggested(rows, spec.search))
        return SearchCoverage(
            sweep_text=text,
            wanted=spec.search.suggestions,
            repetitions=len(spec.search.seeds),
            suggestions={state: counts[state] for state in STATES},
            unwanted=len(frame) - len(rows),
        )
    plan = make_plan(spec, store, retry_failed=False)
    return Coverage(
        sweep_text=text,
        grids=plan.grids(),
        wanted=len(plan.cells),
        missing=plan.counts().missing,
        unwanted=plan.unwanted,
    )


def searched_rows(frame: pd.DataFrame, search: Search) -> pd.DataFrame:
    """The rows that bear on suggestions of the search.

    These are the cells that a search computed at points of this one's space, and the search's repetitions of the same
    points that were there before it. A store may also hold cells of a grid, and of a search of another space.
    """
    if SUGGESTION not in frame:
        return frame.iloc[:0]
    here = rows_of_space(frame, search)
    by_search = frame[SUGGESTION].notna()
    points = frame.loc[here & by_search, "point_id"].unique()
    return frame[here & frame["point_id"].isin(points) & (by_search | frame["seed"].isin(search.seeds))]


def rows_of_space(frame: pd.DataFrame, search: Search) -> pd.Series[bool]:
    """Which rows are of points of a search's space, up to values between those of a range with steps."""
    here = (frame["trainable"] == search.experiment.name) & (frame["revision"] == search.experiment.revision)
    here &= frame["quantizer"].isin(search.quantizers)
    for quantizer in search.quantizers:
        variant = search.experiment.variants[quantizer]
        of_others = frame["quantizer"] != quantizer
        for field in variant.model_fields.keys() & search.fixed.keys():
            here &= of_others | (frame[field] == search.fixed[field] if field in frame else False)
        for field in variant.model_fields.keys() & search.space.axes.keys():
            here &= of_others | (search.space.axes[field].within(frame[field]) if field in frame else False)
    return here


def suggested(rows: pd.DataFrame, search: Search) -> list[Suggested]:
    """The suggestions that `searched_rows` tell of, by number.

    A suggestion all of whose cells were there before has no row of its own, and is not among them.
    """
    if rows.empty:
        return []
    usable = (rows["status"] == "ok").to_numpy()
    for metric in search.objectives:
        usable = usable & np.isfinite(rows[metric].to_numpy(np.float64, na_value=np.nan))
    by_point: dict[str, list[_Cell]] = {}
    numbers = rows[SUGGESTION].fillna(-1).astype(int)  # -1: there before any suggestion
    stopped = rows["status"] == "stopped"
    for point_id, *cell in zip(rows["point_id"], numbers, rows["seed"], rows["cell_id"], usable, stopped, strict=True):
        by_point.setdefault(point_id, []).append(_Cell._make(cell))
    found = [each for point_id, cells in by_point.items() for each in _of_point(point_id, sorted(cells), search)]
    return sorted(found, key=lambda each: (each.number, each.point_id))


class _Cell(NamedTuple):
    number: int
    """The suggestion that it was first computed for."""
    seed: int
    cell_id: str
    usable: bool
    stopped: bool


def _of_point(point_id: str, cells: Sequence[_Cell], search: Search) -> list[Suggested]:
    """The suggestions of one point, whose cells are given in order."""
    found: list[Suggested] = []
    numbers = sorted({cell.number for cell in cells if cell.number >= 0})
    for number in numbers:
        so_far = [cell for cell in cells if cell.number <= number]
        usable = [cell for cell in so_far if cell.usable]
        state: State
        if any(cell.stopped for cell in so_far):
            state = "stopped early"
        elif not all(cell.usable for cell in so_far if cell.number == number):
            state = "failed"
        elif {cell.seed for cell in usable} >= set(search.seeds):
            state = "complete"
        else:  # one whose point was suggested again had failed
            state = "underway" if number == numbers[-1] else "failed"
        found.append(
            Suggested(
                number=number,
                point_id=point_id,
                state=state,
                repeats=any(earlier.state == "complete" for earlier in found),
                cell_ids=tuple(cell.cell_id for cell in usable) if state == "complete" else (),
            )
        )
    return found
