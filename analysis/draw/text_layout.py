"""Text that is fitted to the width of a page by the measure of its font."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.legend import Legend
from matplotlib.lines import Line2D

from .style import SMALL_POINTS


def wrapped(figure: Figure, text: str, inches: float) -> list[str]:
    """A footnote in lines that are no wider than that."""
    font, renderer = FontProperties(size=SMALL_POINTS), _renderer(figure)

    def width(some: str) -> float:
        measured = renderer.get_text_width_height_descent(some, font, ismath=False)  # type: ignore[no-untyped-call]
        return float(measured[0]) / figure.dpi

    words = text.split()
    # Long texts take long to measure: words tell about where a line ends, and only there it is looked at whole.
    known = {word: width(f"{word} ") for word in set(words)}
    lines = []
    while words:
        ends = np.cumsum([known[word] for word in words])
        count = max(1, int(np.searchsorted(ends, inches)))
        while count < len(words) and width(" ".join(words[: count + 1])) <= inches:
            count += 1
        while count > 1 and width(" ".join(words[:count])) > inches:
            count -= 1
        lines.append(" ".join(words[:count]))
        words = words[count:]
    return lines or [""]


def footnote(figure: Figure, lines: Sequence[str], inches: float) -> None:
    """Lines at the foot of the figure, that far from its edges."""
    width, height = figure.get_size_inches()
    figure.text(inches / width, inches / height, "\n".join(lines), size=SMALL_POINTS, va="bottom", linespacing=1.25)


def legend_row(figure: Figure, entries: Sequence[Artist], y: float, *, sample: float = 2.3) -> Legend:
    """Entries side by side in the middle of the figure, at the given fraction of its height.

    `sample` is the width of what stands before a label, in sizes of its letters.
    """
    labels = [str(entry.get_label()) for entry in entries]
    return Legend(
        figure, list(entries), labels, ncols=len(entries), loc="center", bbox_to_anchor=(0.5, y),
        bbox_transform=figure.transFigure, frameon=False, borderpad=0, borderaxespad=0, columnspacing=1.4,
        handlelength=sample, handletextpad=0.5,
    )  # fmt: skip


def fitting(figure: Figure, entries: Sequence[Line2D], inches: float) -> list[Sequence[Line2D]]:
    """The entries in as few rows as fit."""
    parts: list[Sequence[Line2D]] = []
    for rows in range(1, len(entries) + 1):
        size = -(-len(entries) // rows)
        parts = [entries[i : i + size] for i in range(0, len(entries), size)]
        if all(_row_inches(figure, part) <= inches for part in parts):
            break
    return parts


def _row_inches(figure: Figure, entries: Sequence[Line2D]) -> float:
    row = legend_row(figure, entries, 0.5)
    figure.add_artist(row)
    width = row.get_window_extent(_renderer(figure)).width / figure.dpi
    row.remove()
    return float(width)


def _renderer(figure: Figure) -> RendererAgg:
    canvas = figure.canvas
    assert isinstance(canvas, FigureCanvasAgg)
    return canvas.get_renderer()  # type: ignore[no-untyped-call,no-any-return]
