"""What all command lines share: terminals get plain text, and no command ends because its output cannot be written."""

from __future__ import annotations

import errno
import io
import os
import select
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dvq_ray.text import plain

_INTERRUPTED = 130


def console(**options: Any) -> Console:
    """The console of a command line. Nothing it prints is parsed as markup or emoji: names may hold brackets."""
    return _PlainConsole(markup=False, emoji=False, highlight=False, soft_wrap=True, **options)


def say(line: str) -> None:
    """Prints a line."""
    print(plain(line, one_line=True), flush=True)


def complain(text: str) -> None:
    """Prints to standard error."""
    print(plain(text), file=sys.stderr, flush=True)


class _PlainConsole(Console):
    def render_str(self, text: str, **options: Any) -> Text:
        """Every string passes here, those in the cells and headings of tables included. Each is a single line."""
        return super().render_str(plain(text, one_line=True), **options)


class Command(click.Command):
    """A command line whose exit code does not depend on whether its output could be written.

    Output may fail at any time: the pipe to `head -1` closes, the disk fills up, the terminal is gone. What is printed
    from then on is dropped, the command continues, and exits as it would have: a sweep's results are in its store, and
    a command that only reads is soon done anyway. By default Python would end with a traceback and exit code 1, which
    has another meaning here. A line on standard error says that output was lost, unless its reader has gone.

    Characters that the output's encoding does not have are printed as their numbers.
    """

    def main(self, *arguments: Any, **options: Any) -> Any:
        """Runs the command, usage errors and `--help` included."""
        with _lasting_output():
            return super().main(*arguments, **options)

    def invoke(self, ctx: click.Context) -> Any:
        """Runs its function. Click itself would exit with 1 after Ctrl-C."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            complain("interrupted")
            sys.exit(_INTERRUPTED)


def counts_table(first: str, *headings: str) -> Table:
    """A table whose first column is text and whose others are numbers."""
    table = Table(box=None, pad_edge=False)
    table.add_column(first, overflow="fold")  # a name is shown in full
    for heading in headings:
        table.add_column(heading, justify="right")
    return table


@contextmanager
def _lasting_output() -> Iterator[None]:
    _occupy_closed_descriptors()
    before = sys.stdout, sys.stderr
    sys.stdout = _lasting(sys.stdout, sys.__stdout__, _report_loss)
    sys.stderr = _lasting(sys.stderr, sys.__stderr__, lambda _: None)
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        sys.stdout, sys.stderr = before


def _report_loss(error: OSError) -> None:
    if error.errno != errno.EPIPE:
        complain(f"warning: standard output cannot be written ({error.strerror}), so the rest of it is not shown")


def _occupy_closed_descriptors() -> None:
    """Opens those of the first three that are closed.

    Otherwise the next file to be opened, perhaps one of results, would receive what a library prints.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def _lasting(stream: TextIO | None, own: TextIO | None, report: Callable[[OSError], None]) -> TextIO:
    """The stream in a form that never fails to write; unchanged if it is not the process's own."""
    if stream is None:  # closed before the start, but libraries expect one
        return open(os.devnull, "w", errors="backslashreplace")
    if stream is not own or stream.closed:
        return stream
    raw = _Lasting(stream.fileno(), report)
    buffered = io.BufferedWriter(raw)
    return io.TextIOWrapper(buffered, stream.encoding, "backslashreplace", line_buffering=bool(stream.line_buffering))


class _Lasting(io.FileIO):
    """A file descriptor. What can no longer be written is dropped."""

    def __init__(self, descriptor: int, report: Callable[[OSError], None]) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self._report: Callable[[OSError], None] | None = report

    def write(self, content: Any) -> int:
        """Raises nothing; the first failure is reported."""
        while self._report is not None:
            try:
                written: int | None = super().write(content)
            except OSError as error:
                report, self._report = self._report, None
                if report is not None:  # or another thread was first
                    report(error)
                break
            if written is not None:
                return written
            select.select([], [self], [])  # somebody made it non-blocking, and it is full
        return len(content)
