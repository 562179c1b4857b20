"""Names and sentences that the items of a search share."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from textwrap import wrap
from typing import Any

import pandas as pd

from dvq_ray.sweep.space import Choices

from ...naming import number
from ...output.messages import Point
from ...output.words import capitalised, holes, sentences
from ._selection import STATES, SearchSelection

_SAMPLERS: Mapping[str, str] = {
    "tpe": "TPE (tree-structured Parzen estimator)",
    "gp": "a Gaussian process",
    "cmaes": "CMA-ES",
    "random": "random sampling",
    "nsga2": "NSGA-II",
    "nsga3": "NSGA-III",
}
_LINE_LETTERS = 36
CURSE = (
    "The best of many means is likely to owe its place to luck too: its mean is biased towards the better (the "
    "winner's curse). Repetitions that a search adds to its best points counter that in part; new seeds would "
    "counter it in full."
)


def spoken(field: str) -> str:
    """`codebook size`."""
    return field.replace("_", " ")


def settings(selection: SearchSelection, point: Point) -> str:
    """`slices 2, codebook size 256`: the searched fields that the point has."""
    pairs = [(field, point[field]) for field in selection.fields if field in point and not pd.isna(point[field])]
    return ", ".join(f"{spoken(field)} {value_text(value)}" for field, value in pairs)


def better(selection: SearchSelection, name: str) -> str:
    """`lower is better`."""
    return f"{'lower' if selection.search.signs[name] > 0 else 'higher'} is better"


def named(selection: SearchSelection, table: pd.DataFrame) -> pd.DataFrame:
    """A table of suggestions or points with a column `name`: `suggestion 3: slices 4, codebook size 16`."""
    rows = table.to_dict("records")
    names = [f"suggestion {number(int(row['suggestion']))}: {settings(selection, row)}" for row in rows]
    return table.assign(name=names)


def goals(selection: SearchSelection) -> str:
    """The objectives with their directions."""
    return ", and for ".join(
        f"{selection.title(name)}, where {better(selection, name)}" for name in selection.search.objectives
    )


def y_label(selection: SearchSelection, name: str) -> str:
    """A metric, its unit and its direction in lines that are no longer than a panel is high."""
    kept_together = better(selection, name).replace(" ", "\N{NO-BREAK SPACE}")
    return "\n".join(wrap(f"{selection.title(name)}, {kept_together}", _LINE_LETTERS))


def note(
    selection: SearchSelection,
    *subjects: str,
    intervals: str = "bars: 95% t-intervals (hidden where smaller than a mark)",
) -> str:
    """The footnote: what is shown, the search and how far it is, repetitions, meaning of fields, and what is fixed."""
    search = selection.search
    counts = ", ".join(f"{selection.count(state)} {state}" for state in STATES if selection.count(state))
    some = "" if selection.count("complete") == len(selection.suggestions) else "; only complete ones have a value"
    return sentences(
        *subjects,
        f"Suggestions by {_samplers(selection)}: {counts}, of {search.suggestions} wanted{some}.",
        f"Means of {repetitions(selection)}{_intervals(selection, intervals)}.",
        *_meanings(selection),
        _fixed(selection),
        holes(selection),
    )


def _samplers(selection: SearchSelection) -> str:
    """Who drew the suggestions; those of stores that do not say so were drawn by the sampler of the sweep file."""
    drawn = Counter(each.sampler for each in selection.suggestions if each.sampler)
    if len(drawn) < 2:
        name = next(iter(drawn), selection.search.sampler)
        return _SAMPLERS.get(name, name)
    return ", ".join(f"{_SAMPLERS.get(name, name)} ({count})" for name, count in drawn.items())


def repetitions(selection: SearchSelection) -> str:
    """`n = 3 Monte-Carlo repetitions`, and up to how many of points that were suggested again."""
    counts = {len(seeds) for seeds in selection.seeds.values()}
    least, most = min(counts), max(counts)
    again = f" (up to {most} of points that were suggested again)" if most > least else ""
    return f"n = {least} Monte-Carlo repetition{'s' if least > 1 else ''}{again}"


def _intervals(selection: SearchSelection, intervals: str) -> str:
    several = any(len(seeds) > 1 for seeds in selection.seeds.values())
    return f", {intervals}" if several else "; one value has no interval"


def _meanings(selection: SearchSelection) -> list[str]:
    """What the fields are: the first part of what their declarations say."""
    known = {}
    for name in selection.declared.quantizers:
        for field, info in selection.search.experiment.variant(name).model_fields.items():
            if field in selection.fields and info.description:
                first = re.split(r"[:.;](?:\s|$)", info.description)[0]
                known[field] = f"{spoken(field)}: {first[0].lower()}{first[1:]}"
    return [f"{capitalised('; '.join(known[field] for field in selection.fields if field in known))}."] if known else []


def _fixed(selection: SearchSelection) -> str:
    search = selection.search
    fixed = [f"{spoken(field)} {value_text(value)}" for field, value in search.fixed.items()]
    text = f"Fixed: {', '.join(fixed)}." if fixed else ""
    if search.max_bits is not None:
        text += f" No code takes more than {number(search.max_bits)} bits."
    return text.strip()


def value_text(value: object) -> str:
    """A value of a field, as people write it."""
    return number(value) if isinstance(value, int | float | str) else str(value)


def in_order(axis: Choices) -> list[Any]:
    """The choices as they stand beside each other: numbers sorted, others as the sweep file has them."""
    are_numbers = all(isinstance(value, int | float) for value in axis.choices)
    return sorted(axis.choices) if are_numbers else [*axis.choices]
