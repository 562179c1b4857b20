"""Figure 6 of the paper: how fast the models learn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from ...data.selection import SelectedGrid, Selection
from ...draw.sheet import Drawn, Sheet, handle
from ...draw.style import Look, distinguished
from ...items import figure
from ...naming import number
from . import _shared as shared
from ._columns import RECONSTRUCTION, TRAIN_RECONSTRUCTION, UNIFORM_CODES
from ._models import data_sets_of, entries_of, labels_of, model_of

_EARLY = 1 / 16
"""Share of the training before which losses may lie above the panel: they fall from 8 bits within it."""
_ROOM_FOR_BANDS = 0.25
"""Above and below the lines, at most, as a share of the height that these take."""
_LEAST_ROOM = 0.1
"""The same in bits/dim where all lines are level."""
_SIDES = ((TRAIN_RECONSTRUCTION, "training batches"), (RECONSTRUCTION, "test images"))


@figure(
    "Figure 6: reconstruction loss over training steps, training and test, of every model",
    shared.comparison(RECONSTRUCTION, UNIFORM_CODES, curves=(RECONSTRUCTION, TRAIN_RECONSTRUCTION)),
)
def figure6(selection: Selection) -> Drawn:
    """A row for each data set, training and test beside each other, a line for each model."""
    data_sets, grids = data_sets_of(selection.grids), selection.grids
    # Models of equal colour, which differ in a lesser field, get different lines.
    looks = distinguished([model_of(grid).look() for grid in grids])
    titles = [f"{images.title}, {side}" for images in data_sets for _, side in _SIDES]
    sheet = Sheet(titles, columns=2, inches=2.6 if len(data_sets) == 1 else 1.9)
    scales = []
    for i, images in enumerate(data_sets):
        panels, curves = sheet.panels[2 * i : 2 * i + 2], []
        for panel, (column, _) in zip(panels, _SIDES, strict=True):
            for phase, (grid, look) in enumerate(zip(grids, looks, strict=True)):
                curve = grid.curve(column, dataset=images.dataset, image_size=images.image_size)
                panel.curve(curve, look, phase=phase)
                curves.append(curve)
        scales.append(_Scale.of([curve for curve in curves if len(curve)]))
        for panel in panels:
            panel.axes.set_xlim(0, 1.02 * scales[-1].steps)
            panel.axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
            panel.axes.xaxis.set_major_formatter(FuncFormatter(_steps))
    legend = [_entry(*each) for each in zip(grids, labels_of(grids), looks, strict=True)]
    note = shared.note(
        selection,
        "In brackets: bits/dim that the codes cost under a uniform prior, which the curves leave out.",
        f"Means of {shared.repetitions(selection)}, bands: 95% t-intervals. Training: mean over the batches since the "
        "point before; test: all test images.",
        "Losses of the first steps lie above the panels." if any(scale.cuts_lines for scale in scales) else "",
        "Some bands reach out of the panels." if any(scale.cuts_bands for scale in scales) else "",
    )
    caption = (
        "Figure 6. Reconstruction loss over the steps of training. Reconstruction is "
        f"{shared.RECONSTRUCTION_IS}. {note}"
    )
    return sheet.finish(
        message=shared.lowest_of_each(entries_of(selection), RECONSTRUCTION, "reconstruction loss after training"),
        caption=caption,
        x_label="training step (mini-batches seen)", y_label="reconstruction loss\n(bits/dim, codes left out)",
        legend=[legend], footnote=note, y_limits=[(scale.low, scale.high) for scale in scales],
    )  # fmt: skip


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
        """Scale of everything that is drawn for the data set."""
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
            steps=steps, low=low - edge, high=high + edge, cuts_lines=bool((curves["mean"] > high + edge).any()),
            cuts_bands=bool(((late["low"] < low - edge) | (late["high"] > high + edge)).any()),
        )  # fmt: skip


def _entry(grid: SelectedGrid, label: str, look: Look) -> Line2D:
    """A model's line in the legend, with what its codes cost and what is missing."""
    points = grid.means(UNIFORM_CODES)
    costs = sorted({f"{cost:.2f}" for cost in points["mean"].dropna()})
    few = points[points["n"] < points["wanted"]][["n", "wanted"]]
    text = f"{label} ({' or '.join(costs)})" if costs else label
    missing = [f", n = {number(n)} of {number(wanted)}" for n, wanted in few.itertuples(index=False)]
    return handle(look, "".join([text, *missing]))
