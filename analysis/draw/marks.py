"""What a reader sees on pointing at a mark of a figure: whose it is, where, its mean and its interval."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..naming import number
from ..output.marks import Marks
from .style import GREY, Look

MOST = 4000
"""Marks of a figure that are described. Of more, none is: they lie on each other, and the page would grow."""
_UNIT = re.compile(r"\s*\([^)]*\)")


@dataclass(frozen=True, kw_only=True)
class _Described:
    table: pd.DataFrame
    places: npt.NDArray[np.float64]
    """In the axes' own units, `[rows, 2]`."""
    look: Look | None = None
    """That of the marks' model."""
    names: Sequence[str] | None = None
    """What each mark is called. With neither, the row that it is in says whose it is."""


_DESCRIBED: WeakKeyDictionary[Axes, list[_Described]] = WeakKeyDictionary()
_LOOKS: WeakKeyDictionary[Artist, Look] = WeakKeyDictionary()
_MARKS: WeakKeyDictionary[Figure, Marks] = WeakKeyDictionary()


def describe(axes: Axes, at: Iterable[float], table: pd.DataFrame, look: Look) -> None:
    """Takes note of means along an axis, from a table that `SelectedGrid.means` gave."""
    _note(axes, _Described(look=look, places=_pairs(at, table["mean"]), table=table))


def describe_each(
    axes: Axes, at: Iterable[float], table: pd.DataFrame, names: Sequence[str], *, height: Iterable[float] | None = None
) -> None:
    """Takes note of means that have a name each, at these heights where that is not what they are."""
    _note(axes, _Described(names=names, places=_pairs(at, table["mean"] if height is None else height), table=table))


def stands_for(entry: Artist, look: Look) -> None:
    """Takes note of the look that an entry of a legend names."""
    _LOOKS[entry] = look


def named(legend: Iterable[Artist]) -> dict[Look, Artist]:
    """The entries of a legend that name models, by their looks."""
    return {_LOOKS[entry]: entry for entry in legend if entry in _LOOKS}


def describe_row(axes: Axes, row: float, table: pd.DataFrame) -> None:
    """Takes note of means in a row whose name is to its left."""
    _note(axes, _Described(places=_pairs(table["mean"], [row] * len(table)), table=table))


def _note(axes: Axes, described: _Described) -> None:
    _DESCRIBED.setdefault(axes, []).append(described)


def _pairs(x: Iterable[float], y: Iterable[float]) -> npt.NDArray[np.float64]:
    return np.column_stack([np.asarray([*x], float), np.asarray([*y], float)])


def place(figure: Figure, legend: Iterable[Artist]) -> None:
    """Finds where all marks are, once everything has its place. Models are called what the legend calls them."""
    if sum(len(each.table) for axes in figure.axes for each in _DESCRIBED.get(axes, ())) > MOST:
        return
    called = {look: str(entry.get_label()) for look, entry in named(legend).items()}
    names: dict[str, int] = {}
    points: list[Sequence[Any]] = []
    for axes in figure.axes:
        for described in _DESCRIBED.get(axes, ()):
            points += _placed(figure, axes, described, called, names)
    _MARKS[figure] = Marks(names=list(names), points=points)


def marks_of(figure: Figure) -> Marks:
    """The marks of a figure; none of one that is no sheet."""
    return _MARKS.get(figure, Marks())


def _placed(
    figure: Figure, axes: Axes, described: _Described, called: Mapping[Look, str], names: dict[str, int]
) -> Iterable[Sequence[Any]]:
    mean, low, high, n = (described.table[name].to_numpy(float) for name in ("mean", "low", "high", "n"))
    x, y = figure.transFigure.inverted().transform(axes.transData.transform(described.places)).T
    ticks = axes.xaxis if described.look is not None else axes.yaxis
    texts = _texts(ticks.get_ticklocs(), [label.get_text() for label in ticks.get_ticklabels()])
    axis = _UNIT.sub("", _x_label(figure, axes).replace("\n", " ")) if described.look is not None else ""
    panel = axes.get_title().replace("\n", " ")
    about = " · ".join(filter(None, (panel, axis)))
    for i in np.flatnonzero(np.isfinite(mean) & np.isfinite(x) & np.isfinite(y) & (n > 0)).tolist():
        if not (0 <= x[i] <= 1 and 0 <= y[i] <= 1):
            continue
        along, row = described.places[i].tolist()
        if described.look is not None:
            who, where = _name(described.look, called), texts.get(along, "") or number(float(f"{along:.6g}"))
        else:
            who, where = texts.get(float(round(row)), "") if described.names is None else described.names[i], ""
        yield [
            round(1000 * float(x[i]), 1), round(1000 * float(1 - y[i]), 1), names.setdefault(who, len(names)),
            names.setdefault(about, len(names)), where, *(_short(value[i]) for value in (mean, low, high)), int(n[i]),
        ]  # fmt: skip


def _x_label(figure: Figure, axes: Axes) -> str:
    """The label of x, which only the lowest panel of a column has."""
    column = round(axes.get_position().x0, 4)
    beneath = (each.get_xlabel() for each in figure.axes if round(each.get_position().x0, 4) == column)
    return axes.get_xlabel() or next(filter(None, beneath), "")


def _short(value: float) -> float | None:
    return float(f"{value:.4g}") if np.isfinite(value) else None


def _texts(ticks: Iterable[float], labels: Iterable[str]) -> dict[float, str]:
    return {float(tick): label for tick, label in zip(ticks, labels, strict=False) if label}


def _name(look: Look, called: Mapping[Look, str]) -> str:
    """What the legend calls a model: by its look, or else by its line and its colour."""
    if look in called:
        return called[look]
    stroke = (GREY, look.line, look.width)
    colours = [label for entry, label in called.items() if entry.colour == look.colour]
    lines = [label for entry, label in called.items() if (entry.colour, entry.line, entry.width) == stroke]
    return ", ".join([*lines[:1], *colours[:1]]) if colours else ""
