"""Which drivers work on a store, and how those that no longer do have ended: `<store>/drivers/<run id>.json`.

A driver writes its file when it starts, every half minute, and when it ends. A driver that was killed leaves a file
that goes stale; on its own machine the process table shows at once that it is gone. Only `status` uses these files, so
one that cannot be written or read is not an error.
"""

from __future__ import annotations

import contextlib
import os
import platform
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Annotated, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from dvq_ray.store.provenance import Run
from dvq_ray.store.storage import StoreError
from dvq_ray.store.store import Store
from dvq_ray.text import plain

EVERY_SECONDS = 30.0
MISSED = 5
"""A driver counts as dead after this many beats were late or lost."""
CLOCKS_DIFFER = timedelta(minutes=5)
"""A time further in the future comes from a wrong clock, and is ignored."""
LAST_BEAT_SECONDS = 10.0
"""How long a driver waits for its last beat to be written."""
LONGEST_FILE = 4096
"""Bytes. A driver never writes a longer one."""
MOST_FILES = 50
"""The latest ones are read."""


class _Sign(BaseModel):
    """The content of a file. It may come from anywhere."""

    model_config = ConfigDict(strict=True, frozen=True)
    host: Annotated[str, Field(max_length=255)]
    pid: Annotated[int, Field(gt=0, lt=2**31)]
    process: Annotated[str, Field(max_length=255)]
    """Identifies the process on its machine, even after its number was reused; empty if the system cannot."""
    started_at: AwareDatetime
    at: AwareDatetime
    every_seconds: Annotated[float, Field(gt=0, le=600)]
    ended: Annotated[str, Field(max_length=1000)] | None
    """How it ended; None while it runs."""


@dataclass(frozen=True, kw_only=True)
class Driver:
    """A process that runs a sweep, or ran one."""

    run_id: str
    host: str
    pid: int
    started_at: datetime
    last_seen: datetime
    runs: bool
    is_certain: bool
    """Whether `runs` is known; otherwise it follows from the age of the file."""
    ended: str
    """How it ended; empty if it was killed, or still runs."""


class Heartbeat:
    """Reports in the store that the driver of a run is alive, while it is entered, and afterwards how it ended."""

    def __init__(self, store: Store, run: Run, cut_short: Callable[[], str]) -> None:
        """`cut_short` is called at the end and returns what ended the run early; empty if nothing did."""
        self._store = store
        self._name = f"{run.run_id}.json"
        self._cut_short = cut_short
        self._started_at = datetime.now(UTC)
        self._ended: str | None = None
        self._end = threading.Event()
        # A storage that does not answer must not delay the driver, nor keep it from ending.
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if isinstance(error, KeyboardInterrupt):
            self._ended = "interrupted"
        elif error is not None:
            self._ended = plain(f"{type(error).__name__}: {error}").partition("\n")[0][:500]
        else:
            self._ended = self._cut_short() or "done"
        self._end.set()
        self._thread.join(LAST_BEAT_SECONDS)

    def _beat(self) -> None:
        self._write()
        self._drop_those_of_the_dead()
        while not self._end.wait(EVERY_SECONDS):
            self._write()
        self._write()

    def _write(self) -> None:
        sign = _Sign(
            host=platform.node()[:255], pid=os.getpid(), process=_process(os.getpid()), started_at=self._started_at,
            at=datetime.now(UTC), every_seconds=EVERY_SECONDS, ended=self._ended,
        )  # fmt: skip
        with contextlib.suppress(Exception):
            self._store.write_driver(self._name, sign.model_dump_json().encode())

    def _drop_those_of_the_dead(self) -> None:
        with contextlib.suppress(Exception):
            for driver in drivers(self._store, datetime.now(UTC)):
                if not driver.runs:  # if it does after all, its next beat restores the file
                    self._store.drop_driver(f"{driver.run_id}.json")


def drivers(store: Store, now: datetime) -> list[Driver]:
    """Drivers with a file in the store, the one seen last first. Only reads; skips files that it cannot read."""
    try:
        files = [info for info in store.files_below("drivers") if info.extension == "json"]
    except (StoreError, OSError):
        return []
    files.sort(key=lambda info: info.mtime, reverse=True)
    found = []
    for info in files[:MOST_FILES]:
        if info.size <= LONGEST_FILE:
            with contextlib.suppress(StoreError, OSError, ValidationError):
                sign = _Sign.model_validate_json(store.read_driver(info.base_name) or b"")
                driver = _driver(info.base_name.removesuffix(".json"), sign, info.mtime, now)
                found += [driver] if driver else []
    return sorted(found, key=lambda driver: driver.last_seen, reverse=True)


def _driver(run_id: str, sign: _Sign, written_at: datetime, now: datetime) -> Driver | None:
    # By the driver's clock and by the storage's: either may be wrong, and copying a store changes the latter.
    seen = [moment for moment in (sign.at, written_at) if moment <= now + CLOCKS_DIFFER]
    here = _runs_here(sign)
    if not seen and here is None and sign.ended is None:
        return None
    last_seen = min(max(seen, default=now), now)
    recent = now - last_seen <= timedelta(seconds=MISSED * sign.every_seconds)
    return Driver(
        run_id=run_id,
        host=sign.host,
        pid=sign.pid,
        started_at=min(sign.started_at, last_seen),
        last_seen=last_seen,
        runs=sign.ended is None and (recent if here is None else here),
        is_certain=sign.ended is not None or here is not None,
        ended=sign.ended or "",
    )


def _runs_here(sign: _Sign) -> bool | None:
    """Whether the process runs on this machine; None if it is another machine's, or cannot be seen."""
    if not sign.process or sign.process.rpartition(" ")[0] != _process(os.getpid()).rpartition(" ")[0]:
        return None
    if found := _process(sign.pid):
        return found == sign.process
    try:
        os.kill(sign.pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return None  # the system hides other users' processes


def _process(pid: int) -> str:
    """Identifies a process by boot, process namespace and start time. Empty if it cannot be seen."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        namespace = os.readlink("/proc/self/ns/pid")
        # The second field is a name in brackets, which may hold anything.
        state, *fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return ""
    return f"{boot} {namespace} {fields[18] if state not in 'ZX' else 'has ended'}"
