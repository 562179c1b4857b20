"""What a training of each model costs, by the device that it ran on."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from ...data.needs import Grid
from ...data.selection import Metric, Selection, distinct_text
from ...known import (
    DATA_SET,
    DURATION,
    LEARNED_TRAINING,
    MEMORY,
    MODEL,
    PARAMETERS,
    RAN_ON,
    SPEED,
    UNIFORM_CODES,
)
from ...output.products import Product, UnfitError, table_product
from ...output.tables import Column, Section, Table
from . import words
from .models import DataSet, data_sets_of, model_of, varying_in

_SECONDS = "seconds_per_1000_steps"
_BITS = "code_bits_per_image_uniform"
_MEBIBYTES = "peak_memory_mebibytes"


def _seconds_of_steps(rows: pd.DataFrame) -> pd.Series[float]:
    return 1000 * rows["batch_size"].astype(float) / rows[SPEED]


def _bits_of_image(rows: pd.DataFrame) -> pd.Series[float]:
    return rows[UNIFORM_CODES] * 3 * rows["image_size"].astype(float) ** 2


def _mebibytes(rows: pd.DataFrame) -> pd.Series[float]:
    return rows[MEMORY].astype(float) / 2**20


_METRICS: dict[str, Metric] = {
    PARAMETERS: PARAMETERS,
    _BITS: _bits_of_image,
    SPEED: SPEED,
    _SECONDS: _seconds_of_steps,
    DURATION: DURATION,
    _MEBIBYTES: _mebibytes,
}
_HEADINGS = {
    PARAMETERS: "parameters",
    _BITS: "bits of codes, per image",
    SPEED: "images/s",
    _SECONDS: "seconds, per 1,000 steps",
    DURATION: "seconds, whole cell",
    _MEBIBYTES: "peak memory, MiB",
}
_EXACT = (PARAMETERS, _BITS)
"""Numbers that follow from the model and have no interval."""


@dataclass(frozen=True, kw_only=True)
class _Line:
    """A model at a data set, on one device with one set of versions."""

    images: DataSet
    device: str
    versions: str
    """JSON, as stored."""
    grid: Grid
    numbers: dict[str, dict[Any, Any]]
    """By column: the row of `Selection.points`."""


def make_cost(selection: Selection) -> Product:
    """A section for each data set, device and set of versions; in it a row for each model.

    Raises `UnfitError` where the models of a data set were not trained alike.
    """
    _refuse_unlike(selection)
    lines = sorted(_lines(selection), key=lambda line: (line.images.image_size, line.images.dataset, line.device,
                                                        line.versions))  # fmt: skip
    varying = varying_in(model_of(grid) for grid in selection.grids)
    sections: dict[str, list[list[str]]] = {}
    for line in lines:
        title = _place(line, lines)
        n = next(iter(line.numbers.values()))
        count = f"{n['n']}" if n["n"] == n["wanted"] else f"{n['n']} of {n['wanted']}"
        cells = [_cell(line.numbers[column], exact=column in _EXACT) for column in _METRICS]
        sections.setdefault(title, []).append([model_of(line.grid).label(varying), *cells, count])
    columns = [
        Column(heading="model", is_text=True),
        *(Column(heading=heading) for heading in _HEADINGS.values()),
        Column(heading="n"),
    ]
    title = "Time and memory that a training takes, and bits that its codes take."
    notes = [
        "Bits of codes: under a uniform prior. Images/s and seconds per 1,000 steps: training alone; whole cell: with "
        "the evaluation of all images at its end, over all attempts. Memory: of the GPU, or on a CPU of the whole "
        "process, which may have run several cells after each other. Cells may have shared a machine with others. Rows "
        "of different devices or versions are never averaged.",
        "Means ± half of the 95% t-interval over the n seeds that ran there; no interval for a single one. "
        f"{words.note(selection)} {words.data_sets(selection)}.",
    ]
    table = Table(
        name="Cost",
        title=title,
        columns=columns,
        sections=[Section(title=place, rows=rows) for place, rows in sections.items()],
        notes=notes,
    )
    return table_product(table, _csv(lines, varying), "tab:cost", " ".join(["Cost.", title, *notes]))


def _refuse_unlike(selection: Selection) -> None:
    for images in data_sets_of(selection.grids):
        rows = selection.rows
        here = rows[(rows["dataset"] == images.dataset) & (rows["image_size"] == images.image_size)]
        for column in LEARNED_TRAINING:
            if len(values := distinct_text(here, column)) > 1:
                raise UnfitError(
                    f"{images.title}: unequal {column}, {', '.join(values)}; keep one with --only {column}=VALUE"
                )


def _lines(selection: Selection) -> Iterator[_Line]:
    for grid in selection.grids:
        tables = {column: grid.means(metric) for column, metric in _METRICS.items()}
        by_column = {column: table.to_dict("records") for column, table in tables.items()}
        for i, point in enumerate(by_column[PARAMETERS]):
            yield _Line(
                images=DataSet(**{column: point[column] for column in DATA_SET}),
                device=point[RAN_ON[0]],
                versions=point[RAN_ON[1]],
                grid=grid,
                numbers={column: points[i] for column, points in by_column.items()},
            )


def _place(line: _Line, lines: Sequence[_Line]) -> str:
    """`CIFAR-10 32×32 on Intel(R) Xeon(R) Processor, torch 2.13.0`, with all versions in which lines differ."""
    every = [json.loads(each.versions) for each in lines]
    own = json.loads(line.versions)
    told = [name for name in own if name == "torch" or len({versions.get(name) for versions in every}) > 1]
    return ", ".join([f"{line.images.title} on {line.device}", *(f"{name} {own[name]}" for name in told)])


def _cell(point: dict[Any, Any], *, exact: bool) -> str:
    """`76.1 ± 2.0`, with the digits that a number of its size is worth."""
    mean, half = point["mean"], point["high"] - point["mean"]
    if not point["n"]:
        return "missing"
    digits = 0 if exact or mean >= 1000 else 1 if mean >= 10 else 2
    text = f"{mean:,.{digits}f}"
    return text if exact or half != half else f"{text} ± {half:,.{digits}f}"


def _csv(lines: Sequence[_Line], varying: frozenset[str]) -> pd.DataFrame:
    """A row for each line of the table; all numbers in full, those of intervals included."""
    rows = []
    for line in lines:
        model, first = model_of(line.grid), line.numbers[PARAMETERS]
        row: dict[str, Any] = {"model": model.label(varying), **{column: getattr(model, column) for column in MODEL}}
        row |= {**vars(line.images), RAN_ON[0]: line.device, RAN_ON[1]: line.versions}
        row |= {column: first[column] for column in ("n", "wanted")}
        for column, point in line.numbers.items():
            row[column] = point["mean"]
            if column not in _EXACT:
                row |= {f"{column}_low": point["low"], f"{column}_high": point["high"]}
        rows.append(row)
    return pd.DataFrame(rows)
