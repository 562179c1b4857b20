"""What fits cost: seconds, microseconds a training step, fits in an hour of a core."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from ...data.declared import label_of
from ...data.needs import Grid, at, axes_of, distinct, ever_run
from ...data.points import RAN_ON
from ...data.selection import Selection
from ...items import table
from ...naming import number
from ...output.product import Product, table_product
from ...output.tables import Section, Table, columns_of
from ...output.words import caveats
from . import _shared as shared

_QUANTIZERS = ("vq", "dvq", "kmeans")
_MODEL = ["quantizer", "codebook_size", "slices"]
_TRAINING = ["steps", "batch_size", "train_samples"]
_MACHINE = [*RAN_ON]
_UNKNOWN = "unknown device"
_EMPTY = "–"
_MEASURES = {
    "median_seconds": "median seconds of a fit",
    "median_step_microseconds": "median microseconds of a training step",
    "fits_per_core_hour": "fits per core hour",
}


def _grids(rows: pd.DataFrame) -> Sequence[Grid]:
    grids = []
    for quantizer in _QUANTIZERS:
        here = at(rows, quantizer=quantizer)
        bounds = ["init_bound"] if quantizer != "kmeans" else []
        if len(here):
            axes = axes_of(here, "dimension", "codebook_size", "slices", "factors", *bounds)
            grids.append(Grid(quantizer=quantizer, axes=axes, keep=ever_run(here, [*axes])))
    return grids


@table(
    "What fits cost by quantizer, dimension, codebook size and slices, on each machine",
    shared.static_prior_needs(
        ("duration_seconds",),
        _grids,
        "vq, dvq and kmeans: every point that has a row",
        seeds_by=("dimension", "codebook_size", "slices", "factors"),
        others=RAN_ON,
        draws=("steps", "batch_size", "train_samples"),
    ),
)
def static_prior_cost(selection: Selection) -> Product:
    """A section for each machine and measure; rows: quantizers, columns: dimensions. The CSV has all of it."""
    content = _digest(_costs(selection, _TRAINING[:-1]), selection)
    return table_product(content, _costs(selection, _TRAINING), "tab:static-prior-cost")


def _costs(selection: Selection, training: Sequence[str]) -> pd.DataFrame:
    """A row for each machine, quantizer, codebook size, slices, dimension and training."""
    rows, by = selection.rows, [*_MODEL, "dimension", *training]
    machine = [name for name in _MACHINE if name in rows]
    seconds = rows["duration_seconds"].where(selection.is_usable)
    costs = rows[[*machine, *by]].assign(seconds=seconds, microseconds=1e6 * seconds / rows["steps"])
    groups = costs.groupby([*machine, *by], dropna=False, observed=True)
    found = groups.agg(
        fits=("seconds", "count"),
        median_seconds=("seconds", "median"),
        total_seconds=("seconds", "sum"),
        median_step_microseconds=("microseconds", "median"),
    )
    found = found[found["fits"] > 0].reset_index()
    found = found.assign(fits_per_core_hour=3600 * found["fits"] / found["total_seconds"])
    ran_on = {name: found[name].astype("str").fillna(_UNKNOWN) if name in found else _UNKNOWN for name in _MACHINE}
    found = pd.DataFrame({**ran_on, **found.drop(columns=machine)})
    order = [_QUANTIZERS.index(quantizer) for quantizer in found["quantizer"]]
    found = found.assign(order=order).sort_values([*_MACHINE, "order", *by[1:]], ignore_index=True)
    return found.drop(columns="order").astype(dict.fromkeys(training, "Int64"))


def _digest(costs: pd.DataFrame, selection: Selection) -> Table:
    dimensions = distinct(costs, "dimension")
    machines = list(dict.fromkeys(costs[_MACHINE].itertuples(index=False, name=None)))
    marks = [f"[{i}]" if len(machines) > 1 else "" for i in range(1, len(machines) + 1)]
    sections = []
    for mark, machine in zip(marks, machines, strict=True):
        here = at(costs, **dict(zip(_MACHINE, machine, strict=True)))
        for measure, words in _MEASURES.items():
            rows = _rows(here.dropna(subset=[measure]), measure, dimensions)
            if rows:
                sections.append(Section(title=f"{words}, {machine[0]} {mark}".strip(), rows=rows))
    note = (
        f"From {int(costs['fits'].sum()):,} fits, all numbers of factors and all initial bounds together; the CSV "
        "parts them by the vectors that they were trained on. Seconds: wall time of a fit on one core, its data "
        "included, beside whatever else ran on the machine. Step: the seconds of a fit over its steps. Fits per core "
        "hour: 3600 over the mean of the seconds. A stroke parts fits of several steps or batches. K: codebook size; "
        "L: slices; D: dimension. "
        f"{shared.training(selection)}"
    )
    ran_on = [f"{mark} {_versions(versions)}.".strip() for mark, (_, versions) in zip(marks, machines, strict=True)]
    return Table(
        name="Cost",
        title="What fits of the static prior cost.",
        columns=columns_of(["quantizer"], [f"D = {number(dimension)}" for dimension in dimensions]),
        sections=sections,
        notes=[text for text in (note, *ran_on, caveats(selection)) if text],
    )


def _versions(text: str) -> str:
    """`python 3.11.7, torch 2.13.0+cpu`."""
    if text == _UNKNOWN:
        return "Versions unknown"
    return ", ".join(f"{name} {version}" for name, version in json.loads(text).items())


def _rows(costs: pd.DataFrame, measure: str, dimensions: Sequence[int]) -> list[list[str]]:
    rows = []
    for _, here in costs.groupby(_MODEL, sort=False):
        quantizer, size, slices = here[_MODEL].iloc[0]
        name = f"{label_of(quantizer)}, K = {number(size)}{f', L = {number(slices)}' if slices > 1 else ''}"
        by_dimension = here.groupby("dimension")[measure].apply(lambda each: " / ".join(map(three_digits, each)))
        rows.append([name, *(by_dimension.get(dimension, _EMPTY) for dimension in dimensions)])
    return rows


def three_digits(value: float) -> Any:
    """`0.0213`, `3.37`, `1,070`."""
    digits = 2 - int(np.floor(np.log10(value))) if value > 0 else 0
    return f"{round(value, digits):,.{max(0, digits)}f}"
