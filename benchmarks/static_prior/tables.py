"""Printing: a table with the minimum, the median and the maximum of what was repeated."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

_CONSOLE = Console(highlight=False, soft_wrap=True, width=200)


def say(text: str) -> None:
    _CONSOLE.print(text, markup=False)


def spread(values: Sequence[float], form: str = ".2f") -> str:
    """`min / median / max`"""
    return " / ".join(f"{value:{form}}" for value in (min(values), statistics.median(values), max(values)))


def show(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints a table whose first column is text and whose others are numbers."""
    table = Table(box=None, pad_edge=False)
    for place, heading in enumerate(headings):
        table.add_column(heading, justify="right" if place else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    _CONSOLE.print(table)
