"""Rows of one worker on their way into a store.

Writing and syncing a file takes longer than computing many a cell. So cells that end within a second are committed
together, in one file of rows and one of curves; a cell that takes longer is committed as soon as it is done.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from dvq_ray.experiment.experiment import Experiment
from dvq_ray.store.storage import StoreError
from dvq_ray.store.store import Store, Written

TOGETHER_SECONDS = 1.0
"""No row waits longer than this. It is what the end of a process without notice, or of the power, can take."""


class Commits:
    """Commits cells of one experiment. When it is left nothing waits, whatever ended it: an error, or a signal.

    After a `StoreError` it commits nothing more, and the cells that waited have no row.
    """

    def __init__(self, store: Store, experiment: Experiment) -> None:
        self._store = store
        self._experiment = experiment
        self._waiting: list[Written] = []
        self._lock = threading.Lock()
        self._last = time.monotonic()
        self._timer: threading.Timer | None = None
        self._failure: Exception | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if isinstance(error, StoreError):
            with self._lock:
                self._taken()
        else:
            self.commit()

    def add(self, row: Mapping[str, Any], curve: Sequence[Mapping[str, Any]]) -> None:
        """Takes a row and its curve, which fit their columns.

        Raises `StoreError` where it, or one that waited, cannot be written.
        """
        with self._lock:
            self._waiting.append((row, curve))
            if time.monotonic() - self._last >= TOGETHER_SECONDS:
                self._commit()
            elif self._timer is None:  # the next cell may take hours
                self._timer = threading.Timer(TOGETHER_SECONDS, self._commit_in_time)
                self._timer.daemon = True
                self._timer.start()

    def commit(self) -> None:
        """Commits what waits, so that other processes find it."""
        with self._lock:
            self._commit()

    def _commit_in_time(self) -> None:
        with self._lock:
            try:
                self._commit()
            except Exception as error:
                self._failure = error

    def _commit(self) -> None:
        if self._failure is not None:
            raise self._failure
        # Taken first: a file that could be written in part only must not be written again with other rows.
        if waiting := self._taken():
            self._store.write_cells(self._experiment, waiting)
            self._last = time.monotonic()

    def _taken(self) -> list[Written]:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting, self._waiting = self._waiting, []
        return waiting
