"""How far a store has come with the grids that it keeps, and which of its rows bear on a search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from dvq_ray.store import SUGGESTION, Store
from dvq_ray.sweep.plan import GridCount, make_plan
from dvq_ray.sweep.search import Search
from dvq_ray.sweep.spec import parse_sweep


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


def coverage(store: Store) -> Coverage | None:
    """What of its grids a store holds; None where it keeps no sweep file, or one of a search.

    Raises `SweepFileError` where that file is not one in this version, `StoreError` where rows cannot be read.
    """
    text = store.sweep_text()
    if text is None:
        return None
    spec = parse_sweep(text, f"{store.location}/sweep.yaml")
    if spec.search:
        return None
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
