"""Figure 3(b) of the paper: a plain VQ with fewer codes than factors, against two readings of 'random'."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import pandas as pd

from ...data.needs import Grid, at, axes_of, distinct, spread
from ...data.selection import Selection
from ...draw.sheet import Drawn, Sheet, handle, level_handle
from ...draw.style import ANY, as_untrained
from ...items import figure
from ...naming import listed, number
from ...output.messages import duel, said, tally
from . import _shared as shared

_MOST_COLUMNS, _MOST_ROWS = 3, 4
"""What a page has room for."""


def _grids(rows: pd.DataFrame) -> Sequence[Grid]:
    vq = at(rows, quantizer="vq")
    vq = vq[vq["codebook_size"] < vq["factors"]]
    counts = vq.groupby(["dimension", "init_bound"])["factors"].nunique()
    if counts.empty:
        return ()
    several = counts[counts > 1]
    pairs = (counts if several.empty else several).reset_index()
    dimensions = distinct(pairs, "dimension")
    axes = {
        "dimension": dimensions[-2:] if several.empty else spread(dimensions, _MOST_COLUMNS),
        "init_bound": spread(distinct(pairs, "init_bound"), _MOST_ROWS),
    }
    axes |= axes_of(at(vq, **axes), "codebook_size", "factors")
    return (Grid(quantizer="vq", axes=axes, keep=lambda points: points["codebook_size"] < points["factors"]),)


@figure(
    "Figure 3(b): loss over variance of plain VQ where codes are fewer than factors, against 'random'",
    shared.static_prior_needs(
        ("loss_over_variance", "untrained_test_mse", "data_variance"),
        _grids,
        "vq: every dimension x init_bound x codebook_size x factors with codebook_size < factors, at the dimension and "
        "init_bound that have more than one number of factors; where none has, at the two largest dimensions; of many, "
        f"{_MOST_COLUMNS} dimensions and {_MOST_ROWS} bounds",
    ),
)
def figure3b(selection: Selection) -> Drawn:
    """A column for each dimension, a row for each bound."""
    vq = selection["vq"]
    sizes, dimensions, bounds = (vq.axes[axis] for axis in ("codebook_size", "dimension", "init_bound"))
    trained, untrained = vq.means("loss_over_variance"), vq.means(_untrained_over_variance)
    ratios = sorted({Fraction(int(point["codebook_size"]), int(point["factors"])) for point in vq.points})
    pairs = [(bound, dimension) for bound in bounds for dimension in dimensions]
    columns = min(len(dimensions), _MOST_COLUMNS)
    is_narrow = columns > 2
    start = {bound: f"start in ±{number(bound)}" if is_narrow else shared.uniform(bound) for bound in bounds}
    titles = [f"D = {number(dimension)}, {start[bound]}" for bound, dimension in pairs]
    rows_alike = len(bounds) == 1 or columns < len(dimensions)
    sheet = Sheet(titles, columns=columns, inches=1.8 if len(bounds) <= 2 else 1.3)
    for panel, (bound, dimension) in zip(sheet.panels, pairs, strict=True):
        panel.log_x([float(ratio) for ratio in ratios], [str(ratio) for ratio in ratios], most=7)
        panel.level(panel.axes.get_xlim(), (1.0, 1.0))
        for size in sizes:
            before, after = (
                at(table, codebook_size=size, dimension=dimension, init_bound=bound) for table in (untrained, trained)
            )
            ratio = after["codebook_size"] / after["factors"]
            panel.points(ratio, before, as_untrained(shared.vq_look(size)), hollow=True)
            panel.points(ratio, after, shared.vq_look(size))
    legend = [
        shared.vq_legend(sizes, kmeans=False)[0],
        [
            handle(ANY, "trained codebook"),
            handle(as_untrained(ANY), "untrained codebook", hollow=True),
            level_handle("predicting the mean of the data"),
        ],
    ]
    starts = "; start: where initial codes lie, uniformly" if is_narrow else ""
    factors = listed(vq.axes["factors"])
    note = shared.note(selection, f"D: dimension; K: codebook size; F = {factors} factors, with K < F{starts}.")
    caption = (
        "Figure 3(b). Test loss of a plain vector quantizer, relative to the variance of the data, where its "
        "codes K are fewer than the factors F. Two readings of 'random': predicting the mean of the data "
        "(dotted, 1) and the codebook before training (hollow). "
        f"{'' if rows_alike else 'Each row has a scale of its own. '}{note}"
    )
    y_label = "test loss /\nvariance of the data"
    message = said(
        f"with fewer codes than factors {duel('trained VQ', 'predicting the mean', tally(trained, 1.0), 'loss')}",
        duel("it", "its untrained codebook", tally(trained, untrained), "loss"),
    )
    return sheet.finish(
        x_label="codes per factor, K / F", y_label=y_label, legend=legend, footnote=note, rows_alike=rows_alike,
        message=message, caption=caption,
    )  # fmt: skip


def _untrained_over_variance(rows: pd.DataFrame) -> pd.Series[float]:
    return rows["untrained_test_mse"] / rows["data_variance"]
