"""Runs the computation of a point: what it raises or does wrong is the failure of a cell, never the end of a sweep."""

from __future__ import annotations

import errno
import logging
import signal
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

from dvq_ray.execution.contained import contained
from dvq_ray.execution.contract import ContractError, check
from dvq_ray.execution.exception_text import describe
from dvq_ray.experiment.experiment import Outcome, Underway
from dvq_ray.experiment.surroundings import Surroundings
from dvq_ray.process.interruption import Interrupted
from dvq_ray.store import Status, StoreError
from dvq_ray.sweep.cells import Point

_NO_MEMORY = ("not enough memory", "can't allocate memory", "CUDA out of memory")


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why a cell has no outcome."""

    status: Status
    error: str


def computed(point: Point, seeds: Sequence[int], surroundings: Surroundings) -> Generator[Outcome | Underway | Failure]:
    """The events of a computation. A failure is the last one, and is that of the first seed without an outcome."""
    events = _events(point, seeds, surroundings)
    try:
        while True:
            try:
                with contained():
                    event = next(events, None)
            except (StoreError, Interrupted):  # a checkpoint could not be kept, or a signal: not caused by the cell
                raise
            except BaseException as error:
                if _is_ctrl_c(error):
                    raise
                failure = Failure(status="out_of_memory" if _is_memory(error) else "error", error=describe(error))
                yield failure
                return
            if event is None:
                return
            yield event
    finally:
        _close(events)


def _events(point: Point, seeds: Sequence[int], surroundings: Surroundings) -> Generator[Outcome | Underway]:
    """What the computation yields, as long as it is what it has to be."""
    left = len(seeds)
    computation = iter(point.experiment.load_run()(point.settings, list(seeds), surroundings))
    try:
        for event in computation:
            if not left:
                raise ContractError(f"the computation yields {type(event).__name__} after its last repetition")
            check(point.experiment, event)
            left -= isinstance(event, Outcome)
            if left:
                yield event
    finally:
        if isinstance(computation, Generator):
            computation.close()
    if left:
        raise ContractError(f"the computation ended before its last repetition; {left} of {len(seeds)} are missing")
    yield event  # only now, because it counts if the computation has ended as it should


def _close(events: Generator[Any]) -> None:
    """Ends a computation that was stopped. Nothing that it raises then can be recorded, but for the store's errors."""
    try:
        with contained():
            events.close()
    except (StoreError, Interrupted):
        raise
    except BaseException as error:
        if _is_ctrl_c(error):
            raise
        logging.getLogger(__name__).warning("a cell that was stopped failed to end: %s", describe(error))


def _is_ctrl_c(error: BaseException) -> bool:
    """Whether a user pressed Ctrl-C. While a sweep runs that is `Interrupted`; a cell can raise this by itself."""
    return isinstance(error, KeyboardInterrupt) and signal.getsignal(signal.SIGINT) is signal.default_int_handler


def _is_memory(error: BaseException | None) -> bool:
    """Whether memory ran out. Torch has an error of its own for GPUs, and a plain RuntimeError for the CPU's."""
    if error is None:
        return False
    if isinstance(error, BaseExceptionGroup):
        return any(_is_memory(each) for each in error.exceptions)
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    message = describe(error) if isinstance(error, RuntimeError) else ""
    return any(words in message for words in _NO_MEMORY) or _is_memory(error.__cause__)
