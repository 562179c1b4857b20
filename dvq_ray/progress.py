"""What a user sees while a sweep runs: one live line on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

if TYPE_CHECKING:
    from dvq_ray.pace import Estimate

PLAIN_LINE_SECONDS = 10.0
ENOUGH_TO_FORETELL = 0.01
"""Share of the work after which the time left is told; the first cells carry the start-up of the workers."""


def span(seconds: float) -> str:
    """A duration as a person says it: 45 s, 12 min, 3.5 h, 2.1 days."""
    for limit, unit, text in ((100, 1, "s"), (100 * 60, 60, "min"), (48 * 3600, 3600, "h")):
        if seconds < limit:
            return f"{seconds / unit:.{0 if unit < 3600 else 1}f} {text}"
    return f"{seconds / 86400:.1f} days"


def rate(per_second: float, what: str = "cells") -> str:
    """Things in the unit of time that makes it a number to read: 12.3 cells/s, 4.5 cells/min, 0.8 cells/h."""
    for seconds, unit in ((1, "s"), (60, "min")):
        if per_second * seconds >= 1:
            return f"{per_second * seconds:.1f} {what}/{unit}"
    return f"{per_second * 3600:.1f} {what}/h"


def counts_table(first: str, *headings: str) -> Table:
    """A table whose first column is text and whose others are numbers."""
    table = Table(box=None, pad_edge=False)
    table.add_column(first, overflow="fold")  # a name is shown in full
    for heading in headings:
        table.add_column(heading, justify="right")
    return table


class Progress:
    """Counts cells, or what else there is to do, as they are done.

    Time left follows from the work that they stood for, not from their number.
    """

    def __init__(self, total: int, total_seconds: float, console: Console, *, what: str = "cells") -> None:
        self.done = 0
        self.failed = 0
        self.running = 0
        self.note = ""
        """Stands at the end of the line."""
        self._total = total
        self._what = what
        self._total_seconds = total_seconds
        self._seconds_done = 0.0
        self._console = console
        self._started = time.monotonic()
        self._last_line = self._started
        self._expected: Estimate | None = None
        self._at_once = 1
        self._live = Live(console=console, refresh_per_second=4, transient=True, get_renderable=self._render)

    def __enter__(self) -> Self:
        self._started = self._last_line = time.monotonic()
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def expect(self, estimate: Estimate, at_once: int) -> None:
        """Prints how long it should take. The line goes by that until enough is done to see how long it does take."""
        self._console.print(f"expected time: {estimate.in_words(at_once)}")
        self._expected = estimate
        self._at_once = at_once

    def advance(self, done: int, failed: int, nominal_seconds: float) -> None:
        """Cells that came to an end since the last call, and the work that they stood for."""
        self.done += done
        self.failed += failed
        self._seconds_done += nominal_seconds

    def tick(self, running: int) -> None:
        """Tells how many cells run now, and prints a plain line where it is time for one."""
        self.running = running
        now = time.monotonic()
        if not self._console.is_terminal and now - self._last_line >= PLAIN_LINE_SECONDS:
            self._last_line = now
            self._console.print(self.line())

    def last_line(self) -> None:
        """Prints how it ended, where there is no live line."""
        if not self._console.is_terminal:
            self._console.print(self.line())

    def elapsed_seconds(self) -> float:
        """Seconds since the first cell could run."""
        return time.monotonic() - self._started

    def line(self) -> str:
        """The state in one line."""
        elapsed = max(self.elapsed_seconds(), 1e-9)
        # Cells of a pack whose worker died are told again when the pack comes back.
        ended = min(self.done + self.failed, self._total)
        counts = f"{ended} of {self._total} {self._what}, {self.failed} failed, {self.running} running"
        line = f"{counts}, {rate(ended / elapsed, self._what)}, {self._left(elapsed)}"
        return f"{line}; {self.note}" if self.note else line

    def _left(self, elapsed: float) -> str:
        if self._seconds_done > ENOUGH_TO_FORETELL * self._total_seconds:
            return f"{span(elapsed * max(self._total_seconds - self._seconds_done, 0.0) / self._seconds_done)} left"
        if self._expected is None or self._expected.seconds is None:
            return "unknown left"
        left = self._expected.seconds / self._at_once - elapsed
        basis = "" if self._expected.measured else " at nominal speed"
        return f"about {span(left)} left{basis}" if left > 0 else "unknown left"

    def _render(self) -> Table:
        table = Table.grid(padding=(0, 1))
        share = self._seconds_done / self._total_seconds if self._total_seconds else 0.0
        table.add_row(ProgressBar(total=1.0, completed=min(share, 1.0), width=14), self.line())
        return table
