"""The paper's appendix 7.3: what Figures 3 and 4 leave out of the grids of plain VQ."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from ...data.needs import Grid, at, axes_of, distinct, ever_run, spread
from ...data.selection import Selection
from ...draw.sheet import Drawn, Sheet
from ...items import figure
from ...naming import number
from ...output.messages import said, trend
from . import _shared as shared

_MOST_COLUMNS, _MOST_ROWS = 3, 3


def _grids(rows: pd.DataFrame) -> Sequence[Grid]:
    vq = at(rows, quantizer="vq")
    if vq.empty:
        return ()
    counts = vq.groupby(["dimension", "init_bound"])["factors"].nunique()
    several = counts[counts > 1].reset_index()
    if several.empty:
        return ()
    is_several = ever_run(several, ["dimension", "init_bound"])
    dimensions = spread(distinct(several, "dimension"), _MOST_COLUMNS)
    bounds = spread(distinct(several, "init_bound"), _MOST_ROWS)
    vq = at(vq[is_several(vq)], dimension=dimensions, init_bound=bounds)
    axes = {"dimension": dimensions, **axes_of(vq, "factors", "codebook_size"), "init_bound": bounds}
    shared_axes = {axis: axes[axis] for axis in ("dimension", "factors")}
    kmeans = at(rows, quantizer="kmeans", slices=1, **shared_axes)
    counts = kmeans.drop_duplicates(["codebook_size", *shared_axes]).groupby("codebook_size").size()
    whole = counts.index[counts == len(dimensions) * len(axes["factors"])]
    sizes = tuple(size for size in axes["codebook_size"] if size in whole)
    return (
        Grid(quantizer="vq", axes=axes, keep=is_several),
        *([Grid(quantizer="kmeans", axes={**shared_axes, "codebook_size": sizes, "slices": (1,)})] if sizes else []),
    )


@figure(
    "Appendix 7.3: test loss of plain VQ over the number of factors, for each dimension and initial bound",
    shared.static_prior_needs(
        ("test_mse", "data_variance"),
        _grids,
        "vq: every codebook_size x factors, at each dimension and init_bound that have more than one number of "
        f"factors; of many, {_MOST_COLUMNS} dimensions and {_MOST_ROWS} bounds",
        "kmeans, slices=1: the same dimension x factors, at each codebook_size that was run at all of them",
    ),
)
def static_prior_appendix(selection: Selection) -> Drawn:
    """A column for each dimension, a row for each bound, a line for each size."""
    vq, kmeans = selection["vq"], selection.grid("kmeans")
    factors, columns = vq.axes["factors"], len(vq.axes["dimension"])
    panels = sorted({(point["init_bound"], point["dimension"]) for point in vq.points})
    losses, yardstick = vq.means("test_mse"), kmeans.means("test_mse") if kmeans else None
    is_rectangle = len(panels) == columns * len(vq.axes["init_bound"])
    titles = [f"D = {number(dimension)}, start in ±{number(bound)}" for bound, dimension in panels]
    sheet = Sheet(titles, columns=columns if is_rectangle and columns > 1 else 2, inches=1.9)
    for panel, (bound, dimension) in zip(sheet.panels, panels, strict=True):
        panel.log_x(factors, most=6 if columns <= 2 else 3)
        shared.draw_variance(panel, "factors", at(vq.usable, dimension=dimension))
        kmeans_here = None if yardstick is None else at(yardstick, dimension=dimension)
        shared.draw_vq(panel, "factors", at(losses, dimension=dimension, init_bound=bound), kmeans_here)
    note = shared.note(selection, "D: dimension; K: codebook size; start: where initial codes lie, uniformly.")
    caption = (
        "Test loss of a plain vector quantizer (VQ) over the number of factors F behind the data, for every codebook "
        "size K, dimension D and range of initial codes (more plots of the static prior, appendix 7.3). "
        f"{shared.VARIANCE} {note}"
    )
    x_label = shared.FACTORS if columns <= 2 else "number of factors F"
    legend = shared.vq_legend(vq.axes["codebook_size"], kmeans=kmeans is not None)
    lines = [line for _, line in losses.groupby(["codebook_size", "dimension", "init_bound"])]
    message = said(trend("the test loss of plain VQ", "the number of factors F", lines))
    return sheet.finish(
        x_label=x_label, y_label=shared.LOSS, legend=legend, footnote=note, message=message, caption=caption
    )
