"""Work on some rows, on all cores."""

from __future__ import annotations

import gc
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any

from .data.rows import Rows


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


@contextmanager
def workers(rows: Rows) -> Iterator[Callable[..., Future[Any]]]:
    """Starts a process for each usable core, and gives what has them call a function of the rows.

    Its future has the result of the function, or its error. On Linux the processes are forked, and share the rows with
    this one: Arrow must not have started threads by then. Elsewhere each of them gets a copy.
    """
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else None)
    gc.freeze()  # no process then looks through what they share for garbage, and so copies it
    with ProcessPoolExecutor(usable_cores(), context, initializer=_receive, initargs=(rows,)) as pool:
        try:
            yield lambda work, *args, **options: pool.submit(_call, work, *args, **options)
        finally:
            pool.shutdown(cancel_futures=True)
            gc.unfreeze()


_received: list[Rows] = []
"""In a process that works for another: the rows."""


def _receive(rows: Rows) -> None:
    _received[:] = [rows]


def _call(work: Callable[..., Any], *args: Any, **options: Any) -> Any:
    return work(_received[0], *args, **options)
