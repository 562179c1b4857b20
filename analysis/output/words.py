"""Sentences that captions share."""

from __future__ import annotations

from collections.abc import Sequence

from ..data.selection import Selection

_MOST_HOLES = 8
"""Groups of cells that a footnote names; the file beside the figure names them all."""


def either(values: Sequence[str]) -> str:
    """`0.3`, `0.1 or 0.3`."""
    return " or ".join(values)


def holes(selection: Selection) -> str:
    """What is lacking, or was left out; empty where nothing is."""
    lines = list(selection.left_out)
    if found := selection.holes():
        rest = f"; and {len(found) - _MOST_HOLES} more groups of cells" if len(found) > _MOST_HOLES else ""
        count = f"{selection.hole_count()} of {selection.cell_count()} cells are missing or failed"
        lines.insert(0, f"INCOMPLETE, {count}: {'; '.join(found[:_MOST_HOLES])}{rest}")
    return " ".join(f"{line[0].upper()}{line[1:]}." for line in lines)
