"""How many of its codes a quantizer uses, and how evenly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from ...data.needs import Grid, at, spread
from ...data.selection import Metric, Selection
from ...draw.sheet import Drawn, Sheet
from ...items import figure
from ...naming import listed, number
from ...output.messages import said, trend
from ...output.numbers import mean_over_entries, numbers_of
from . import _shared as shared

_MOST_COLUMNS = 4


def _grids(rows: pd.DataFrame) -> Sequence[Grid]:
    return [
        replace(grid, axes={**grid.axes, "init_bound": spread(grid.axes["init_bound"], _MOST_COLUMNS)})
        if grid.quantizer == "vq"
        else grid
        for grid in shared.vq_grids(rows)
    ]


def _share(column: str) -> Metric:
    """The mean over the entries of a cell, over the codebook size."""
    return lambda rows: mean_over_entries(rows, column) / rows["codebook_size"]


_USED, _PERPLEXITY = _share("codes_used"), _share("perplexity")
_MEASURES = {"codes used / codebook_size": _USED, "perplexity / codebook_size": _PERPLEXITY}


@figure(
    "Share of codes that plain VQ uses and their perplexity, over dimension and initial bound",
    shared.static_prior_needs(
        ("bits_per_vector", "codes_used", "perplexity"),
        _grids,
        f"{shared.VQ_GRIDS[0]}; of many init_bounds {_MOST_COLUMNS}",
        shared.VQ_GRIDS[1],
    ),
    numbers=lambda selection: numbers_of(selection.grids, _MEASURES),
)
def code_use(selection: Selection) -> Drawn:
    """Over the dimension: share of codes used above, perplexity over K beneath; a column for each bound."""
    vq, kmeans = selection["vq"], selection.grid("kmeans")
    bounds = vq.axes["init_bound"]
    titles = [f"codes start in ±{number(bound)}" for bound in bounds]
    sheet = Sheet([*titles, *titles], columns=len(bounds), inches=1.6)
    panels = iter(sheet.panels)
    for measure in _MEASURES.values():
        for bound in bounds:
            panel = next(panels)
            panel.log_x(vq.axes["dimension"], most=8 if len(bounds) <= 2 else 4)
            yardstick = kmeans.means(measure) if kmeans else None
            shared.draw_vq(panel, "dimension", at(vq.means(measure), init_bound=bound), yardstick)
    note = shared.note(
        selection,
        "K: codebook size. Used: nearest to at least one training vector. Perplexity: 2 to the entropy, in bits, of "
        "the codes of the training vectors; K where all codes are equally frequent. Codes start uniformly in the range "
        f"that a panel names. F = {listed(vq.axes['factors'])} factors (Gaussian blobs).",
    )
    caption = (
        "How much of its codebook a plain vector quantizer (VQ) uses, over the dimension D of the data, for each "
        "codebook size K and each range of initial codes: share of the codes that are used (above) and perplexity "
        f"over K (beneath). {'Dashed: k-means with the same K. ' if kmeans else ''}{note}"
    )
    lines = [line for _, line in vq.means(_USED).groupby(["codebook_size", "init_bound"])]
    return sheet.finish(
        message=said(trend("the share of its codes that plain VQ uses", "the dimension D", lines)), caption=caption,
        x_label=shared.DIMENSION if len(bounds) < 3 else "dimension D", y_label=("codes used / K", "perplexity / K"),
        legend=shared.vq_legend(vq.axes["codebook_size"], kmeans=kmeans is not None, variance=False), footnote=note,
        y_limits=[(0, 1.06)] * 2,
    )  # fmt: skip
