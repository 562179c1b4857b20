"""How many of its codes a quantizer uses, and how evenly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd
from matplotlib.figure import Figure

from ...data.needs import Grid, at, spread
from ...data.selection import Selection
from ...draw.panels import Sheet, handle
from ...draw.style import as_kmeans, kmeans_look, vq_look
from ...naming import listed, number
from ...output.numbers import long_form, mean_over_slices, metric_of
from . import words
from .marks import ANY, DIMENSION, sizes_legend
from .needs import figure3a_grids, static_prior_needs

_MOST_COLUMNS = 4


def _grids(rows: pd.DataFrame) -> Sequence[Grid]:
    return [
        replace(grid, axes={**grid.axes, "init_bound": spread(grid.axes["init_bound"], _MOST_COLUMNS)})
        if grid.quantizer == "vq"
        else grid
        for grid in figure3a_grids(rows)
    ]


CODE_USE = static_prior_needs(
    metrics=("bits_per_vector", "codes_used", "perplexity"),
    grids=(
        "vq: every dimension x codebook_size x init_bound, at the factors with most dimension x codebook_size pairs; "
        f"of many init_bounds {_MOST_COLUMNS}",
        "kmeans, if any is stored: the same dimension x codebook_size, slices=1",
    ),
    choose=_grids,
)


def _share_used(rows: pd.DataFrame) -> pd.Series[float]:
    return mean_over_slices(rows, "codes_used") / rows["codebook_size"]


def _evenness(rows: pd.DataFrame) -> pd.Series[float]:
    return mean_over_slices(rows, "perplexity") / rows["codebook_size"]


_MEASURES = {"codes used / codebook_size": _share_used, "perplexity / codebook_size": _evenness}


def code_use_numbers(selection: Selection) -> pd.DataFrame:
    """The shares that are drawn, in long form."""
    return long_form(
        metric_of(grid, name, grid.means(measure)) for grid in selection.grids for name, measure in _MEASURES.items()
    )


def draw_code_use(selection: Selection) -> tuple[Figure, str]:
    """Over the dimension: share of codes used above, perplexity over K beneath; a column for each bound."""
    vq, kmeans = selection["vq"], selection.grid("kmeans")
    sizes, dimensions, bounds = (vq.axes[axis] for axis in ("codebook_size", "dimension", "init_bound"))
    titles = [f"codes start in ±{number(bound)}" for bound in bounds]
    sheet = Sheet([*titles, *titles], columns=len(bounds), panel_inches=1.6)
    for row, measure in enumerate(_MEASURES.values()):
        trained = selection["vq"].means(measure)
        yardstick = selection["kmeans"].means(measure) if kmeans else None
        for panel, bound in zip(sheet.panels[row * len(bounds) :], bounds, strict=False):
            panel.log_x(dimensions, most=8 if len(bounds) <= 2 else 4)
            if yardstick is not None:
                for size in sizes:
                    points = at(yardstick, codebook_size=size)
                    panel.points(points["dimension"], points, kmeans_look(size))
            for size in sizes:
                points = at(trained, codebook_size=size, init_bound=bound)
                panel.points(points["dimension"], points, vq_look(size))
    legend = [
        sizes_legend(sizes),
        [handle(ANY, "VQ, trained by gradient"), *([handle(as_kmeans(ANY), "k-means, same K")] if kmeans else [])],
    ]
    note = words.note(
        selection,
        "Used: nearest to at least one training vector. Perplexity: 2 to the entropy, in bits, of the codes of the "
        "training vectors; K where all codes are equally frequent. Codes start uniformly in the range that a panel "
        f"names. F = {listed(vq.axes['factors'])} factors (Gaussian blobs).",
    )
    caption = (
        "How much of its codebook a plain vector quantizer (VQ) uses, over the dimension D of the data, for each "
        "codebook size K and each range of initial codes: share of the codes that are used (above) and perplexity "
        f"over K (beneath). {'Dashed: k-means with the same K. ' if kmeans else ''}{note}"
    )
    figure = sheet.finish(
        x_label=DIMENSION if len(bounds) < 3 else "dimension D",
        y_label=("codes used / K", "perplexity / K"),
        legend=legend,
        footnote=note,
        y_limits=[(0, 1.06)] * 2,
    )
    return figure, caption
