"""Rows of one worker on their way into a store.

Each is written at once, so that the end of the process takes none. To survive a power cut a file must be synced, which
takes longer than many a cell; so rows are synced together, every few seconds.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from dvq_ray.experiment.experiment import Experiment
from dvq_ray.store.store import Store

SYNC_SECONDS = 5.0
"""A power cut takes no row that was written longer ago, while its worker is at work."""


class Commits:
    """Commits cells of one experiment. `finish` makes sure of all of them."""

    def __init__(self, store: Store, experiment: Experiment) -> None:
        self._store = store
        self._experiment = experiment
        self._unsynced: list[tuple[Mapping[str, Any], Sequence[Mapping[str, Any]]]] = []
        self._synced_at = time.monotonic()

    def add(self, row: Mapping[str, Any], curve: Sequence[Mapping[str, Any]]) -> None:
        """Commits a row and its curve."""
        is_due = time.monotonic() - self._synced_at >= SYNC_SECONDS
        if is_due and not self._unsynced:
            self._store.write_cell(self._experiment, row, curve)
            self._synced_at = time.monotonic()
            return
        self._store.write_cell_unsynced(self._experiment, row, curve)
        self._unsynced.append((row, curve))
        if is_due:
            self.finish()

    def finish(self) -> None:
        """Makes what was added survive a power cut, in one file of each kind."""
        self._store.gather(self._experiment, self._unsynced)
        self._unsynced.clear()
        self._synced_at = time.monotonic()
