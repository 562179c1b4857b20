"""Problems of a sweep file or a command line, collected so that a user sees all of them at once."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

Path = tuple[str | int, ...]
"""Keys and indices from the top of a file down to a value."""

SHOWN_PROBLEMS = 100
"""More than these are counted, not printed: they have one cause."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, where it is, and what would be right."""

    where: str
    """`file:line`, or the command-line option."""
    key: str
    """Dotted path of the key; empty for the file as a whole."""
    message: str
    """What was found and what is allowed."""

    def line(self) -> int:
        """Line of the file, or 0."""
        number = self.where.rpartition(":")[2]
        return int(number) if number.isdecimal() else 0

    def __str__(self) -> str:
        return ": ".join(part for part in (self.where, self.key, self.message) if part)


class SweepFileError(ValueError):
    """A sweep that cannot be run as it is written. Raised before anything is started or written."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda problem: problem.line()))
        super().__init__("\n".join(self.lines()))

    def lines(self) -> list[str]:
        """One line for each problem, and a last one that says that nothing happened."""
        lines = [str(problem) for problem in self.problems[:SHOWN_PROBLEMS]]
        if len(self.problems) > SHOWN_PROBLEMS:
            lines.append(f"... and {len(self.problems) - SHOWN_PROBLEMS} more")
        count = len(self.problems)
        lines.append(f"{count} problem{'s' if count > 1 else ''}; nothing was started and nothing written.")
        return lines


def dotted(path: Path) -> str:
    """`("grids", "a", "slices", 2)` as `grids.a.slices[2]`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def shown(value: object) -> str:
    """A value as a user wrote it, cut to a length that a line can hold."""
    if value is None or isinstance(value, bool):
        return {True: "true", False: "false", None: "null"}[value]
    text = f'"{value}"' if isinstance(value, str) else str(value)
    text = text.encode("unicode_escape").decode() if not text.isprintable() else text
    return text if len(text) <= 60 else text[:57] + "..."


def unknown(name: str, allowed: Iterable[str]) -> str:
    """Says that `name` is none of `allowed`, with the nearest of them first."""
    names = sorted(allowed)
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    return f"unknown key; {hint}allowed: {', '.join(names)}"
