"""Figures 3(a), 3(b) and 4 of the paper.

Each takes a selection that its needs were held against and returns the figure and its caption.
"""

from __future__ import annotations

from fractions import Fraction

import pandas as pd
from matplotlib.figure import Figure

from ...data.needs import at
from ...data.selection import SelectedGrid, Selection
from ...draw.panels import Sheet, handle, level_handle
from ...draw.style import as_kmeans, as_untrained, dvq_look, kmeans_look, vq_look
from ...naming import listed, number
from . import words
from .marks import ANY, DIMENSION, FACTORS, LOSS, sizes_legend


def draw_figure3a(selection: Selection) -> tuple[Figure, str]:
    """Test loss over the dimension: a panel for each initial bound, a line for each codebook size."""
    vq, kmeans = selection["vq"], selection.grid("kmeans")
    sizes, dimensions, bounds = (vq.axes[axis] for axis in ("codebook_size", "dimension", "init_bound"))
    losses = selection["vq"].means("test_mse")
    yardstick = selection["kmeans"].means("test_mse") if kmeans else None
    variance = vq.usable.groupby("dimension")["data_variance"].mean()
    titles = [words.uniform(bound) for bound in bounds]
    sheet = Sheet(titles, columns=2 if len(bounds) in (2, 4) else 3, panel_inches=2.1)
    for panel, bound in zip(sheet.panels, bounds, strict=True):
        panel.log_x(dimensions)
        panel.level(list(variance.index), list(variance))
        if yardstick is not None:
            for size in sizes:
                points = at(yardstick, codebook_size=size)
                panel.points(points["dimension"], points, kmeans_look(size))
        for size in sizes:
            points = at(losses, codebook_size=size, init_bound=bound)
            panel.points(points["dimension"], points, vq_look(size))
    legend = [
        sizes_legend(sizes),
        [
            handle(ANY, "VQ, trained by gradient"),
            *([handle(as_kmeans(ANY), "k-means, same K")] if kmeans else []),
            level_handle("predicting the mean: variance of the data"),
        ],
    ]
    note = words.note(selection, f"F = {listed(vq.axes['factors'])} factors (Gaussian blobs).")
    caption = (
        "Figure 3(a). Test loss of a plain vector quantizer (VQ) over the dimension D of the data, for each "
        "codebook size K and each range of initial codes. "
        f"{'Dashed: k-means with the same K. ' if kmeans else ''}{words.VARIANCE} {note}"
    )
    figure = sheet.finish(x_label=DIMENSION, y_label=LOSS, legend=legend, footnote=note)
    return figure, caption


def draw_figure3b(selection: Selection) -> tuple[Figure, str]:
    """Loss over variance where codes are fewer than factors: a column for each dimension, a row for each bound."""
    vq = selection["vq"]
    sizes, dimensions, bounds = (vq.axes[axis] for axis in ("codebook_size", "dimension", "init_bound"))
    trained = selection["vq"].means("loss_over_variance")
    untrained = selection["vq"].means(_untrained_over_variance)
    ratios = sorted({Fraction(int(point["codebook_size"]), int(point["factors"])) for point in vq.points})
    pairs = [(bound, dimension) for bound in bounds for dimension in dimensions]
    columns = min(len(dimensions), 3)
    is_narrow = columns > 2
    start = {bound: f"start in ±{number(bound)}" if is_narrow else words.uniform(bound) for bound in bounds}
    titles = [f"D = {number(dimension)}, {start[bound]}" for bound, dimension in pairs]
    rows_alike = len(bounds) == 1 or columns < len(dimensions)
    sheet = Sheet(titles, columns=columns, panel_inches=1.8 if len(bounds) <= 2 else 1.3)
    for panel, (bound, dimension) in zip(sheet.panels, pairs, strict=True):
        panel.log_x([float(ratio) for ratio in ratios], [str(ratio) for ratio in ratios], most=7)
        panel.level(panel.axes.get_xlim(), (1.0, 1.0))
        for size in sizes:
            before = at(untrained, codebook_size=size, dimension=dimension, init_bound=bound)
            after = at(trained, codebook_size=size, dimension=dimension, init_bound=bound)
            ratio = after["codebook_size"] / after["factors"]
            panel.points(ratio, before, as_untrained(vq_look(size)), hollow=True)
            panel.points(ratio, after, vq_look(size))
    legend = [
        sizes_legend(sizes),
        [
            handle(ANY, "trained codebook"),
            handle(as_untrained(ANY), "untrained codebook", hollow=True),
            level_handle("predicting the mean of the data"),
        ],
    ]
    starts = "; start: where initial codes lie, uniformly" if is_narrow else ""
    note = words.note(selection, f"D: dimension; F = {listed(vq.axes['factors'])} factors, with K < F{starts}.")
    caption = (
        "Figure 3(b). Test loss of a plain vector quantizer, relative to the variance of the data, where its "
        "codes K are fewer than the factors F. Two readings of 'random': predicting the mean of the data "
        "(dotted, 1) and the codebook before training (hollow). "
        f"{'' if rows_alike else 'Each row has a scale of its own. '}{note}"
    )
    figure = sheet.finish(
        x_label="codes per factor, K / F",
        y_label="test loss /\nvariance of the data",
        legend=legend,
        footnote=note,
        rows_alike=rows_alike,
    )
    return figure, caption


