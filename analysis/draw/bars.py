"""Models in rows, their names to the left: parts of bars, and dots with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap
from typing import Any, Literal

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from ..naming import unbroken
from . import marks
from .sheet import Sheet
from .style import GREY, Look, current

Filling = Literal["full", "light", "hatched"]
"""How a part of a bar is filled. Fillings differ in lightness too, so that parts differ in print without colours."""

_MOST_INCHES = 5.2
"""Height of all rows above each other; many rows are closer together than a few."""
_LETTERS = 38
"""Of a line of a name: numbers to the right of bars need room."""
_HEIGHT = 0.62
"""Height of a bar, as a share of its row."""
_WITH_NUMBERS_BENEATH = 1.9
"""Height of a row with numbers beneath its bar, over that without."""
_INTERVAL: dict[str, Any] = {"elinewidth": 0.8, "capsize": 1.6, "capthick": 0.8, "zorder": 4, "linestyle": ""}


def row_sheet(
    blocks: Sequence[tuple[str, Sequence[str]]], *, columns: int, row_inches: float, guides: bool = True,
    numbers: bool = False,
) -> tuple[Sheet, list[list[Axes]]]:  # fmt: skip
    """A sheet with a block of panels for each title and names of rows, the first name on top; and the axes by block.

    `guides` are lines along the rows, which dots need and bars do not; `numbers` whether rows get some by `text`.
    """
    row_inches = min(row_inches, _MOST_INCHES / sum(len(names) for _, names in blocks))
    if numbers and current().is_narrow:
        row_inches *= _WITH_NUMBERS_BENEATH
    titles = [title if column == 0 else "" for title, _ in blocks for column in range(columns)]
    heights = [row_inches * len(names) + 0.1 for _, names in blocks]
    sheet = Sheet(titles, columns=columns, inches=heights, narrow_columns=1)
    axes = [panel.axes for panel in sheet.panels]
    for i, its in enumerate(axes):
        names = blocks[i // columns][1]
        sheet.panels[i].grid = "xy" if guides else "x"
        its.set_yticks(range(len(names)), [_in_lines(name) for name in names])
        its.tick_params(axis="y", length=0)
    return sheet, [axes[i : i + columns] for i in range(0, len(axes), columns)]


def _in_lines(name: str) -> str:
    lines = [line for part in name.split("\n") for line in wrap(unbroken(part), _LETTERS, break_on_hyphens=False)]
    return "\n".join(lines).replace("\N{NO-BREAK SPACE}", " ")


def row_limits(blocks: Sequence[tuple[str, Sequence[str]]]) -> list[tuple[float, float]]:
    """Limits of the y axes, as `Sheet.finish` takes them."""
    return [(len(names) - 0.45, -0.55) for _, names in blocks]


def part(axes: Axes, row: int, start: float, end: float, colour: str, filling: Filling) -> None:
    """A part of a bar, from one value to another."""
    axes.barh([row], [end - start], left=start, height=_HEIGHT, **_filled(colour, filling), zorder=2)


def interval(axes: Axes, y: float, point: pd.DataFrame, **looks: Any) -> None:
    """The interval of a mean, from a row that `SelectedGrid.means` gave; nothing where it has no value."""
    if point["n"].iloc[0]:
        marks.describe(axes, point["mean"], [y], point)
        mean, high = float(point["mean"].iloc[0]), float(point["high"].iloc[0])
        axes.errorbar([mean], [y], xerr=[high - mean], **{"color": "black", "marker": "", **looks}, **_INTERVAL)


def dot(axes: Axes, y: float, point: pd.DataFrame, look: Look, *, hollow: bool = False) -> None:
    """A mean with its interval, from a row that `SelectedGrid.means` gave."""
    face = "white" if hollow else look.colour
    interval(
        axes, y, point, color=look.colour, marker=look.marker, markerfacecolor=face, markeredgecolor=look.colour
    )  # fmt: skip


def reach(axes: Axes, longest: float, room: float) -> None:
    """Sets an axis that holds the longest bar, with ticks up to there; on a page `room` times as long, for numbers."""
    axes.set_xlim(0, (1.1 if current().is_narrow else room) * longest)
    ticks = MaxNLocator(8, steps=[1, 2, 5, 10]).tick_values(0, longest)
    axes.set_xticks([tick for tick in ticks if tick <= longest])


def text(axes: Axes, row: float, x: float, words: str) -> None:
    """A few words to the right of a value; beneath its bar in a narrow format."""
    if current().is_narrow:
        x, offset, row = 0.0, (2.0, 0.0), row + _HEIGHT / 2
    else:
        offset = (5.0, 0.0)
    axes.annotate(
        words, (x, row), offset, textcoords="offset points", va="top" if current().is_narrow else "center",
        size=current().small_points,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8},  # or lines of the grid would run through it
    )  # fmt: skip


def no_value(axes: Axes, row: int) -> None:
    """Says that a model has no value."""
    at = axes.get_yaxis_transform()
    axes.text(0.01, row, "no value", transform=at, va="center", size=current().small_points, color=GREY, style="italic")


def part_handle(filling: Filling, label: str) -> Patch:
    """The legend entry of a part, of no model in particular."""
    return Patch(**_filled(GREY, filling), label=label)


def dot_handle(marker: str, label: str, *, hollow: bool = False) -> Line2D:
    """The legend entry of a dot, of no model in particular."""
    face = "white" if hollow else GREY
    return Line2D([], [], linestyle="", marker=marker, markerfacecolor=face, markeredgecolor=GREY, label=label)


def _filled(colour: str, filling: Filling) -> dict[str, Any]:
    light, dark = (tuple(white + share * part for part in to_rgb(colour)) for white, share in ((0.62, 0.38), (0, 0.7)))
    face = {"full": colour, "light": light, "hatched": "white"}[filling]
    hatch = {"hatch": "//////", "hatch_linewidth": 0.5} if filling == "hatched" else {}
    return {"facecolor": face, "edgecolor": dark, "linewidth": 0.7, **hatch}
