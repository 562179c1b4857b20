"""Sentences that the captions of the static prior share."""

from __future__ import annotations

from collections.abc import Sequence

from analysis.naming import listed, number
from analysis.selection import Selection, distinct_text

VARIANCE = "Dotted: predicting the mean of the data, whose error is the variance."
_MOST_HOLES = 8
"""Groups of cells that a footnote names; the file beside the figure names them all."""
_BARS = "bars: 95% t-intervals (hidden where smaller than a marker)"


def note(selection: Selection, subject: str) -> str:
    """The footnote of a figure: its subject, repetitions, training and, where there are any, holes."""
    parts = (subject, _repetitions(selection), _training(selection), _holes(selection))
    return " ".join(part for part in parts if part)


def uniform(bound: float) -> str:
    """Where initial codes lie."""
    return f"initial codes uniform in ±{number(bound)}"


def _repetitions(selection: Selection) -> str:
    """How many repetitions there are, as a whole or by the number of factors."""
    by_n: dict[int, list[int]] = {}
    for factors, seeds in selection.seeds.items():
        by_n.setdefault(len(seeds), []).append(factors)
    if len(by_n) == 1:
        return f"Means of n = {next(iter(by_n))} Monte-Carlo repetitions, {_BARS}."
    parts = [f"n = {n} at F = {listed(factors)}" for n, factors in sorted(by_n.items(), reverse=True)]
    return f"Means of n Monte-Carlo repetitions ({'; '.join(parts)}), {_BARS}."


def _training(selection: Selection) -> str:
    """How the gradient quantizers were trained; each setting that is not the same throughout with all its values."""
    rows = selection.rows[selection.rows["quantizer"].isin(["vq", "dvq"])]
    columns = ("learning_rate", "schedule", "steps", "batch_size")
    rate, schedule, steps, batch = (distinct_text(rows, column) for column in columns)
    text = f"Adam, {_either(steps)} steps, batches of {_either(batch)}, "
    text += f"learning rate {_either(rate)} ({_either(schedule)})."
    if any(len(values) > 1 for values in (rate, schedule, steps, batch)):
        text += " Settings with several values differ between points, never within one."
    return text


def _either(values: Sequence[str]) -> str:
    """`0.3`, `0.1 or 0.3`."""
    return " or ".join(values)


def _holes(selection: Selection) -> str:
    """What is lacking, or was left out; empty where nothing is."""
    lines = list(selection.left_out)
    if found := selection.holes():
        rest = f"; and {len(found) - _MOST_HOLES} more groups of cells" if len(found) > _MOST_HOLES else ""
        count = f"{selection.hole_count()} of {selection.cell_count()} cells are missing or failed"
        lines.insert(0, f"INCOMPLETE, {count}: {'; '.join(found[:_MOST_HOLES])}{rest}")
    return " ".join(f"{line[0].upper()}{line[1:]}." for line in lines)
