"""What fits cost: seconds, microseconds a training step, fits in an hour of a core."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from ...data.needs import Grid, distinct, ever_run
from ...data.selection import Selection
from ...known import QUANTIZERS
from ...naming import number
from ...output.products import Product, table_product
from ...output.tables import Column, Section, Table
from ...output.words import holes
from . import words
from .needs import static_prior_needs

_MODEL = ["quantizer", "codebook_size", "slices"]
_TRAINING = ["steps", "batch_size", "train_samples"]
_MACHINE = ["run_device", "run_versions"]
_UNKNOWN = "unknown device"
_EMPTY = "–"


def _grids(rows: pd.DataFrame) -> Sequence[Grid]:
    grids = []
    for quantizer in ("vq", "dvq", "kmeans"):
        here = rows[rows["quantizer"] == quantizer]
        bounds = ["init_bound"] if quantizer != "kmeans" else []
        names = ("dimension", "codebook_size", "slices", "factors", *bounds)
        if len(here):
            grids.append(_grid(quantizer, here, names))
    return grids


def _grid(quantizer: str, rows: pd.DataFrame, names: Sequence[str]) -> Grid:
    axes = {name: distinct(rows, name) for name in names}
    return Grid(quantizer=quantizer, axes=axes, keep=ever_run(rows, names))


COST = static_prior_needs(
    metrics=("duration_seconds",),
    grids=("vq, dvq and kmeans: every point that has a row",),
    choose=_grids,
    seeds_by=("dimension", "codebook_size", "slices", "factors"),
    others=("run_device", "run_versions"),
)


def make_cost_table(selection: Selection) -> Product:
    """A section for each machine and measure; rows: quantizers, columns: dimensions. The CSV has all of it."""
    table = _digest(_costs(selection, _TRAINING[:-1]), selection)
    return table_product(table, _costs(selection, _TRAINING), "tab:static-prior-cost")


def _costs(selection: Selection, training: Sequence[str]) -> pd.DataFrame:
    """A row for each machine, quantizer, codebook size, slices, dimension and training."""
    rows, by = selection.rows, [*_MODEL, "dimension", *training]
    machine = [name for name in _MACHINE if name in rows]
    seconds = rows["duration_seconds"].where(selection.is_usable)
    costs = rows[[*machine, *by]].assign(seconds=seconds, microseconds=1e6 * seconds / rows["steps"])
    groups = costs.groupby([*machine, *by], dropna=False, observed=True)
    table = groups.agg(
        fits=("seconds", "count"),
        median_seconds=("seconds", "median"),
        total_seconds=("seconds", "sum"),
        median_step_microseconds=("microseconds", "median"),
    )
    table = table[table["fits"] > 0].reset_index()
    table.insert(len(table.columns), "fits_per_core_hour", 3600 * table["fits"] / table["total_seconds"])
    told = {name: _told(table[name]) if name in table else _UNKNOWN for name in _MACHINE}
    table = pd.DataFrame({**told, **table.drop(columns=machine)})
    order = [list(QUANTIZERS).index(quantizer) for quantizer in table["quantizer"]]
    table = table.assign(order=order).sort_values([*_MACHINE, "order", *by[1:]], ignore_index=True)
    return table.drop(columns="order").astype(dict.fromkeys(training, "Int64"))


def _told(machine: pd.Series[str]) -> pd.Series[str]:
    return machine.astype("str").fillna(_UNKNOWN)


_MEASURES = {
    "median_seconds": "median seconds of a fit",
    "median_step_microseconds": "median microseconds of a training step",
    "fits_per_core_hour": "fits per core hour",
}


def _digest(costs: pd.DataFrame, selection: Selection) -> Table:
    dimensions = distinct(costs, "dimension")
    machines = dict.fromkeys(costs[_MACHINE].itertuples(index=False, name=None))
    sections = []
    for i, machine in enumerate(machines, 1):
        here = costs[(costs[_MACHINE] == list(machine)).all(axis=1)]
        mark = f" [{i}]" if len(machines) > 1 else ""
        for measure, words_of in _MEASURES.items():
            rows = _rows(here.dropna(subset=[measure]), measure, dimensions)
            if rows:
                sections.append(Section(title=f"{words_of}, {machine[0]}{mark}", rows=rows))
    fits = int(costs["fits"].sum())
    note = (
        f"From {fits:,} fits, all numbers of factors and all initial bounds together; the CSV parts them by the "
        "vectors that they were trained on. Seconds: wall time of a fit on one core, its data included, beside "
        "whatever else ran on the machine. Step: the seconds of a fit over its steps. Fits per core hour: 3600 over "
        "the mean of the seconds. A stroke parts fits of several steps or batches. K: codebook size; L: slices; D: "
        "dimension. "
        f"{words.training(selection)}"
    )
    notes = [note, *(f"{mark}{_versions(v)}." for mark, v in _marked(machines))]
    if lacking := holes(selection):
        notes.append(lacking)
    return Table(
        name="Cost",
        title="What fits of the static prior cost.",
        columns=[
            Column(heading="quantizer", is_text=True),
            *(Column(heading=f"D = {number(dimension)}") for dimension in dimensions),
        ],
        sections=sections,
        notes=notes,
    )


def _marked(machines: dict[tuple[Any, ...], None]) -> list[tuple[str, str]]:
    return [(f"[{i}] " if len(machines) > 1 else "", versions) for i, (_, versions) in enumerate(machines, 1)]


def _versions(text: str) -> str:
    """`python 3.11.7, torch 2.13.0+cpu`."""
    if text == _UNKNOWN:
        return "Versions unknown"
    return ", ".join(f"{name} {version}" for name, version in json.loads(text).items())


def _rows(costs: pd.DataFrame, measure: str, dimensions: Sequence[int]) -> list[list[str]]:
    rows = []
    for _, here in costs.groupby(_MODEL, sort=False):
        quantizer, size, slices = here[_MODEL].iloc[0]
        name = f"{QUANTIZERS[quantizer]}, K = {number(size)}{f', L = {number(slices)}' if slices > 1 else ''}"
        by_dimension = here.groupby("dimension")[measure].apply(lambda each: " / ".join(map(_three_digits, each)))
        rows.append([name, *(by_dimension.get(dimension, _EMPTY) for dimension in dimensions)])
    return rows


def _three_digits(value: float) -> str:
    """`0.0213`, `3.37`, `1,070`."""
    digits = max(0, 2 - int(np.floor(np.log10(value)))) if value > 0 else 0
    return f"{round(value, 2 - int(np.floor(np.log10(value)))) if value >= 1000 else value:,.{digits}f}"
