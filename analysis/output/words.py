"""Sentences that captions share."""

from __future__ import annotations

from collections.abc import Iterable

from ..data.selection import Selection
from ..data.summary import LEVEL

_MOST_HOLES = 8
"""Groups of cells that a footnote names; the JSON beside the figure names them all."""


def either(values: Iterable[str]) -> str:
    """`0.3`, `0.1 or 0.3`."""
    return " or ".join(values)


def sentences(*parts: str) -> str:
    """The parts that are not empty, one after the other."""
    return " ".join(part for part in parts if part)


def caveats(selection: Selection) -> str:
    """How seeds were added, and what is missing or was left out; empty where there is nothing to say."""
    return sentences(stopping(selection), holes(selection))


def stopping(selection: Selection) -> str:
    """How seeds were added, where that followed from what they measured."""
    stopped = sum(int(grid.was_stopped.sum()) for grid in selection.grids)
    if not stopped:
        return ""
    some = f" at {stopped:,} points" if stopped < sum(len(grid.table) for grid in selection.grids) else ""
    return (
        f"Seeds were added{some} until they decided; these intervals are wider, so that those of all looks at a point "
        f"hold together at {LEVEL:.0%}."
    )


def holes(selection: Selection) -> str:
    """What is missing, or was left out; empty where nothing is."""
    lines = list(selection.left_out)
    if found := selection.holes():
        rest = f"; and {len(found) - _MOST_HOLES} more groups of cells" if len(found) > _MOST_HOLES else ""
        count = f"{selection.hole_count()} of {selection.cell_count()} cells are missing or failed"
        lines.insert(0, f"INCOMPLETE, {count}: {'; '.join(found[:_MOST_HOLES])}{rest}")
    return " ".join(f"{capitalised(line)}." for line in lines)


def capitalised(text: str) -> str:
    """The text with a capital letter at its beginning, and the others as they are."""
    return f"{text[:1].upper()}{text[1:]}"
