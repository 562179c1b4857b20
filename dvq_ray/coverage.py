"""How far a store has come with the sweep that it keeps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dvq_ray.plan import GridCount, make_plan
from dvq_ray.spec import parse_sweep
from dvq_ray.store import Store


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """A store held against its own sweep file."""

    sweep_text: str
    """The resolved sweep file, as run last."""
    grids: Sequence[GridCount]
    """In the order of the file; a cell that several grids name counts in each."""
    wanted: int
    """Cells that the sweep file names, each once."""
    missing: int
    """Those without a row."""
    unwanted: int
    """Cells with a row that it does not name."""


def coverage(store: Store) -> Coverage | None:
    """What of its sweep a store holds; None where it keeps no sweep file.

    Raises `SweepFileError` where that file is not one in this version, `StoreError` where rows cannot be read.
    """
    text = store.sweep_text()
    if text is None:
        return None
    plan = make_plan(parse_sweep(text, f"{store.location}/sweep.yaml"), store, retry_failed=False)
    return Coverage(
        sweep_text=text,
        grids=plan.grids(),
        wanted=len(plan.cells),
        missing=len(plan.to_run),
        unwanted=plan.unwanted,
    )
