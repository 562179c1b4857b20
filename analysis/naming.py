"""Naming many cells in few words: values, runs of seeds, and boxes of a grid."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Box = tuple[tuple[Any, ...], ...]
"""Values along each axis; it stands for all their combinations."""


def number(value: Any) -> str:
    """A setting as people write it: 16384 and not 1.6384e+04, 10 and not 10.0, 0.05."""
    if isinstance(value, str):
        return value
    return str(int(value)) if float(value).is_integer() else f"{float(value):.12g}"


def unbroken(text: str) -> str:
    """The text with no end of a line inside `D = 64`."""
    return text.replace(" = ", "\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}")


def plus_minus(mean: float, half: float, places: int) -> str:
    """`26.43 ± 0.05` with so many places; significant digits of what would be zero with these."""
    if mean and abs(mean) < 10.0**-places:
        return f"{mean:.3g} ± {half:.1g}"
    rounded = [f"{half:.{places + more}f}" for more in range(3)]
    shown = next((text for text in rounded if float(text)), f"{half:.1g}") if half else rounded[0]
    return f"{mean:.{places}f} ± {shown}"


def listed(values: Iterable[Any]) -> str:
    """`16, 64, 256`."""
    return ", ".join(number(value) for value in values)


def seeds_text(seeds: Sequence[int]) -> str:
    """`seed 3`, `seeds 3, 4` or `seeds 0-9, 12`."""
    runs: list[list[int]] = []
    for seed in sorted(seeds):
        if runs and seed == runs[-1][-1] + 1:
            runs[-1].append(seed)
        else:
            runs.append([seed])
    parts = [f"{run[0]}-{run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs]
    return f"{'seed' if len(seeds) == 1 else 'seeds'} {', '.join(parts)}"


def boxes(cells: Iterable[tuple[Any, ...]]) -> list[Box]:
    """Boxes that cover the given cells and no other; merged along the last axis first."""
    covering: list[Box] = sorted({tuple((value,) for value in cell) for cell in cells})
    for axis in reversed(range(len(covering[0]) if covering else 0)):
        merged: dict[Box, tuple[Any, ...]] = {}
        for box in covering:
            rest = box[:axis] + box[axis + 1 :]
            merged[rest] = tuple(sorted((*merged.get(rest, ()), *box[axis])))
        covering = sorted((*rest[:axis], values, *rest[axis:]) for rest, values in merged.items())
    return covering


def box_text(name: str, axes: Mapping[str, Sequence[Any]], box: Sequence[Sequence[Any]]) -> str:
    """`vq every dimension codebook_size=16`; axes with a single value are common to all cells and left out."""
    words = [name]
    for (axis, all_values), values in zip(axes.items(), box, strict=True):
        if len(all_values) > 1:
            whole = len(values) == len(all_values)
            words.append(f"every {axis}" if whole else f"{axis}={listed(values)}")
    return " ".join(words)
