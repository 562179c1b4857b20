"""Distortion over rate: how much error a quantizer leaves for the bits that it sends."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ...data.needs import Grid, at, distinct, ever_run, most_held, spread
from ...data.selection import Selection
from ...draw.panels import Panel, Sheet, handle, level_handle
from ...draw.style import GREY, THEORY, Look, as_kmeans, dvq_look, vq_look
from ...naming import number
from . import words
from .needs import slices_divide, static_prior_needs

_MOST_COLUMNS, _MOST_ROWS = 3, 3
_MORE_CODES = Look(colour=vq_look(64).colour, width=0.7)
_MORE_SLICES = Look(colour=dvq_look(4).colour, width=0.7)
_BLOB_VARIANCE = 1.0
"""Of every feature within a blob: what is left of the error where a code names the blob and says no more."""


def _grids(rows: pd.DataFrame) -> Sequence[Grid]:
    vq, dvq = rows[rows["quantizer"] == "vq"], rows[rows["quantizer"] == "dvq"]
    if vq.empty or dvq.empty:
        return ()
    model = ["codebook_size", "slices"]
    bound = most_held(dvq, "init_bound", ["dimension", "factors", *model], ties="smallest")
    vq, dvq = vq[vq["init_bound"] == bound], dvq[dvq["init_bound"] == bound]
    kmeans = rows[rows["quantizer"] == "kmeans"]
    dimensions = spread([d for d in distinct(dvq, "dimension") if d in set(vq["dimension"])], _MOST_ROWS)
    together = [part[part["dimension"].isin(dimensions)] for part in (dvq, vq, kmeans)]
    if not dimensions:
        return ()
    most = most_held(pd.concat(together), "factors", ["quantizer", "dimension", *model], ties="largest")
    factors = spread([f for f in distinct(together[0], "factors") if f <= most], _MOST_COLUMNS)
    if not factors:
        return ()
    dvq, vq, kmeans = (part[part["factors"].isin(factors)] for part in together)
    shared = {"dimension": dimensions, "factors": factors}
    sliced = {"codebook_size": distinct(dvq, "codebook_size"), "slices": distinct(dvq, "slices")}
    return (
        Grid(
            quantizer="vq",
            axes={**shared, "codebook_size": distinct(vq, "codebook_size"), "init_bound": (bound,)},
        ),
        Grid(quantizer="dvq", axes={**shared, **sliced, "init_bound": (bound,)}, keep=slices_divide),
        Grid(
            quantizer="kmeans",
            axes={**shared, **{column: distinct(kmeans, column) for column in model}},
            presence="if complete",
            keep=ever_run(kmeans, [*shared, *model]),
        ),
    )


RATE_DISTORTION = static_prior_needs(
    metrics=("loss_over_variance", "data_variance", "bits_per_vector", "rate_curve_mse"),
    grids=(
        f"dvq: every codebook_size x slices (that divide it), at {_MOST_ROWS} dimensions and {_MOST_COLUMNS} numbers "
        "of factors, up to the one with most points, at the init_bound with most",
        "vq: every codebook_size at the same dimension x factors and init_bound",
        "kmeans, if it is complete: all points at the same dimension x factors",
    ),
    choose=_grids,
)


def draw_rate_distortion(selection: Selection) -> tuple[Figure, str]:
    """Loss over variance over bits a dimension: a row for each dimension, a column for each number of factors."""
    vq, dvq, kmeans = selection["vq"], selection["dvq"], selection.grid("kmeans")
    dimensions, factors = dvq.axes["dimension"], dvq.axes["factors"]
    tables = {grid.quantizer: _with_rates(selection[grid.quantizer].means("loss_over_variance"))
              for grid in selection.grids}  # fmt: skip
    variance = vq.usable.groupby(["dimension", "factors"])["data_variance"].mean()
    titles = [f"D = {number(dimension)}, F = {number(f)}" for dimension in dimensions for f in factors]
    sheet = Sheet(
        titles,
        columns=len(factors) if len(factors) > 1 else len(dimensions),
        panel_inches=1.9 if len(dimensions) <= 2 else 1.6,
    )
    low, high = _limits([*pd.concat(list(tables.values()))["mean"].dropna(), *(_BLOB_VARIANCE / variance)])
    for i, dimension in enumerate(dimensions):
        here = {name: at(table, dimension=dimension) for name, table in tables.items()}
        most = 1.06 * float(pd.concat(list(here.values()))["rate"].max())
        for panel, f in zip(sheet.panels[i * len(factors) :], factors, strict=False):
            panel.axes.set_xlim(0, most)
            panel.log_y(low, high)
            rates = np.linspace(0, most, 60)
            panel.line(rates.tolist(), (2 ** (-2 * rates)).tolist(), THEORY)
            if (dimension, f) in variance.index:
                panel.level((0, most), (_BLOB_VARIANCE / variance[dimension, f],) * 2)
            _draw_models(panel, {name: at(table, factors=f) for name, table in here.items()})
    legend = [
        [handle(vq_look(k), f"VQ, K = {number(k)}") for k in vq.axes["codebook_size"]],
        [handle(dvq_look(s), f"DVQ, {_sizes(dvq)}L = {number(s)}") for s in dvq.axes["slices"]],
        [
            *([handle(as_kmeans(Look(colour=GREY)), "k-means, same K and L")] if kmeans else []),
            handle(_MORE_CODES, "more codes"),
            handle(_MORE_SLICES, "same K, more slices"),
        ],
        [handle(THEORY, "2^(−2R), Gaussian data"), level_handle("variance within a blob / variance of the data")],
    ]
    note = words.note(
        selection,
        "R: bits of a vector's code / D. VQ: one codebook; DVQ: L slices with a codebook each; K: codebook size; D: "
        f"dimension; F: number of factors (blobs). {words.uniform(dvq.axes['init_bound'][0]).capitalize()}.",
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
    figure = sheet.finish(
        x_label="rate R (bits per dimension)",
        y_label="test loss /\nvariance of the data",
        legend=legend,
        footnote=note,
        y_limits=[(low, high)] * len(dimensions),
    )
    return figure, caption


def _draw_models(panel: Panel, tables: dict[str, pd.DataFrame]) -> None:
    """Every quantizer at its point, with paths from VQ to VQ as codes grow and from VQ to DVQ as slices do."""
    vq, dvq = tables["vq"].sort_values("rate"), tables["dvq"].sort_values("rate")
    panel.line(vq["rate"].tolist(), vq["mean"].tolist(), _MORE_CODES)
    for size, points in dvq.groupby("codebook_size"):
        path = pd.concat([vq[vq["codebook_size"] == size], points])
        panel.line(path["rate"].tolist(), path["mean"].tolist(), _MORE_SLICES)
    for _, point in (tables["kmeans"] if "kmeans" in tables else vq[:0]).groupby(["codebook_size", "slices"]):
        panel.points(point["rate"], point, as_kmeans(_look(point)))
    for table in (vq, dvq):
        for _, point in table.groupby(["codebook_size", "slices"]):
            panel.points(point["rate"], point, _look(point))


def _look(point: pd.DataFrame) -> Look:
    slices, size = point["slices"].iloc[0], point["codebook_size"].iloc[0]
    return dvq_look(slices) if slices > 1 else vq_look(size)


def _with_rates(table: pd.DataFrame) -> pd.DataFrame:
    """The rate of every point, also of those that have no cell to tell it; a plain VQ has one slice."""
    slices: Any = table.get("slices", 1)
    return table.assign(slices=slices, rate=slices * np.log2(table["codebook_size"]) / table["dimension"])


def _sizes(grid: Grid) -> str:
    """`K = 16, ` where that is the only one."""
    sizes = grid.axes["codebook_size"]
    return f"K = {number(sizes[0])}, " if len(sizes) == 1 else ""


def _limits(values: Sequence[float]) -> tuple[float, float]:
    """Around the values and 1, with equal room in print."""
    low, high = min(*values, 0.9), max(*values, 1.0)
    room = (high / low) ** 0.07
    return low / room, high * room if math.isfinite(high) else 1.0
