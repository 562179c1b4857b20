"""Of the paper's appendix 7.3: what Figures 3 and 4 leave out of the grids of plain VQ."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from ...data.needs import Grid, at, distinct, ever_run, spread
from ...data.selection import Selection
from ...draw.panels import Sheet, handle, level_handle
from ...draw.style import as_kmeans, kmeans_look, vq_look
from ...naming import number
from . import words
from .marks import ANY, FACTORS, LOSS, sizes_legend
from .needs import static_prior_needs

_MOST_COLUMNS, _MOST_ROWS = 3, 3


def _grids(rows: pd.DataFrame) -> Sequence[Grid]:
    vq = rows[rows["quantizer"] == "vq"]
    if vq.empty:
        return ()
    counts = vq.groupby(["dimension", "init_bound"])["factors"].nunique()
    several = counts[counts > 1].reset_index()
    if several.empty:
        return ()
    dimensions = spread(distinct(several, "dimension"), _MOST_COLUMNS)
    bounds = spread(distinct(several, "init_bound"), _MOST_ROWS)
    is_several = ever_run(several, ["dimension", "init_bound"])
    vq = vq[is_several(vq)]
    vq = vq[vq["dimension"].isin(dimensions) & vq["init_bound"].isin(bounds)]
    factors = distinct(vq, "factors")
    kmeans = rows[(rows["quantizer"] == "kmeans") & (rows["slices"] == 1)]
    shared = {"dimension": dimensions, "factors": factors}
    wanted = kmeans[kmeans["dimension"].isin(dimensions) & kmeans["factors"].isin(factors)]
    counts = wanted.drop_duplicates(["codebook_size", *shared]).groupby("codebook_size").size()
    whole = counts.index[counts == len(dimensions) * len(factors)]
    sizes = tuple(size for size in distinct(vq, "codebook_size") if size in whole)
    return (
        Grid(
            quantizer="vq",
            axes={**shared, "codebook_size": distinct(vq, "codebook_size"), "init_bound": bounds},
            keep=is_several,
        ),
        *([Grid(quantizer="kmeans", axes={**shared, "codebook_size": sizes, "slices": (1,)})] if sizes else []),
    )


APPENDIX = static_prior_needs(
    metrics=("test_mse", "data_variance"),
    grids=(
        "vq: every codebook_size x factors, at each dimension and init_bound that have more than one number of "
        f"factors; of many, {_MOST_COLUMNS} dimensions and {_MOST_ROWS} bounds",
        "kmeans, slices=1: the same dimension x factors, at each codebook_size that was run at all of them",
    ),
    choose=_grids,
)


def draw_appendix(selection: Selection) -> tuple[Figure, str]:
    """Test loss over the number of factors: a column for each dimension, a row for each bound, a line for each size."""
    vq, kmeans = selection["vq"], selection.grid("kmeans")
    factors, sizes = vq.axes["factors"], vq.axes["codebook_size"]
    panels = list(dict.fromkeys((point["init_bound"], point["dimension"]) for point in vq.points))
    panels.sort()
    losses = selection["vq"].means("test_mse")
    yardstick = selection["kmeans"].means("test_mse") if kmeans else None
    variance = vq.usable.groupby(["dimension", "factors"])["data_variance"].mean()
    columns = len(vq.axes["dimension"])
    is_rectangle = len(panels) == columns * len(vq.axes["init_bound"])
    titles = [f"D = {number(dimension)}, start in ±{number(bound)}" for bound, dimension in panels]
    sheet = Sheet(titles, columns=columns if is_rectangle and columns > 1 else 2, panel_inches=1.9)
    for panel, (bound, dimension) in zip(sheet.panels, panels, strict=True):
        panel.log_x(factors, most=6 if columns <= 2 else 3)
        known = [f for f in factors if (dimension, f) in variance.index]
        panel.level(known, [variance[dimension, f] for f in known])
        for size in kmeans.axes["codebook_size"] if kmeans else ():
            assert yardstick is not None
            points = at(yardstick, codebook_size=size, dimension=dimension)
            panel.points(points["factors"], points, kmeans_look(size))
        for size in sizes:
            points = at(losses, codebook_size=size, dimension=dimension, init_bound=bound)
            panel.points(points["factors"], points, vq_look(size))
    legend = [
        sizes_legend(sizes),
        [
            handle(ANY, "VQ, trained by gradient"),
            *([handle(as_kmeans(ANY), "k-means, same K")] if kmeans else []),
            level_handle("predicting the mean: variance of the data"),
        ],
    ]
    note = words.note(selection, "D: dimension; start: where initial codes lie, uniformly.")
    caption = (
        "Test loss of a plain vector quantizer (VQ) over the number of factors F behind the data, for every codebook "
        "size K, dimension D and range of initial codes (more plots of the static prior, appendix 7.3). "
        f"{words.VARIANCE} {note}"
    )
    x_label = FACTORS if columns <= 2 else "number of factors F"
    figure = sheet.finish(x_label=x_label, y_label=LOSS, legend=legend, footnote=note)
    return figure, caption
