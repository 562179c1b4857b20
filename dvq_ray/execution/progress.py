"""What a user sees while a sweep runs: one live line on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from dvq_ray.text import plain, rate, span

if TYPE_CHECKING:
    from dvq_ray.sweep.pace import Estimate

PLAIN_LINE_SECONDS = 10.0
ENOUGH_TO_PREDICT = 0.01
"""Share of the work after which the time left is shown; the first cells carry the start-up of the workers."""

_BAR, _WIDE = 14, 60
"""Width of the bar, and of terminals that have room for it."""


class Progress:
    """Counts cells, or what else there is to do, as they are done.

    Time left follows from the work that they stood for, not from their number.
    """

    def __init__(
        self, total: int, total_seconds: float, console: Console, *, what: str = "cells", metric: str = ""
    ) -> None:
        self.done = 0
        self.failed = 0
        self.running = 0
        self.note = ""
        """What has been found so far, in words."""
        self.total = total
        self._what = what
        self._metric = metric
        self.last: float | None = None
        """The metric's last value; None before the first."""
        self.best: float | None = None
        """Its lowest."""
        self.best_cell_id = ""
        """The cell that has it."""
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
        """Prints how long it should take. The line uses this until enough is done to measure it."""
        self._console.print(f"expected time: {estimate.in_words(at_once)}")
        self._expected = estimate
        self._at_once = at_once

    def expect_more(self, count: int, nominal_seconds: float) -> None:
        """Takes note of further cells, and of the work that they stand for."""
        self.total += count
        self._total_seconds += nominal_seconds

    def advance(self, done: int, failed: int, nominal_seconds: float) -> None:
        """Takes note of cells that ended since the last call, and the work that they stood for."""
        self.done += done
        self.failed += failed
        self._seconds_done += nominal_seconds

    def measured(self, value: float, cell_id: str) -> None:
        """Takes note of a value of the metric, of a cell that is finished or is being computed."""
        self.last = value
        if self.best is None or value < self.best:
            self.best, self.best_cell_id = value, cell_id

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

    def line(self, width: int | None = None) -> str:
        """The state in one line; drops what matters least if it would be wider than `width`."""
        elapsed = max(self.elapsed_seconds(), 1e-9)
        # Cells of a pack whose worker died are counted again when the pack is resumed.
        ended = min(self.done + self.failed, self.total)
        facts = [
            f"{ended} of {self.total} {self._what}",
            f"{self.failed} failed",
            f"{span(elapsed)} elapsed",
            self._left(elapsed),
            *self._values(),
            f"{self.running} running",
            *([self.note] if self.note else []),
            rate(ended / elapsed, self._what),
            *([f"best cell {self.best_cell_id}"] if self.best_cell_id else []),
        ]
        while width is not None and len(facts) > 1 and len(", ".join(facts)) > width:
            facts.pop()
        return ", ".join(facts)

    def _values(self) -> list[str]:
        if self.last is None or self.best is None:
            return []
        return [f"{self._metric} {self.last:.4g}, best {self.best:.4g}"]

    def _left(self, elapsed: float) -> str:
        if self._seconds_done > ENOUGH_TO_PREDICT * self._total_seconds:
            return f"{span(elapsed * max(self._total_seconds - self._seconds_done, 0.0) / self._seconds_done)} left"
        if self._expected is None or self._expected.seconds is None:
            return "unknown left"
        left = self._expected.seconds / self._at_once - elapsed
        basis = "" if self._expected.measured else " at nominal speed"
        return f"about {span(left)} left{basis}" if left > 0 else "unknown left"

    def _render(self) -> Table:
        table = Table.grid(padding=(0, 1))
        width = self._console.width
        share = self._seconds_done / self._total_seconds if self._total_seconds else 0.0
        bar = [ProgressBar(total=1.0, completed=min(share, 1.0), width=_BAR)] if width >= _WIDE else []
        line = self.line(width - len(bar) * (_BAR + 1))
        # A line that wraps would leave its first half on the screen each time it is redrawn.
        table.add_row(*bar, Text(plain(line, one_line=True), no_wrap=True, overflow="ellipsis"))
        return table
