"""What a figure shows, in a sentence: counted over its points, and decided by their intervals.

Two means are told apart where their 95% intervals do not overlap, as a reader sees in the figure. That is a stricter
test than that of their difference. A mean without an interval is told from none, and a hole does not count.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ..naming import number
from .words import capitalised

_MOST_PARTS = 3
Point = Mapping[Any, Any] | pd.Series
"""A row of `SelectedGrid.means`, by column."""


def said(*parts: str) -> str:
    """The parts as one sentence. Of many the first are said, and how many more there are."""
    found = [part for part in parts if part]
    rest = [f"and {len(found) - _MOST_PARTS} more"] if len(found) > _MOST_PARTS else []
    return f"{capitalised('; '.join([*found[:_MOST_PARTS], *rest]))}."


def short(value: float) -> str:
    """Three significant digits: `26.4`, `0.0493`, `4.80`."""
    text = f"{value:#.3g}"
    return number(float(text)) if "e" in text else text.rstrip(".")


def called(label: str) -> str:
    """A label inside a sentence: `DVQ (D = 64, L = 4)`."""
    name, _, settings = label.partition(", ")
    return f"{name} ({settings})" if settings else name


@dataclass(frozen=True, kw_only=True)
class Tally:
    """At how many points one is below another, above it, and compared with it at all."""

    lower: int
    higher: int
    of: int


def tally(ours: pd.DataFrame, theirs: pd.DataFrame | pd.Series[float] | float) -> Tally:
    """Compares means row by row, with others or with a number that has no interval."""
    low, high, held = _ends(ours)
    their_low, their_high, their_held = _ends(theirs)
    return Tally(
        lower=int((high < their_low).sum()), higher=int((low > their_high).sum()), of=int((held & their_held).sum())
    )


def _ends(means: pd.DataFrame | pd.Series[float] | float) -> tuple[Any, Any, Any]:
    if isinstance(means, pd.DataFrame):
        return means["low"].to_numpy(float), means["high"].to_numpy(float), means["n"].to_numpy() > 0
    values = np.asarray(means, float)
    return values, values, np.isfinite(values)


def duel(ours: str, theirs: str, counts: Tally, what: str) -> str:
    """`DVQ has a lower loss than VQ at 60 of 62 points, a higher one at 1`."""
    if not counts.of:
        return f"no point has both {ours} and {theirs}"
    of = f"{counts.of} points" if counts.of > 1 else "1 point"
    (most, winner), (least, loser) = sorted([(counts.lower, ours), (counts.higher, theirs)], key=lambda side: -side[0])
    if not most:
        return f"{ours} and {theirs} cannot be told apart at any of {of}"
    rest = f", a higher one at {least}" if least else ""
    return f"{winner} has a lower {what} than {loser} at {most} of {of}{rest}"


def crossing(ours: tuple[str, pd.DataFrame], theirs: tuple[str, pd.DataFrame], over: str, axis: str, what: str) -> str:
    """Up to where one is lower and from where on the other, if they cross once; else how often each is.

    The tables have a row for each value of the column `over`, which the sentence calls `axis`.
    """
    (name, table), (other, their_table) = ours, theirs
    both = table.merge(their_table, on=over, suffixes=("", "_of_others")).sort_values(over)
    others = both[["n_of_others", "low_of_others", "high_of_others"]].set_axis(["n", "low", "high"], axis=1)
    lower, higher = both["high"] < others["low"], both["low"] > others["high"]
    leads = pd.Series(np.select([lower, higher], [name, other], ""), both[over])
    leads = leads[leads != ""]
    turns = np.flatnonzero(leads.to_numpy()[1:] != leads.to_numpy()[:-1])
    if len(turns) != 1:
        return duel(name, other, tally(both, others), what)
    last, first = (number(leads.index[turns[0] + step]) for step in (0, 1))
    winner, loser = leads.iloc[0], leads.iloc[-1]
    return f"{winner} has a lower {what} than {loser} up to {axis} = {last}, a higher one from {axis} = {first} on"


def best(found: Iterable[tuple[str, Point]], what: str, unit: str = "", *, higher: bool = False) -> str:
    """Who has the lowest mean, or the highest, and whether the next can be told from it."""
    held = _ranked(found, higher)
    if not held:
        return f"there is no {what}"
    (first, top), *others = held
    value, *next_values = (f"{short(float(point['mean']))} {unit}".strip() for _, point in held)
    most = "highest" if higher else "lowest"
    if not others:
        return f"{first} has a {what} of {value}, and there is no other to compare it with"
    alike = [name for name, point in others if is_alike(top, point)]
    if not alike:
        return f"{first} has the {most} {what}, {value}; next is {others[0][0]}, {next_values[0]}"
    if len(alike) == 1:
        return f"{first} and {alike[0]} have the {most} {what}, about {value}, and cannot be told apart"
    return f"{first} has the {most} {what}, {value}, but cannot be told from {len(alike)} of {len(others)} others"


def best_of_each(sets: Sequence[Sequence[tuple[str, Point]]], what: str, where: str, *, higher: bool = False) -> str:
    """At how many of several sets who has the lowest mean, or the highest, the next being told from it."""
    leaders = Counter(_leader(_ranked(found, higher)) for found in sets)
    undecided, most = leaders.pop("", 0), "highest" if higher else "lowest"
    parts = [f"{name} has the {most} {what} at {count} of {len(sets)} {where}" for name, count in leaders.most_common()]
    return "; ".join([*parts, *([f"undecided at {undecided} of {len(sets)} {where}"] if undecided else [])])


def _ranked(found: Iterable[tuple[str, Point]], higher: bool) -> list[tuple[str, Point]]:
    held = [(called(name), point) for name, point in found if point["n"]]
    return sorted(held, key=lambda pair: (-1 if higher else 1) * float(pair[1]["mean"]))


def _leader(held: Sequence[tuple[str, Point]]) -> str:
    """Who comes first, if there are others and all can be told from it; else nobody."""
    alike = [other for _, other in held[1:] if is_alike(held[0][1], other)]
    return held[0][0] if len(held) > 1 and not alike else ""


def is_alike(one: Point, other: Point) -> bool:
    """Whether two means cannot be told apart."""
    return not (one["high"] < other["low"] or one["low"] > other["high"])


def trend(what: str, along: str, lines: Iterable[pd.DataFrame]) -> str:
    """`The test loss rises with the dimension in 15 of 16 lines by a factor of 14 to 690, undecided in 1`.

    Each line is a table in the order of its axis; its first mean is compared with its last.
    """
    ends = [line[line["n"] > 0].iloc[[0, -1]].to_dict("records") for line in lines if (line["n"] > 0).sum() > 1]
    if not ends:
        return f"{what} has no two points along {along}"
    rises = [(first, last) for first, last in ends if last["low"] > first["high"]]
    falls = [(first, last) for first, last in ends if last["high"] < first["low"]]
    (verb, most), (other_verb, least) = sorted([("rises", rises), ("falls", falls)], key=lambda side: -len(side[1]))
    if not most:
        return f"no change of {what} with {along} can be told from chance in any of {len(ends)} lines"
    undecided = len(ends) - len(rises) - len(falls)
    rest = [(len(least), other_verb), (undecided, "is undecided")]
    where = "" if len(ends) == 1 else f" in {len(most)} of {len(ends)} lines"
    return f"{what} {verb} with {along}{where}{_factor(most)}" + "".join(
        f", {word} in {count}" for count, word in rest if count
    )


def _factor(ends: Sequence[tuple[Point, Point]]) -> str:
    if any(point["mean"] <= 0 for pair in ends for point in pair):
        return ""
    ratios = [max(first["mean"], last["mean"]) / min(first["mean"], last["mean"]) for first, last in ends]
    texts = dict.fromkeys(short(ratio) for ratio in (min(ratios), max(ratios)))
    return f" by a factor of {' to '.join(texts)}"
