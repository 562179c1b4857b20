"""The numbers behind Figures 3(a) and 4 as tables."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from ...data.needs import at
from ...data.selection import SelectedGrid, Selection
from ...known import QUANTIZERS
from ...naming import listed, number
from ...output.numbers import declared_numbers
from ...output.products import Product, table_product
from ...output.tables import Column, Section, Table
from . import words
from .needs import figure3a_grids, figure4_grids, static_prior_needs

_METRICS = ("test_mse", "loss_over_variance", "data_variance", "bits_per_vector", "codebook_parameters")

DIMENSIONS_TABLE = static_prior_needs(
    metrics=_METRICS,
    grids=(
        "vq: every dimension x codebook_size x init_bound, at the factors with most dimension x codebook_size pairs",
        "kmeans, if any is stored: the same dimension x codebook_size, slices=1",
    ),
    choose=figure3a_grids,
)
FACTORS_TABLE = static_prior_needs(
    metrics=_METRICS,
    grids=(
        "dvq: every dimension x factors x slices (that divide it), at the codebook_size and init_bound with most",
        "vq: the same dimension x factors and init_bound, with the codebook_size of dvq and the two largest above it",
        "kmeans, if it is complete: the same dimension x factors, with the codebook_size of dvq, slices=1",
    ),
    choose=figure4_grids,
)


_EMPTY = "–"
_LEGEND = (
    "Test loss: mean squared error per dimension. K: codebook size; L: slices, each with a codebook of its own; bits: "
    "of the code of one vector."
)


def make_factors_table(selection: Selection) -> Product:
    """Rows: quantizers, in a section for each dimension; columns: numbers of factors."""
    dvq = selection["dvq"]
    factors = dvq.axes["factors"]
    sections = [
        Section(
            title=f"D = {number(dimension)}",
            rows=[
                [*_model_cells(points), _once(points, "codebook_parameters"), *_losses(points, "factors", factors)]
                for grid in selection.grids
                for _, points in _models(at(_points(selection, grid), dimension=dimension))
            ],
        )
        for dimension in dvq.axes["dimension"]
    ]
    table = _table(
        selection,
        name="Losses by factors",
        title="Test loss of VQ and DVQ by the number of factors F behind the data (the numbers of Figure 4).",
        columns=["bits", "parameters"],
        losses=[f"F = {number(f)}" for f in factors],
        sections=sections,
        note=f"{_LEGEND} Parameters: K × D, whatever the slices. "
        f"{words.uniform(dvq.axes['init_bound'][0]).capitalize()}.",
    )
    return table_product(table, declared_numbers(selection), "tab:static-prior-factors")


def make_dimensions_table(selection: Selection) -> Product:
    """Rows: codebook sizes, in a section for each bound and one for k-means; columns: dimensions."""
    vq = selection["vq"]
    dimensions = vq.axes["dimension"]
    sections = []
    for grid in selection.grids:
        points = _points(selection, grid)
        for bound in grid.axes.get("init_bound", (None,)):
            here = points if bound is None else at(points, init_bound=bound)
            rows = [[*_model_cells(one), *_losses(one, "dimension", dimensions)] for _, one in _models(here)]
            sections.append(Section(title=words.uniform(bound) if bound is not None else "k-means", rows=rows))
    table = _table(
        selection,
        name="Losses by dimension",
        title="Test loss of VQ by the dimension D of the data and where codes start (the numbers of Figure 3a).",
        columns=["bits"],
        losses=[f"D = {number(dimension)}" for dimension in dimensions],
        sections=sections,
        note=f"{_LEGEND} F = {number(vq.axes['factors'][0])} factors (Gaussian blobs).",
    )
    return table_product(table, declared_numbers(selection), "tab:static-prior-dimensions")


def _points(selection: Selection, grid: SelectedGrid) -> pd.DataFrame:
    """A row for each point: numbers of the test loss, and what a model's columns say."""
    points = grid.means("test_mse")
    about = {name: grid.means(name)["mean"] for name in ("bits_per_vector", "codebook_parameters")}
    return points.assign(quantizer=grid.quantizer, slices=points.get("slices", 1), **about)


def _models(points: pd.DataFrame) -> Iterator[tuple[Any, pd.DataFrame]]:
    """The points of each quantizer, by codebook size and slices."""
    return iter(points.groupby(["codebook_size", "slices"]))


def _model_cells(points: pd.DataFrame) -> list[str]:
    """`DVQ, K = 16, L = 2` and its bits."""
    first = points.iloc[0]
    slices = f", L = {number(first['slices'])}" if first["quantizer"] == "dvq" else ""
    name = f"{QUANTIZERS[first['quantizer']]}, K = {number(first['codebook_size'])}{slices}"
    return [name, _once(points, "bits_per_vector")]


def _once(points: pd.DataFrame, column: str) -> str:
    """The number that all points of a model share; a dash where none of them is there to tell."""
    found = points[column].dropna().unique()
    return f"{found[0]:,.0f}" if len(found) and float(found[0]).is_integer() else listed(found) or _EMPTY


def _losses(points: pd.DataFrame, axis: str, values: Sequence[Any]) -> list[str]:
    """`26.43 ± 0.05` at each value, with more places where the interval is narrow.

    A word where there ought to be a number, a dash where there need be none.
    """
    by_value = {point[axis]: point for point in points.to_dict("records")}
    return [_loss(by_value[value]) if value in by_value else _EMPTY for value in values]


def _loss(point: Mapping[Any, Any]) -> str:
    if not point["n"]:
        return "missing"
    few = f" (n = {point['n']})" if point["n"] < point["wanted"] else ""
    half = point["high"] - point["mean"]
    places = min(4, max(2, math.ceil(-math.log10(half)))) if half > 0 else 2
    return f"{point['mean']:.{places}f} ± {half:.{places}f}{few}"


def _table(
    selection: Selection,
    *,
    name: str,
    title: str,
    columns: Sequence[str],
    losses: Sequence[str],
    sections: Sequence[Section],
    note: str,
) -> Table:
    return Table(
        name=name,
        title=title,
        columns=[
            Column(heading="quantizer", is_text=True),
            *(Column(heading=heading) for heading in columns),
            *(Column(heading=heading, group="test loss") for heading in losses),
        ],
        sections=sections,
        notes=[words.note(selection, note, intervals="± half of the 95% t-interval")],
    )
