"""What a run of a sweep may still spend. Once it is spent no further cell begins, and those that run are finished."""

from __future__ import annotations

import time
from collections.abc import Callable

from dvq_ray.text import span

BUDGET_SPENT = 3
"""Exit code of a sweep that is not done because its budget was spent."""


class Budget:
    """Seconds of a clock on the wall, and hours of GPUs: those that trials hold, not those of idle nodes.

    Both are counted from the first call of `hold`, by a clock that does not jump.
    """

    def __init__(
        self,
        *,
        seconds: float | None = None,
        gpu_hours: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._seconds = seconds
        self._gpu_hours = gpu_hours
        self._clock = clock
        self._started: float | None = None
        self._last = 0.0
        self._gpus = 0.0
        self._gpu_seconds = 0.0

    @property
    def limited(self) -> bool:
        """Whether it can be spent at all."""
        return self._seconds is not None or self._gpu_hours is not None

    def hold(self, gpus: float) -> None:
        """Takes note that trials hold this many GPUs from now on."""
        now = self._clock()
        if self._started is None:
            self._started = self._last = now
        self._gpu_seconds += self._gpus * (now - self._last)
        self._last, self._gpus = now, gpus

    def spent(self) -> str:
        """Which limit was reached; empty while there is something left."""
        if self._started is None:
            return ""
        now = self._clock()
        if self._seconds is not None and now - self._started >= self._seconds:
            return f"the time budget of {span(self._seconds)} is spent"
        gpu_hours = (self._gpu_seconds + self._gpus * (now - self._last)) / 3600
        if self._gpu_hours is not None and gpu_hours >= self._gpu_hours:
            return f"the budget of {self._gpu_hours:g} GPU hours is spent"
        return ""
