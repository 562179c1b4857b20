"""Signals while a sweep runs: Ctrl-C, SIGTERM, and SIGHUP when its terminal closes."""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType
from typing import Any, Self

INTERRUPTED = 130
"""Exit code of a shell command that Ctrl-C ended."""
HANGUP = getattr(signal, "SIGHUP", None)
_TOGETHER_SECONDS = 3.0
"""Signals closer than this are one: `timeout` signals its command and then the command's process group."""


class Interrupted(KeyboardInterrupt):
    """A signal ends this process now. No exception that a cell raises by itself is one of these."""


class Interruption:
    """Stops a sweep on a signal: the first asks it to stop, a second one ends it at once.

    Until `listen` is called nothing runs that could be asked, so that the first signal ends it at once too. A terminal
    that closes sends SIGHUP more than once, so a repeated one has no effect. SIGHUP that was ignored from the start, by
    `nohup`, remains ignored. Only the main thread of a process receives signals: in any other thread this does nothing.
    """

    def __init__(self) -> None:
        self.asked = False
        self._asked_at = 0.0
        self._listens = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            numbers = [signal.SIGINT, signal.SIGTERM]
            if HANGUP is not None and signal.getsignal(HANGUP) != signal.SIG_IGN:
                numbers.append(HANGUP)
            self._before = {number: signal.getsignal(number) or signal.SIG_DFL for number in numbers}
            self._handle()
        return self

    def listen(self) -> None:
        """Makes the first signal only ask, from now on. Takes the signals over from whatever handles them meanwhile."""
        self._listens = True
        self._handle()

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self) -> None:
        for number in self._before:
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.asked and (number == HANGUP or now - self._asked_at < _TOGETHER_SECONDS):
            return
        again, self.asked, self._asked_at = self.asked, True, now
        if again or not self._listens:
            raise Interrupted
