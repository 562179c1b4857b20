"""The numbers behind Figures 3(a) and 4 as tables."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from ...data.declared import label_of
from ...data.needs import at
from ...data.selection import SelectedGrid, Selection
from ...items import table
from ...naming import listed, number, plus_minus
from ...output.numbers import declared_numbers
from ...output.product import Product, table_product
from ...output.tables import Section, Table, columns_of
from ...output.words import capitalised
from . import _shared as shared

_METRICS = ("test_mse", "loss_over_variance", "data_variance", "bits_per_vector", "codebook_parameters")
_EMPTY = "–"
_LEGEND = (
    "Test loss: mean squared error per dimension. K: codebook size; L: slices, each with a codebook of its own; bits: "
    "of the code of one vector."
)


@table(
    "Test loss of VQ and DVQ by the number of factors, with bits and parameters: the numbers of Figure 4",
    shared.static_prior_needs(_METRICS, shared.dvq_grids, *shared.DVQ_GRIDS),
)
def static_prior_table(selection: Selection) -> Product:
    """Rows: quantizers, in a section for each dimension; columns: numbers of factors."""
    dvq = selection["dvq"]
    factors = dvq.axes["factors"]
    sections = []
    for dimension in dvq.axes["dimension"]:
        models = [m for grid in selection.grids for m in _models(at(_points(grid), dimension=dimension))]
        rows = [[*_model(one), _once(one, "codebook_parameters"), *_losses(one, "factors", factors)] for one in models]
        sections.append(Section(title=f"D = {number(dimension)}", rows=rows))
    note = (
        f"{_LEGEND} Parameters: K × D, whatever the slices. "
        f"{capitalised(shared.uniform(dvq.axes['init_bound'][0]))}."
    )  # fmt: skip
    content = Table(
        name="Losses by factors",
        title="Test loss of VQ and DVQ by the number of factors F behind the data (the numbers of Figure 4).",
        columns=[*columns_of(["quantizer"], ["bits", "parameters"]),
                 *columns_of(numbers=[f"F = {number(f)}" for f in factors], group="test loss")],
        sections=sections,
        notes=[shared.note(selection, note, intervals="± half of the 95% t-interval")],
    )  # fmt: skip
    return table_product(content, declared_numbers(selection), "tab:static-prior-factors")


@table(
    "Test loss of VQ by dimension and initial bound: the numbers of Figure 3(a)",
    shared.static_prior_needs(_METRICS, shared.vq_grids, *shared.VQ_GRIDS),
)
def static_prior_table_dimensions(selection: Selection) -> Product:
    """Rows: codebook sizes, in a section for each bound and one for k-means; columns: dimensions."""
    vq = selection["vq"]
    dimensions = vq.axes["dimension"]
    sections = []
    for grid in selection.grids:
        points = _points(grid)
        for bound in grid.axes.get("init_bound", (None,)):
            here = points if bound is None else at(points, init_bound=bound)
            rows = [[*_model(one), *_losses(one, "dimension", dimensions)] for one in _models(here)]
            sections.append(Section(title="k-means" if bound is None else shared.uniform(bound), rows=rows))
    note = f"{_LEGEND} F = {number(vq.axes['factors'][0])} factors (Gaussian blobs)."
    content = Table(
        name="Losses by dimension",
        title="Test loss of VQ by the dimension D of the data and where codes start (the numbers of Figure 3a).",
        columns=[*columns_of(["quantizer"], ["bits"]),
                 *columns_of(numbers=[f"D = {number(dimension)}" for dimension in dimensions], group="test loss")],
        sections=sections,
        notes=[shared.note(selection, note, intervals="± half of the 95% t-interval")],
    )  # fmt: skip
    return table_product(content, declared_numbers(selection), "tab:static-prior-dimensions")


def _points(grid: SelectedGrid) -> pd.DataFrame:
    """A row for each point: numbers of the test loss, and what a model's columns say."""
    points = grid.means("test_mse")
    about = {name: grid.means(name)["mean"] for name in ("bits_per_vector", "codebook_parameters")}
    return points.assign(quantizer=grid.quantizer, slices=points.get("slices", 1), **about)


def _models(points: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """The points of each quantizer, by codebook size and slices."""
    return (one for _, one in points.groupby(["codebook_size", "slices"]))


def _model(points: pd.DataFrame) -> list[str]:
    """`DVQ, K = 16, L = 2` and its bits."""
    first = points.iloc[0]
    slices = f", L = {number(first['slices'])}" if first["quantizer"] == "dvq" else ""
    name = f"{label_of(first['quantizer'])}, K = {number(first['codebook_size'])}{slices}"
    return [name, _once(points, "bits_per_vector")]


def _once(points: pd.DataFrame, column: str) -> str:
    """The number that all points of a model share; a dash where none of them has it."""
    found = points[column].dropna().unique()
    return f"{found[0]:,.0f}" if len(found) and float(found[0]).is_integer() else listed(found) or _EMPTY


def _losses(points: pd.DataFrame, axis: str, values: Sequence[Any]) -> list[str]:
    """`26.43 ± 0.05` at each value, with more places where the interval is narrow.

    A word where a number is missing, a dash where there need be none.
    """
    by_value = {point[axis]: point for point in points.to_dict("records")}
    return [_loss(by_value[value]) if value in by_value else _EMPTY for value in values]


def _loss(point: Mapping[Any, Any]) -> str:
    if not point["n"]:
        return "missing"
    few = f" (n = {point['n']})" if point["n"] < point["wanted"] else ""
    half = point["high"] - point["mean"]
    places = min(4, max(2, math.ceil(-math.log10(half)))) if half > 0 else 2
    return f"{plus_minus(point['mean'], half, places)}{few}"
