"""Several actors on one store, whose operations on the storage are done in a given order."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from dvq_ray.store.storage import Storage


class Actor:
    """Does something one operation on the storage at a time, in a thread of its own."""

    def __init__(self, act: Callable[[], None]) -> None:
        self._go, self._stopped = threading.Semaphore(0), threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, args=[act], daemon=True)
        self._error: BaseException | None = None
        self.ended = False
        self._thread.start()

    def step(self) -> None:
        """Lets it go on until just before its next operation, or to its end."""
        self._go.release()
        self._stopped.acquire()
        if self._error:
            raise self._error

    def wait(self) -> None:
        """Stops before an operation. To be called by its own thread."""
        self._stopped.release()
        self._go.acquire()

    @property
    def is_current(self) -> bool:
        return threading.current_thread() is self._thread

    def _run(self, act: Callable[[], None]) -> None:
        self._go.acquire()
        try:
            act()
        except BaseException as error:
            self._error = error
        self.ended = True
        self._stopped.release()


@contextmanager
def actors(*acts: Callable[[], None]) -> Iterator[Sequence[Actor]]:
    """One for each act; none has begun."""
    made = [Actor(act) for act in acts]
    patiently, each = Storage.patiently, Storage.each

    def stopping(self: Storage, path: str, action: Callable[[], Any]) -> Any:
        for actor in made:
            if actor.is_current:
                actor.wait()
        return patiently(self, path, action)

    def one_by_one(self: Storage, action: Callable[[str], Any], paths: Iterable[str]) -> list[Any]:
        is_actor = any(actor.is_current for actor in made)
        return [action(path) for path in paths] if is_actor else each(self, action, paths)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Storage, "patiently", stopping)
        patch.setattr(Storage, "each", one_by_one)
        yield made
