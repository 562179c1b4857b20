"""The end of a sweep whose Ray cluster was lost: a line of our own, an exit code of its own, nothing left behind."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn

from dvq_ray.execution.job import Job
from dvq_ray.process.interruption import INTERRUPTED
from dvq_ray.process.private_folder import remove

CLUSTER_LOST = 4
"""Exit code of a sweep whose Ray cluster was lost."""
_MARK = "DVQ_RAY_FOLDER"
"""A variable in the environment of every process of a cluster that this process started."""
_LOOKS = 200
"""Ten seconds: on a busy machine a killed process takes a while to go."""
_ending = threading.Lock()


@contextmanager
def marked(folder: Path) -> Iterator[None]:
    """Processes that are started meanwhile, and theirs, can be found by this folder."""
    os.environ[_MARK] = str(folder)
    try:
        yield
    finally:
        del os.environ[_MARK]


def end_without_ray(why: str, folder: Path, job: Job | None) -> NoReturn:
    """Ends this process. There is no other way: its main thread may wait inside of Ray, for an answer or at the exit.

    Rows are in the store since their cells were done, so the end of a process at any moment loses none.
    """
    _ending.acquire()  # for good: the watching thread and the main thread may both come here
    with suppress(Exception):
        if job is not None:
            job.progress.__exit__()  # a terminal gets its cursor back
    if job is not None and job.interruption.asked:  # Ray's processes got the signal too
        text, code = "interrupted: the same command resumes from here", INTERRUPTED
    else:
        text, code = f"{why}. Every row that was written is kept; the same command resumes from here", CLUSTER_LOST
    with suppress(OSError, ValueError):
        print(text, file=sys.stderr, flush=True)
    with suppress(OSError, ValueError):
        sys.stdout.flush()
    end_processes(folder)
    remove(folder)
    os._exit(code)


def end_processes(folder: Path) -> None:
    """Ends what is left of a cluster that this process started there. Ray's agents would live for a minute more."""
    mark = f"{_MARK}={folder}\0".encode()
    for _ in range(_LOOKS):  # one may have started another meanwhile
        found = list(_processes_with(mark))
        if not found:
            return
        for process in found:
            with suppress(OSError):
                os.kill(process, signal.SIGKILL)
        time.sleep(0.05)


def _processes_with(mark: bytes) -> Iterator[int]:
    for place in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):  # it is gone, or of another user
            if mark in place.read_bytes():
                yield int(place.parent.name)
