"""Looking at a store again and again while its sweep runs, for a small share of one core."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime

from dvq_ray.store import Store
from dvq_ray.store.heartbeat import drivers

_NICENESS = 10
"""A tenth of the weight of other processes, to Linux. At 19 a sweep on all cores would leave nothing for a report."""
_POLL_SECONDS = 2.0
"""How often it is looked whether the sweep still runs: a few bytes are read for that."""


def is_running(store: Store) -> bool:
    """Whether some driver works on the store, by the sign of life that each leaves in it."""
    return any(driver.runs for driver in drivers(store, datetime.now(UTC)))


def rounds(stores: Sequence[Store], *, share: float, least_seconds: float) -> Iterator[bool]:
    """Yields true again and again while the sweep of some store runs, and false once after that.

    What is done in between computes for at most `share` of one core's time, child processes that have ended included;
    rounds begin at least `least_seconds` apart.
    """
    while running := any(map(is_running, stores)):
        began, computed = time.monotonic(), cpu_seconds()
        yield running
        until = began + max(least_seconds, (cpu_seconds() - computed) / share)
        while (left := until - time.monotonic()) > 0 and any(map(is_running, stores)):
            time.sleep(min(left, _POLL_SECONDS))
    yield False


def cpu_seconds() -> float:
    """What this process and its ended children have computed so far. On a busy machine it takes them longer."""
    return sum(os.times()[:4])


def give_way() -> None:
    """Leaves nine tenths of each core to other processes that want it, where the system knows priorities."""
    if hasattr(os, "nice"):
        with suppress(OSError):
            os.nice(_NICENESS)
