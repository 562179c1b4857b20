"""What a reader would object to in a figure, whatever it shows."""

from __future__ import annotations

from itertools import cycle

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.text import Text
from numpy.typing import NDArray

from analysis.data.selection import Selection
from analysis.draw import style
from analysis.draw.sheet import MEANS
from analysis.figures import ITEMS

Vector = NDArray[np.float64]


def draw(name: str, selection: Selection) -> tuple[Figure, str]:
    """The figure of that name, and its caption."""
    item = ITEMS[name]
    assert item.draw is not None
    with style.printed():
        found = item.draw(selection)
        return found.figure, found.caption


def legends(figure: Figure) -> list[Legend]:
    return [child for child in figure.get_children() if isinstance(child, Legend)]


def names_at_ends(figure: Figure) -> dict[str, str]:
    """The lines that are named at their ends, each with the colour of its name."""
    return {text.get_text().replace("\n", " ").replace("\N{NO-BREAK SPACE}", " "): to_hex(text.get_color())
            for text in figure.texts if text.get_verticalalignment() == "center"}  # fmt: skip


def means_of(axes: Axes) -> list[Line2D]:
    """The line through the means of each model."""
    return [line for line in axes.get_lines() if line.get_zorder() == MEANS]


def drawn_points(axes: Axes) -> list[tuple[Vector, Vector]]:
    """Where the means of each model are."""
    lines = means_of(axes)
    return [(np.asarray(line.get_xdata(), float), np.asarray(line.get_ydata(), float)) for line in lines]


def _hex(colour: Vector) -> str:
    red, green, blue = map(float, colour[:3])
    return to_hex((red, green, blue))


def bars_of(axes: Axes) -> list[tuple[Vector, str]]:
    """Ends, [low and high, x and y], and colour of each interval that is drawn as a bar."""
    return [
        (np.asarray(bar, float), _hex(colour))
        for bars in axes.collections
        if isinstance(bars, LineCollection) and bars.get_zorder() > 1
        for bar, colour in zip(bars.get_segments(), cycle(np.asarray(bars.get_color())), strict=False)
    ]


def bands_of(axes: Axes) -> list[tuple[Vector, str]]:
    """Corners and colour of each interval that is drawn as a band."""
    return [
        (np.asarray(path.vertices, float), _hex(colour))
        for bands in axes.collections
        if isinstance(bands, PolyCollection)
        for path, colour in zip(bands.get_paths(), np.asarray(bands.get_facecolor()), strict=True)
    ]


def assert_no_text_overlaps_or_leaves_the_page(figure: Figure, *, least: int) -> None:
    with style.printed():
        figure.draw_without_rendering()
        texts = [*figure.texts, *(text for legend in legends(figure) for text in legend.get_texts())]
        for axes in figure.axes:
            texts += [axes.title, axes.xaxis.label, axes.yaxis.label]
            for axis, (low, high) in ((axes.xaxis, sorted(axes.get_xlim())), (axes.yaxis, sorted(axes.get_ylim()))):
                texts += [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
        shown = [
            (text.get_text(), text.get_window_extent()) for text in texts if text.get_visible() and text.get_text()
        ]
    assert len(shown) > least
    width, height = figure.get_size_inches() * figure.dpi
    for i, (label, box) in enumerate(shown):
        assert 0 <= box.x0 < box.x1 <= width, label
        assert 0 <= box.y0 < box.y1 <= height, label
        for other, other_box in shown[i + 1 :]:
            assert not box.overlaps(other_box), (label, other)


def assert_text_is_readable_in_print(figure: Figure, *, least: int) -> None:
    texts = figure.findobj(Text)
    assert len(texts) > least
    assert all(float(text.get_fontsize()) >= 7 for text in texts if isinstance(text, Text))
