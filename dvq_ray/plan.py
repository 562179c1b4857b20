"""Wanted cells minus stored cells: what a sweep has, what it lacks, and how long that will take."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dvq_ray.cells import Cell, expand
from dvq_ray.spec import SweepSpec
from dvq_ray.store import FINISHED, Store


@dataclass(frozen=True, kw_only=True)
class GridCount:
    """Cells of one grid by their state in the store."""

    name: str
    done: int
    failed: int
    missing: int


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A sweep held against its store."""

    spec: SweepSpec
    cells: Sequence[Cell]
    """All wanted cells, each once."""
    statuses: Mapping[str, str]
    """Status of every stored cell, wanted or not."""
    to_run: Sequence[Cell]
    grids: Sequence[GridCount]
    unwanted: int
    """Stored cells that the sweep file names no longer. They are kept."""
    seconds_per_nominal: Mapping[str, float]
    """By quantizer: measured seconds over nominal seconds, the median of the wanted cells that are done."""

    def failures(self) -> Counter[str]:
        """Wanted cells that failed, by status."""
        states = (self.statuses.get(cell.cell_id) for cell in self.cells)
        return Counter(state for state in states if state is not None and state not in FINISHED)

    def expected_seconds(self, slots: int) -> float | None:
        """Time that the cells to run take on `slots` trials at once; None where nothing like them was measured."""
        total = 0.0
        for cell in self.to_run:
            rate = self.seconds_per_nominal.get(cell.quantizer)
            if rate is None:
                return None
            total += rate * cell.nominal_seconds()
        return total / max(slots, 1)


def make_plan(spec: SweepSpec, store: Store, *, retry_failed: bool) -> Plan:
    """What is to be run: cells that the store lacks, and the failed ones where they are asked for."""
    cells, by_grid = expand(spec)
    frame = store.load(columns=["cell_id", "status"])
    statuses = dict(zip(frame["cell_id"], frame["status"], strict=True))
    wanted = {cell.cell_id for cell in cells}
    to_run = [
        cell
        for cell in cells
        if cell.cell_id not in statuses or (retry_failed and statuses[cell.cell_id] not in FINISHED)
    ]
    return Plan(
        spec=spec,
        cells=cells,
        statuses=statuses,
        to_run=to_run,
        grids=[_count(name, ids, statuses) for name, ids in by_grid.items()],
        unwanted=len(statuses.keys() - wanted),
        seconds_per_nominal=_rates(cells, store) if statuses and to_run else {},
    )


def _count(name: str, ids: Sequence[str], statuses: Mapping[str, str]) -> GridCount:
    states = [statuses.get(cell_id) for cell_id in dict.fromkeys(ids)]
    done = sum(state in FINISHED for state in states)
    missing = sum(state is None for state in states)
    return GridCount(name=name, done=done, failed=len(states) - done - missing, missing=missing)


def _rates(cells: Sequence[Cell], store: Store) -> dict[str, float]:
    frame = store.load(columns=["cell_id", "duration_seconds"]).dropna()
    seconds = dict(zip(frame["cell_id"], frame["duration_seconds"], strict=True))
    ratios: dict[str, list[float]] = {}
    for cell in cells:
        if cell.cell_id in seconds:
            ratios.setdefault(cell.quantizer, []).append(seconds[cell.cell_id] / cell.nominal_seconds())
    return {quantizer: statistics.median(values) for quantizer, values in ratios.items()}
