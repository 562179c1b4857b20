"""Figure 6 of the paper."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from ...data.selection import Selection
from ...draw.panels import Sheet, handle
from ...draw.style import Look
from ...known import RECONSTRUCTION, TRAIN_RECONSTRUCTION, UNIFORM_CODES
from ...naming import number
from . import words
from .models import data_sets_of, looks_of, model_of, varying_in

_EARLY = 1 / 16
"""Share of the training before which losses may lie above the panel: they fall from 8 bits within it."""
_ROOM_FOR_BANDS = 0.25
"""Above and below the lines, at most, as a share of the height that these take."""
_LEAST_ROOM = 0.1
"""The same in bits/dim where all lines are level."""


def draw_figure6(selection: Selection) -> tuple[Figure, str]:
    """Loss over steps: a row for each data set, training and test beside each other, a line for each model."""
    data_sets = data_sets_of(selection.grids)
    models = [model_of(grid) for grid in selection.grids]
    looks, varying = looks_of(models), varying_in(models)
    sides = ((TRAIN_RECONSTRUCTION, "training batches"), (RECONSTRUCTION, "test images"))
    titles = [f"{images.title}, {side}" for images in data_sets for _, side in sides]
    sheet = Sheet(titles, columns=2, panel_inches=2.6 if len(data_sets) == 1 else 1.9)
    scales = []
    for i, images in enumerate(data_sets):
        curves = []
        for panel, (column, _) in zip(sheet.panels[2 * i :], sides, strict=False):
            for phase, (grid, look) in enumerate(zip(selection.grids, looks, strict=True)):
                curve = grid.curve(column, dataset=images.dataset, image_size=images.image_size)
                panel.curve(curve, look, phase=phase)
                curves.append(curve)
        scales.append(_Scale.of([curve for curve in curves if len(curve)]))
        for panel in sheet.panels[2 * i : 2 * i + 2]:
            panel.axes.set_xlim(0, 1.02 * scales[-1].steps)
            panel.axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
            panel.axes.xaxis.set_major_formatter(FuncFormatter(_steps))
    legend = [_entry(selection, grid.name, model.label(varying), look)
              for grid, model, look in zip(selection.grids, models, looks, strict=True)]  # fmt: skip
    note = words.note(
        selection,
        "In brackets: bits/dim that the codes cost under a uniform prior, which the curves leave out.",
        f"Means of {words.repetitions(selection)}, bands: 95% t-intervals. Training: mean over the batches since the "
        "point before; test: all test images.",
        "Losses of the first steps lie above the panels." if any(scale.cuts_lines for scale in scales) else "",
        "Some bands reach out of the panels." if any(scale.cuts_bands for scale in scales) else "",
        f"{words.data_sets(selection)}.",
    )
    caption = (
        "Figure 6. Reconstruction loss over the steps of training. Reconstruction is "
        f"{words.RECONSTRUCTION}. {note}"
    )  # fmt: skip
    figure = sheet.finish(
        x_label="training step (mini-batches seen)",
        y_label="reconstruction loss\n(bits/dim, codes left out)",
        legend=[legend],
        footnote=note,
        y_limits=[(scale.low, scale.high) for scale in scales],
    )
    return figure, caption


def _steps(step: float, _: int | None = None) -> str:
    """`400` or `20k`."""
    return number(step) if step < 10_000 else f"{number(step / 1000)}k"


@dataclass(frozen=True, kw_only=True)
class _Scale:
    """The axes of a data set's panels: so that the lines fill them after the first steps."""

    steps: float
    low: float
    high: float
    cuts_lines: bool
    cuts_bands: bool
    """Whether, after the first steps, something of an interval lies outside."""

    @staticmethod
    def of(found: Sequence[pd.DataFrame]) -> _Scale:
        """Of all that is drawn for the data set."""
        if not found:
            return _Scale(steps=1, low=0, high=8, cuts_lines=False, cuts_bands=False)
        curves = pd.concat(found)
        steps = float(curves["step"].max())
        late = curves[curves["step"] >= _EARLY * steps]
        bottom, top = float(late["mean"].min()), float(late["mean"].max())
        room = _ROOM_FOR_BANDS * (top - bottom) or _LEAST_ROOM
        low, high = max(float(late["low"].min()), bottom - room), min(float(late["high"].max()), top + room)
        edge = 0.04 * (high - low)
        return _Scale(
            steps=steps,
            low=low - edge,
            high=high + edge,
            cuts_lines=bool((curves["mean"] > high + edge).any()),
            cuts_bands=bool(((late["low"] < low - edge) | (late["high"] > high + edge)).any()),
        )


def _entry(selection: Selection, name: str, label: str, look: Look) -> Line2D:
    """A model's line in the legend, with what its codes cost and what it lacks."""
    points = selection[name].means(UNIFORM_CODES)
    costs = sorted({f"{cost:.2f}" for cost in points["mean"].dropna()})
    lacking = points[points["n"] < points["wanted"]]
    text = f"{label} ({' or '.join(costs)})" if costs else label
    lacks = [f", n = {number(n)} of {number(wanted)}" for n, wanted in lacking[["n", "wanted"]].itertuples(index=False)]
    return handle(look, "".join([text, *lacks]))