def draw_figure4(selection: Selection) -> tuple[Figure, str]:
    """Test loss over the number of factors: DVQ against VQ with equal and with larger codebooks."""
    vq, dvq, kmeans = selection["vq"], selection["dvq"], selection.grid("kmeans")
    dimensions, factors, slices = (dvq.axes[axis] for axis in ("dimension", "factors", "slices"))
    sizes, size = vq.axes["codebook_size"], dvq.axes["codebook_size"][0]
    tables = {grid.quantizer: selection[grid.quantizer].means("test_mse") for grid in selection.grids}
    variance = vq.usable.groupby(["dimension", "factors"])["data_variance"].mean()
    titles = [f"dimension D = {number(dimension)}" for dimension in dimensions]
    sheet = Sheet(titles, columns=3, panel_inches=2.5 if len(titles) <= 6 else 1.9)  # three rows fit a page
    for panel, dimension in zip(sheet.panels, dimensions, strict=True):
        panel.log_x(factors)
        known = [f for f in factors if (dimension, f) in variance.index]
        panel.level(known, [variance[dimension, f] for f in known])
        here = {name: at(table, dimension=dimension) for name, table in tables.items()}
        models = [(here["kmeans"], kmeans_look(size))] if kmeans else []
        models += [(at(here["vq"], codebook_size=k), vq_look(k)) for k in sizes]
        models += [(at(here["dvq"], slices=s), dvq_look(s)) for s in slices]
        for points, look in models:
            panel.points(points["factors"], points, look)
    vq_bits, dvq_bits = _bits(selection, vq, "codebook_size"), _bits(selection, dvq, "slices")
    legend = [
        [handle(vq_look(k), f"VQ, K = {number(k)} ({vq_bits[k]} bits)") for k in sizes],
        [handle(dvq_look(s), f"DVQ, K = {number(size)}, L = {number(s)} ({dvq_bits[s]} bits)") for s in slices],
        [
            *([handle(kmeans_look(size), f"k-means, K = {number(size)}")] if kmeans else []),
            level_handle("predicting the mean: variance of the data"),
        ],
    ]
    note = words.note(
        selection,
        "VQ: one codebook; DVQ: L slices, each with a codebook of its own; K: codebook size; bits: of the code of "
        f"one vector. {words.uniform(dvq.axes['init_bound'][0]).capitalize()}.",
    )
    caption = (
        "Figure 4. Test loss over the number of factors F behind the data: depthwise quantizers (DVQ) with "
        f"K = {number(size)} against plain ones (VQ) with the same and with larger codebooks. "
        f"{words.VARIANCE} {note}"
    )
    figure = sheet.finish(x_label=FACTORS, y_label=LOSS, legend=legend, footnote=note)
    return figure, caption


def _untrained_over_variance(rows: pd.DataFrame) -> pd.Series[float]:
    return rows["untrained_test_mse"] / rows["data_variance"]


def _bits(selection: Selection, grid: SelectedGrid, column: str) -> dict[float, str]:
    """`bits_per_vector` by that column; '?' where no cell of it is of use."""
    bits = grid.usable.groupby(column)["bits_per_vector"].first()
    return {value: number(bits[value]) if value in bits.index else "?" for value in grid.axes[column]}
