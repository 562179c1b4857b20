"""The report of a sweep that runs, made again and again until it ends."""

from __future__ import annotations

import math
import multiprocessing
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from dvq_ray.cli.terminal import complain
from dvq_ray.cli.watching import cpu_seconds, give_way, rounds
from dvq_ray.store import Store, StoreError
from dvq_ray.text import span

from . import making
from .data.rows import load_rows

SHARE, LEAST_SECONDS = 0.2, 15.0
"""Of one core, how much making reports may take; and the least time between two of them."""


def while_it_runs(
    folder: Path, stores: Sequence[str], only: Mapping[str, str], say: Callable[[str], None], **how: Any
) -> None:
    """Makes all items and the report whenever there are new rows, as long as the sweep of some store runs.

    `how` goes to `making.make`. Each round is a process of its own, which leaves nothing behind in this one. It gives
    way to all other processes.
    """
    give_way()
    held, seconds, seen = [Store(store) for store in stores], LEAST_SECONDS * SHARE, ""
    for running in rounds(held, share=SHARE, least_seconds=LEAST_SECONDS):
        found = _files(held)
        if not running or found == seen:
            continue
        began, computed = time.monotonic(), cpu_seconds()
        reload = math.ceil(max(LEAST_SECONDS, seconds / SHARE))
        if _in_a_process(folder, stores, only, {**how, "reload_seconds": reload}):
            seen, seconds, took = found, cpu_seconds() - computed, time.monotonic() - began
            say(f"{datetime.now():%H:%M:%S}  {folder / making.REPORT}.html made in {span(took)}, made again in some "
                f"{span(max(LEAST_SECONDS, seconds / SHARE))}; Ctrl-C ends this, not the sweep")  # fmt: skip


def make_once(folder: Path, stores: Sequence[str], only: Mapping[str, str], how: Mapping[str, Any]) -> None:
    """Makes everything of the rows that there are now. Exits with 1 where that cannot be done."""
    try:
        rows = load_rows(stores, only)
        making.make(folder, rows, (), lambda line: None, allow_missing=True, **how)
    except (StoreError, ValueError) as error:
        complain(f"no report yet: {error}")
        raise SystemExit(1) from error


def _in_a_process(folder: Path, stores: Sequence[str], only: Mapping[str, str], how: Mapping[str, Any]) -> bool:
    """Whether the report was made."""
    arguments = (folder, list(stores), dict(only), dict(how))
    process = multiprocessing.get_context("spawn").Process(target=make_once, args=arguments)
    process.start()
    try:
        process.join()
    finally:
        process.terminate()
    return process.exitcode == 0


def _files(stores: Sequence[Store]) -> str:
    """Tells whether there are new rows."""
    return repr(
        sorted((info.path, info.size, info.mtime_ns) for store in stores for info in store.files_below("cells"))
    )
