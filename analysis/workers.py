"""Work on the rows of some stores, on all cores."""

from __future__ import annotations

import gc
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from .data.rows import Rows, load_rows


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


@contextmanager
def workers(stores: Sequence[str], only: Mapping[str, str]) -> Iterator[Callable[..., Future[Any]]]:
    """As many processes as there are usable cores, and what has them call a function of the rows.

    Its future has the result, or the error of reading the rows or of the function. Each process reads the rows when it
    first needs them. The processes start with the first call, which must come before this process reads anything:
    reading starts threads, and a process that has threads cannot be forked safely.
    """
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else None)
    # Nothing that a process inherits is garbage: it need not look through all that, and so copy it.
    with ProcessPoolExecutor(usable_cores(), context, initializer=gc.freeze) as pool:
        try:
            yield lambda *work, **options: pool.submit(_work, tuple(stores), tuple(only.items()), *work, **options)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _work(
    stores: tuple[str, ...], only: tuple[tuple[str, str], ...], work: Callable[..., Any], *args: Any, **options: Any
) -> Any:
    return work(_rows(stores, only), *args, **options)


@lru_cache(maxsize=1)
def _rows(stores: tuple[str, ...], only: tuple[tuple[str, str], ...]) -> Rows:
    return load_rows(stores, dict(only))
