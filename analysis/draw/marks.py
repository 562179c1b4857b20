"""What a reader sees on pointing at a mark of a figure: whose it is, where, its mean and its interval."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
from ..output.product import Marks
from .style import GREY, Look

MOST = 4000
"""Marks of a figure that are described. Of more, none is: they lie on each other, and the page would grow."""
_UNIT = re.compile(r"\s*\([^)]*\)")


@dataclass(frozen=True, kw_only=True)
class _Described:
    table: pd.DataFrame
    places: npt.NDArray[np.float64]
    """In the axes' own units, `[rows, 2]`."""
    look: Look | None


_DESCRIBED: WeakKeyDictionary[Axes, list[_Described]] = WeakKeyDictionary()
_LOOKS: WeakKeyDictionary[Artist, Look] = WeakKeyDictionary()


def describe(
    axes: Axes, x: Iterable[float], y: Iterable[float], table: pd.DataFrame, *, look: Look | None = None
) -> None:
    """Takes note of where the means are that a table has, as `SelectedGrid.means` gives it.

    They are those of the model with that look, or each has its own name in the column `name`. With neither, the row
    that they are in says whose they are.
    """
    places = np.column_stack([np.asarray([*x], float), np.asarray([*y], float)])
    _DESCRIBED.setdefault(axes, []).append(_Described(table=table, places=places, look=look))


def stands_for(entry: Artist, look: Look) -> None:
    """Takes note of the look that an entry of a legend names."""
    _LOOKS[entry] = look


def named(legend: Iterable[Artist]) -> dict[Look, Artist]:
    """The entries of a legend that name models, by their looks."""
    return {_LOOKS[entry]: entry for entry in legend if entry in _LOOKS}


def placed(figure: Figure, legend: Iterable[Artist]) -> Marks:
    """All marks, once everything has its place. Models are called what the legend calls them."""
    if sum(len(each.table) for axes in figure.axes for each in _DESCRIBED.get(axes, ())) > MOST:
        return Marks()
    called = {look: str(entry.get_label()) for look, entry in named(legend).items()}
    names: dict[str, int] = {}
    points: list[Sequence[Any]] = []
    for axes in figure.axes:
        for described in _DESCRIBED.get(axes, ()):
            points += _placed(figure, axes, described, called, names)
    return Marks(names=list(names), points=points)


def _placed(
    figure: Figure, axes: Axes, described: _Described, called: Mapping[Look, str], names: dict[str, int]
) -> Iterator[Sequence[Any]]:
    mean, low, high, n = (described.table[name].to_numpy(float) for name in ("mean", "low", "high", "n"))
    x, y = figure.transFigure.inverted().transform(axes.transData.transform(described.places)).T
    ticks = axes.xaxis if described.look is not None else axes.yaxis
    texts = _texts(ticks.get_ticklocs(), [label.get_text() for label in ticks.get_ticklabels()])
    axis = _UNIT.sub("", _x_label(figure, axes).replace("\n", " ")) if described.look is not None else ""
    panel = axes.get_title().replace("\n", " ")
    about, is_named = " · ".join(filter(None, (panel, axis))), "name" in described.table
    for i in np.flatnonzero(np.isfinite(mean) & np.isfinite(x) & np.isfinite(y) & (n > 0)).tolist():
        if not (0 <= x[i] <= 1 and 0 <= y[i] <= 1):
            continue
        along, row = described.places[i].tolist()
        if described.look is not None:
            who, where = _name(described.look, called), texts.get(along, "") or number(float(f"{along:.6g}"))
        else:
            who, where = described.table["name"].iloc[i] if is_named else texts.get(float(round(row)), ""), ""
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
    """Labels in one line each."""
    return {float(tick): " ".join(label.split()) for tick, label in zip(ticks, labels, strict=False) if label}


def _name(look: Look, called: Mapping[Look, str]) -> str:
    """What the legend calls a model: by its look, or else by its line and its colour."""
    if look in called:
        return called[look]
    stroke = (GREY, look.line, look.width)
    colours = [label for entry, label in called.items() if entry.colour == look.colour]
    lines = [label for entry, label in called.items() if (entry.colour, entry.line, entry.width) == stroke]
    return ", ".join([*lines[:1], *colours[:1]]) if colours else ""
