"""Distortion over rate: how much error a quantizer leaves for the bits that it sends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ...data.needs import Grid, at, axes_of, distinct, ever_run, most_held, spread
from ...data.selection import Selection
from ...draw import scales
from ...draw.sheet import Drawn, Panel, Sheet, handle, level_handle
from ...draw.style import GREY, THEORY, Look, as_yardstick
from ...items import figure
from ...naming import number
from ...output.messages import said, tally
from ...output.product import UnfitError
from ...output.words import capitalised
from . import _shared as shared

_MOST_COLUMNS, _MOST_ROWS = 3, 3
_MORE_CODES = Look(colour=shared.vq_look(64).colour, width=0.7)
_MORE_SLICES = Look(colour=shared.dvq_look(4).colour, width=0.7)
_BLOB_VARIANCE = 1.0
"""Variance of every feature within a blob: what is left of the error where a code names the blob and says no more."""


def _grids(rows: pd.DataFrame) -> Sequence[Grid]:
    vq, dvq, kmeans = (at(rows, quantizer=name) for name in ("vq", "dvq", "kmeans"))
    if vq.empty or dvq.empty:
        return ()
    model = ["codebook_size", "slices"]
    bound = most_held(dvq, "init_bound", ["dimension", "factors", *model], ties="smallest")
    vq, dvq = at(vq, init_bound=bound), at(dvq, init_bound=bound)
    dimensions = spread([d for d in distinct(dvq, "dimension") if d in set(vq["dimension"])], _MOST_ROWS)
    if not dimensions:
        return ()
    together = [at(part, dimension=dimensions) for part in (dvq, vq, kmeans)]
    most = most_held(pd.concat(together), "factors", ["quantizer", "dimension", *model], ties="largest")
    factors = spread([f for f in distinct(together[0], "factors") if f <= most], _MOST_COLUMNS)
    if not factors:
        return ()
    dvq, vq, kmeans = (at(part, factors=factors) for part in together)
    axes, start = {"dimension": dimensions, "factors": factors}, {"init_bound": (bound,)}
    return (
        Grid(quantizer="vq", axes={**axes, **axes_of(vq, "codebook_size"), **start}),
        Grid(quantizer="dvq", axes={**axes, **axes_of(dvq, *model), **start}, keep=shared.slices_divide),
        Grid(quantizer="kmeans", axes={**axes, **axes_of(kmeans, *model)}, presence="if complete",
             keep=ever_run(kmeans, [*axes, *model])),
    )  # fmt: skip


@figure(
    "Distortion over rate of every quantizer, beside the curve of Gaussian data",
    shared.static_prior_needs(
        ("loss_over_variance", "data_variance", "bits_per_vector", "rate_curve_mse"),
        _grids,
        f"dvq: every codebook_size x slices (that divide it), at {_MOST_ROWS} dimensions and {_MOST_COLUMNS} numbers "
        "of factors, up to the one with most points, at the init_bound with most",
        "vq: every codebook_size at the same dimension x factors and init_bound",
        "kmeans, if it is complete: all points at the same dimension x factors",
    ),
)
def rate_distortion(selection: Selection) -> Drawn:
    """A row for each dimension, a column for each number of factors."""
    vq, dvq, kmeans = selection["vq"], selection["dvq"], selection.grid("kmeans")
    dimensions, factors = dvq.axes["dimension"], dvq.axes["factors"]
    tables = {grid.quantizer: _with_rates(grid.means("loss_over_variance")) for grid in selection.grids}
    variance = vq.usable.groupby(["dimension", "factors"])["data_variance"].mean()
    sheet = Sheet(
        [f"D = {number(dimension)}, F = {number(f)}" for dimension in dimensions for f in factors],
        columns=len(factors) if len(factors) > 1 else len(dimensions),
        inches=1.9 if len(dimensions) <= 2 else 1.6,
    )
    low, high = _limits([*pd.concat(list(tables.values()))["mean"].dropna(), *(_BLOB_VARIANCE / variance)])
    panels = iter(sheet.panels)
    for dimension in dimensions:
        here = {name: at(table, dimension=dimension) for name, table in tables.items()}
        most = 1.06 * float(pd.concat(list(here.values()))["rate"].max())
        for f in factors:
            panel = next(panels)
            panel.axes.set_xlim(0, most)
            panel.log_y(low, high)
            rates = np.linspace(0, most, 60)
            panel.line(rates.tolist(), (2 ** (-2 * rates)).tolist(), THEORY)
            if (dimension, f) in variance.index:
                panel.level((0, most), (_BLOB_VARIANCE / variance[dimension, f],) * 2)
            _draw_models(panel, {name: at(table, factors=f) for name, table in here.items()})
    size = f"K = {number(dvq.axes['codebook_size'][0])}, " if len(dvq.axes["codebook_size"]) == 1 else ""
    legend = [
        [handle(shared.vq_look(k), f"VQ, K = {number(k)}") for k in vq.axes["codebook_size"]],
        [handle(shared.dvq_look(s), f"DVQ, {size}L = {number(s)}") for s in dvq.axes["slices"]],
        [
            *([handle(as_yardstick(Look(colour=GREY)), "k-means, same K and L")] if kmeans else []),
            handle(_MORE_CODES, "more codes"),
            handle(_MORE_SLICES, "same K, more slices"),
        ],
        [handle(THEORY, "2^(−2R), Gaussian data"), level_handle("variance within a blob / variance of the data")],
    ]
    note = shared.note(
        selection,
        "R: bits of a vector's code / D. VQ: one codebook; DVQ: L slices with a codebook each; K: codebook size; D: "
        f"dimension; F: number of factors (blobs). {capitalised(shared.uniform(dvq.axes['init_bound'][0]))}.",
    )
    caption = (
        "Distortion over rate: test loss over the variance of the data, on a log scale, over bits per dimension. "
        "Solid: 2^(−2R), the distortion-rate function of Gaussian data of that variance. No data of that variance "
        "need a higher distortion where an ideal code of that rate codes many vectors together (Shannon): it bounds "
        "from above what is possible. It is no bound of these quantizers. They may lie above it, because they code one "
        "vector at a time with the codes that were learned, and below it, because blobs are easier to code than "
        "Gaussian data. Dotted: the error that is left where a code names the blob and says no more; with more bits "
        f"than that takes, codes part the blobs and go below it. {note}"
    )
    return sheet.finish(
        message=_message(tables), caption=caption,
        x_label="rate R (bits per dimension)", y_label="test loss /\nvariance of the data", legend=legend,
        footnote=note, y_limits=[(low, high)] * len(dimensions),
    )  # fmt: skip


def _message(tables: Mapping[str, pd.DataFrame]) -> str:
    """How often each quantizer does better than the curve of Gaussian data."""
    names = {"vq": "VQ", "dvq": "DVQ", "kmeans": "k-means"}
    counts = {names[name]: tally(table, 2 ** (-2 * table["rate"])) for name, table in tables.items()}
    parts = [f"{name} at {its.lower} of {its.of} points" for name, its in counts.items() if its.of]
    return said(f"below the curve of Gaussian data at the same rate lie {', '.join(parts)}")


def _draw_models(panel: Panel, tables: dict[str, pd.DataFrame]) -> None:
    """Every quantizer at its point, with paths from VQ to VQ as codes grow and from VQ to DVQ as slices do."""
    vq, dvq = tables["vq"].sort_values("rate"), tables["dvq"].sort_values("rate")
    panel.line(vq["rate"].tolist(), vq["mean"].tolist(), _MORE_CODES)
    for codes, points in dvq.groupby("codebook_size"):
        path = pd.concat([at(vq, codebook_size=codes), points])
        panel.line(path["rate"].tolist(), path["mean"].tolist(), _MORE_SLICES)
    for name in ("kmeans", "vq", "dvq"):
        for _, point in tables.get(name, vq[:0]).groupby(["codebook_size", "slices"]):
            size, slices = (float(point[column].iloc[0]) for column in ("codebook_size", "slices"))
            look = shared.dvq_look(slices) if slices > 1 else shared.vq_look(size)
            panel.points(point["rate"], point, as_yardstick(look) if name == "kmeans" else look)


def _with_rates(table: pd.DataFrame) -> pd.DataFrame:
    """The rate of every point, even of those without any cell; a plain VQ has one slice."""
    slices: Any = table.get("slices", 1)
    return table.assign(slices=slices, rate=slices * np.log2(table["codebook_size"]) / table["dimension"])


def _limits(values: Sequence[float]) -> tuple[float, float]:
    """Around the values and 1, with equal room in print."""
    low, high = min(*values, 0.9), max(*values, 1.0)
    if low <= 0:
        raise UnfitError(f"a distortion of {low:g} has no place on a log axis")
    return scales.limits(low, high, is_log=True, room=0.07)
