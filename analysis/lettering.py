"""Text that is fitted to the width of a page by the measure of its font."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.legend import Legend
from matplotlib.lines import Line2D

from analysis.style import SMALL_POINTS


def wrapped(figure: Figure, text: str, inches: float) -> list[str]:
    """A footnote in lines that are no wider than that."""
    font, renderer = FontProperties(size=SMALL_POINTS), _renderer(figure)
    lines, line = [], ""
    for word in text.split():
        longer = f"{line} {word}".strip()
        width = renderer.get_text_width_height_descent(longer, font, ismath=False)[0]  # type: ignore[no-untyped-call]
        if line and width / figure.dpi > inches:
            lines.append(line)
            longer = word
        line = longer
    return [*lines, line]


def legend_row(figure: Figure, entries: Sequence[Line2D], y: float) -> Legend:
    """Entries side by side in the middle of the figure, at the given fraction of its height."""
    labels = [str(entry.get_label()) for entry in entries]
    return Legend(
        figure, list(entries), labels, ncols=len(entries), loc="center", bbox_to_anchor=(0.5, y),
        bbox_transform=figure.transFigure, frameon=False, borderpad=0, borderaxespad=0, columnspacing=1.4,
        handlelength=2.3, handletextpad=0.5,
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
