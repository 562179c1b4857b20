"""Problems of a sweep file or a command line, collected so that a user sees all of them at once."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

Path = tuple[str | int, ...]
"""Keys and indices from the top of a file down to a value."""

SHOWN_PROBLEMS = 100
"""More than these are counted, not printed: they have one cause."""
MOST_PROBLEMS = 1000
"""The search for problems stops here, so that a file that is wrong everywhere is rejected quickly."""
LISTED_NAMES = 40
"""A message lists no more of the allowed names than this."""


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
        found = f"{count} problem{'s' if count > 1 else ''}{' or more' if count >= MOST_PROBLEMS else ''}"
        lines.append(f"{found}; nothing was started and nothing written.")
        return lines


class Problems:
    """Gathers problems, each once, and ends the check where there are too many."""

    def __init__(self) -> None:
        self._found: dict[Problem, None] = {}

    def __len__(self) -> int:
        return len(self._found)

    def add(self, problem: Problem) -> None:
        """Keeps a problem. Raises `SweepFileError` where it is one too many."""
        self._found[problem] = None
        if len(self._found) >= MOST_PROBLEMS:
            self.raise_any()

    def raise_any(self) -> None:
        """Raises `SweepFileError` with all problems, if there are any."""
        if self._found:
            raise SweepFileError(list(self._found))


def dotted(path: Path) -> str:
    """`("grids", "a", "slices", 2)` as `grids.a.slices[2]`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return printable(text)


def printable(text: str) -> str:
    """The text on one line, without characters that could change how a terminal shows it."""
    return text if text.isprintable() else "".join(each if each.isprintable() else _escaped(each) for each in text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()


def cut(text: str, length: int = 60) -> str:
    """The text, printable and cut to a length that a line can hold."""
    text = printable(text[: length + 1])
    return text if len(text) <= length else text[: length - 3] + "..."


def shown(value: object) -> str:
    """A value as a user wrote it, cut to a length that a line can hold."""
    if value is None or isinstance(value, bool):
        return {True: "true", False: "false", None: "null"}[value]
    return cut(f'"{value}"' if isinstance(value, str) else str(value))


def nearest(name: str, allowed: Iterable[str]) -> str | None:
    """The one of `allowed` that `name` is most likely a mistyped form of."""
    return next(iter(difflib.get_close_matches(name, sorted(allowed), n=1)), None)


def field_problem(path: Path, details: Any, fields: Iterable[str]) -> tuple[Path, str]:
    """Where and what, of one pydantic error about a mapping at `path` that may have these fields."""
    inside: Path = tuple(details["loc"])
    if details["type"] == "missing":
        return (*path, *inside[:-1]), f"{inside[-1]} is missing"
    if details["type"] == "extra_forbidden":
        return (*path, *inside), unknown(str(inside[-1]), fields)
    allowed = details["msg"].replace("Input should be", "allowed:")
    return (*path, *inside), f"found {shown(details['input'])}; {allowed}"


def unknown(name: str, allowed: Iterable[str]) -> str:
    """Says that `name` is none of `allowed`, with the nearest of them first."""
    names = sorted(allowed)
    return f"unknown key; {_hint(name, names)}allowed: {listed(names)}"


def not_among(value: object, allowed: Iterable[str]) -> str:
    """Says that `value` is none of `allowed`, in their order, with the nearest of them first."""
    names = list(allowed)
    hint = _hint(value, names) if isinstance(value, str) else ""
    return f"found {shown(value)}; {hint}allowed: {listed(names)}"


def _hint(name: str, names: Sequence[str]) -> str:
    near = nearest(name, names)
    return f"did you mean {printable(near)}? " if near else ""


def listed(names: Collection[str]) -> str:
    """The names with commas between them, the first ones where there are many."""
    text = printable(", ".join(islice(names, LISTED_NAMES)))
    return f"{text}, ..." if len(names) > LISTED_NAMES else text or "none"
