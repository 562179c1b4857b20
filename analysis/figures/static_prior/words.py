"""Sentences that the captions of the static prior share."""

from __future__ import annotations

from ...data.selection import Selection, distinct_text
from ...draw.panels import MANY_POINTS
from ...naming import listed, number
from ...output.words import either, holes

VARIANCE = "Dotted: predicting the mean of the data, whose error is the variance."
_BARS = "bars: 95% t-intervals (hidden where smaller than a marker)"
_BANDS = "bars, and bands where points are many: 95% t-intervals"


def note(selection: Selection, subject: str, *, intervals: str = "") -> str:
    """The footnote of a figure: its subject, repetitions, training and, where there are any, holes.

    `intervals` says how an item shows these, where it is not as figures do.
    """
    dense = any(len(values) > MANY_POINTS for grid in selection.grids for values in grid.axes.values())
    intervals = intervals or (_BANDS if dense else _BARS)
    parts = (subject, _repetitions(selection, intervals), training(selection), holes(selection))
    return " ".join(part for part in parts if part)


def uniform(bound: float) -> str:
    """Where initial codes lie."""
    return f"initial codes uniform in ±{number(bound)}"


def _repetitions(selection: Selection, intervals: str) -> str:
    """How many repetitions there are, as a whole or, where seeds go by it alone, by the number of factors."""
    counts = sorted({len(seeds) for seeds in selection.seeds.values()})
    if len(counts) == 1 or selection.needs.seeds_by != ("factors",):
        return f"Means of n = {listed(counts)} Monte-Carlo repetitions, {intervals}."
    by_n: dict[int, list[int]] = {}
    for (factors,), seeds in selection.seeds.items():
        by_n.setdefault(len(seeds), []).append(factors)
    parts = [f"n = {n} at F = {listed(factors)}" for n, factors in sorted(by_n.items(), reverse=True)]
    return f"Means of n Monte-Carlo repetitions ({'; '.join(parts)}), {intervals}."


def training(selection: Selection) -> str:
    """How the gradient quantizers were trained; each setting that is not the same throughout with all its values."""
    rows = selection.rows[selection.rows["quantizer"].isin(["vq", "dvq"])]
    columns = ("learning_rate", "schedule", "steps", "batch_size")
    rate, schedule, steps, batch = (distinct_text(rows, column) for column in columns)
    text = f"Adam, {either(steps)} steps, batches of {either(batch)}, "
    text += f"learning rate {either(rate)} ({either(schedule)})."
    if any(len(values) > 1 for values in (rate, schedule, steps, batch)):
        text += " Settings with several values differ between points, never within one."
    return text
