"""The models of an item, as a figure lists them: for each data set those that were run on it, with names and looks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.lines import Line2D

from ...data.selection import Metric, SelectedGrid, Selection
from ...draw.panels import handle
from ...draw.style import Look
from ...output.numbers import long_form, metric_of
from ...output.products import UnfitError
from .models import DataSet, Model, data_sets_of, model_of, varying_in

_MARKERS = "so^vD<>ph*"
"""Of models whose own marker is taken by another of their colour."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Entry:
    """A model at a data set."""

    selection: Selection
    images: DataSet
    grid: SelectedGrid
    model: Model
    label: str
    look: Look
    """Without a line: a model is one dot here. No two models of an item share colour and marker."""

    def point(self, metric: Metric) -> pd.DataFrame:
        """Its row of `Selection.points`."""
        points = self.grid.means(metric)
        here = (points["dataset"] == self.images.dataset) & (points["image_size"] == self.images.image_size)
        return points[here]

    def mean(self, metric: Metric) -> float:
        """NaN where it has too few repetitions."""
        return float(self.point(metric)["mean"].iloc[0])

    @property
    def lack(self) -> str:
        """`n = 2 of 3`; empty where no repetition is missing."""
        n, wanted = self.point(self.selection.needs.metrics[0])[["n", "wanted"]].iloc[0]
        return f"n = {int(n)} of {int(wanted)}" if n < wanted else ""

    @property
    def name(self) -> str:
        """The label, with what is lacking."""
        return ", ".join(filter(None, (self.label, self.lack)))


def entries_of(selection: Selection) -> dict[DataSet, list[Entry]]:
    """By data set, in the order in which models are listed."""
    models = [model_of(grid) for grid in selection.grids]
    varying, looks = varying_in(models), _dots(models)
    found: dict[DataSet, list[Entry]] = {images: [] for images in data_sets_of(selection.grids)}
    for grid, model, look in zip(selection.grids, models, looks, strict=True):
        for images in data_sets_of([grid]):
            label = model.label(varying)
            entry = Entry(selection=selection, images=images, grid=grid, model=model, label=label, look=look)
            found[images].append(entry)
    return found


def legend_of(entries: dict[DataSet, list[Entry]]) -> list[Line2D]:
    """A dot for each model, with what it lacks."""
    lacks: dict[tuple[str, Look], list[str]] = {}
    for entry in (entry for here in entries.values() for entry in here):
        lacking = lacks.setdefault((entry.label, entry.look), [])
        if entry.lack and entry.lack not in lacking:
            lacking.append(entry.lack)
    return [handle(look, ", ".join([label, *lacking])) for (label, look), lacking in lacks.items()]


def numbers_of(selection: Selection, metrics: Callable[[Model], Mapping[str, Metric]]) -> pd.DataFrame:
    """The numbers of each model, in long form."""
    tables = (
        metric_of(grid, name, grid.means(metric))
        for grid in selection.grids
        for name, metric in metrics(model_of(grid)).items()
    )
    return long_form(tables, labelled=True)


def of_each(
    column: str, number: Callable[[npt.NDArray[np.float64]], float]
) -> Callable[[pd.DataFrame], pd.Series[float]]:
    """A number of each row from a column that may be empty: a list with an entry for each codebook, or a number.

    Raises `UnfitError` for a row that has none.
    """

    def numbers(rows: pd.DataFrame) -> pd.Series[float]:
        values = []
        for cell_id, held in zip(rows["cell_id"], rows[column], strict=True):
            entries = np.asarray(np.nan if held is None else held, dtype=np.float64)
            if not np.isfinite(entries).all() or not entries.size:
                raise UnfitError(f"cell {cell_id} finished without {column}")
            values.append(number(entries))
        return pd.Series(values, index=rows.index, dtype=float)

    return numbers


def _dots(models: list[Model]) -> list[Look]:
    taken: set[tuple[str, str]] = set()
    looks = []
    for look in (model.look() for model in models):
        free = (m for m in (look.marker, *_MARKERS) if (look.colour, m) not in taken)
        dot = replace(look, marker=next(free, look.marker), width=0.0)
        taken.add((dot.colour, dot.marker))
        looks.append(dot)
    return looks
