"""Work on the rows of some stores, on all cores."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from .data.rows import Rows, load_rows

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Submit(Protocol):
    """Runs a function of the rows in some process."""

    def __call__(self, work: Callable[Concatenate[Rows, _P], _T], *args: _P.args, **options: _P.kwargs) -> Future[_T]:
        """What comes of it: the result, or the error of reading the rows or of the work."""
        ...


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


@contextmanager
def workers(stores: Sequence[str], only: Mapping[str, str]) -> Iterator[Submit]:
    """As many processes as there are usable cores, each of which reads the rows when it first needs them.

    They start at once, before this process reads anything: reading starts threads, and a process that has threads
    cannot be forked safely.
    """
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else None)
    with ProcessPoolExecutor(usable_cores(), context) as pool:

        def submit(work: Callable[Concatenate[Rows, _P], _T], *args: _P.args, **options: _P.kwargs) -> Future[_T]:
            return pool.submit(_work, work, tuple(stores), tuple(only.items()), args, options)

        try:
            yield submit
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _work(
    work: Callable[..., _T], stores: tuple[str, ...], only: tuple[tuple[str, str], ...], args: tuple[object, ...],
    options: dict[str, object],
) -> _T:  # fmt: skip
    return work(_rows(stores, only), *args, **options)


@lru_cache(maxsize=1)
def _rows(stores: tuple[str, ...], only: tuple[tuple[str, str], ...]) -> Rows:
    return load_rows(stores, dict(only))
