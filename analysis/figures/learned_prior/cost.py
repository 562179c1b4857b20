"""What a training of each model costs, by the device that it ran on."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from ...data.needs import Grid, Needs, axes_of, ever_run
from ...data.points import RAN_ON
from ...data.selection import Metric, Selection
from ...items import table
from ...naming import plus_minus
from ...output.product import Product, table_product
from ...output.tables import Section, Table, columns_of
from . import _shared as shared
from ._columns import DATA_SET, MEMORY, MODEL, PARAMETERS, SPEED, UNIFORM_CODES
from ._models import DataSet, Model, labels_of, model_of

_BITS, DURATION = "code_bits_per_image_uniform", "duration_seconds"
_METRICS: dict[str, tuple[str, Metric]] = {
    PARAMETERS: ("parameters", PARAMETERS),
    _BITS: ("bits of codes, per image",
            lambda rows: rows[UNIFORM_CODES] * 3 * rows["image_size"].astype(float) ** 2),
    SPEED: ("images/s", SPEED),
    "seconds_per_1000_steps": ("seconds, per 1,000 steps",
                               lambda rows: 1000 * rows["batch_size"].astype(float) / rows[SPEED]),
    DURATION: ("seconds, whole cell", DURATION),
    "peak_memory_mebibytes": ("peak memory, MiB", lambda rows: rows[MEMORY].astype(float) / 2**20),
}  # fmt: skip
"""Headings and numbers by column of the CSV."""
_EXACT = (PARAMETERS, _BITS)
"""Numbers that follow from the model and have no interval."""


def _grids(rows: pd.DataFrame) -> Sequence[Grid]:
    """A point for each device and set of versions: their costs are no repetitions of each other."""
    grids = []
    for grid in shared.model_grids(rows):
        here = grid.rows(rows)
        axes = {**grid.axes, "quantizer": (grid.quantizer,), **axes_of(here, *RAN_ON)}
        grids.append(replace(grid, axes=axes, keep=ever_run(here, (*DATA_SET, *RAN_ON))))
    return grids


@dataclass(frozen=True, kw_only=True)
class _Line:
    """A model at a data set, on one device with one set of versions."""

    images: DataSet
    device: str
    versions: str
    """JSON, as stored."""
    model: Model
    label: str
    numbers: Mapping[str, Mapping[Any, Any]]
    """By column: the row of `SelectedGrid.means`."""


@table(
    "Cost of every model on each device: seconds, images per second, memory, parameters, bits of the codes",
    Needs(
        trainable="learned_prior",
        grids=(f"{shared.EVERY_MODEL}, on every run_device and with all run_versions that it has one of, "
               f"{shared.WHERE}",),
        choose=_grids,
        sweeps=shared.SWEEPS,
        # A point has the repetitions that ran there: those of a sweep may be spread over several devices.
        seeds_by=(*DATA_SET, *MODEL, *RAN_ON),
        least_repetitions=1,
        apart=DATA_SET,
        metrics=(SPEED, DURATION, MEMORY, PARAMETERS, UNIFORM_CODES),
    ),
)  # fmt: skip
def cost(selection: Selection) -> Product:
    """A section for each data set, device and set of versions; in it a row for each model."""
    lines = sorted(_lines(selection), key=lambda line: (line.images.image_size, line.images.dataset, line.device,
                                                        line.versions))  # fmt: skip
    sections: dict[str, list[list[str]]] = {}
    for line in lines:
        n = line.numbers[PARAMETERS]
        count = f"{n['n']}" if n["n"] == n["wanted"] else f"{n['n']} of {n['wanted']}"
        cells = [_cell(point, exact=column in _EXACT) for column, point in line.numbers.items()]
        sections.setdefault(_place(line, lines), []).append([line.label, *cells, count])
    title = "Time and memory that a training takes, and bits that its codes take."
    notes = [
        "Bits of codes: under a uniform prior. Images/s and seconds per 1,000 steps: training alone; whole cell: with "
        "the evaluation of all images at its end, over all attempts. Memory: of the GPU, or on a CPU of the whole "
        "process, which may have run several cells after each other. Cells may have shared a machine with others. Rows "
        "of different devices or versions are never averaged.",
        "Means ± half of the 95% t-interval over the n seeds that ran there; no interval for a single one. "
        f"{shared.table_note(selection)}",
    ]
    content = Table(
        name="Cost", title=title, notes=notes,
        columns=columns_of(["model"], [*(heading for heading, _ in _METRICS.values()), "n"]),
        sections=[Section(title=place, rows=rows) for place, rows in sections.items()],
    )  # fmt: skip
    return table_product(content, _csv(lines), "tab:cost", " ".join(["Cost.", title, *notes]))


def _lines(selection: Selection) -> Iterator[_Line]:
    for grid, label in zip(selection.grids, labels_of(selection.grids), strict=True):
        numbers = {column: grid.means(metric).to_dict("records") for column, (_, metric) in _METRICS.items()}
        for i, point in enumerate(grid.points):
            yield _Line(
                images=DataSet(**{column: point[column] for column in DATA_SET}), device=point[RAN_ON[0]],
                versions=point[RAN_ON[1]], model=model_of(grid), label=label,
                numbers={column: points[i] for column, points in numbers.items()},
            )  # fmt: skip


def _place(line: _Line, lines: Sequence[_Line]) -> str:
    """`CIFAR-10 32×32 on Intel(R) Xeon(R) Processor, torch 2.13.0`, with all versions in which lines differ."""
    every = [json.loads(each.versions) for each in lines]
    own = json.loads(line.versions)
    named = [name for name in own if name == "torch" or len({versions.get(name) for versions in every}) > 1]
    return ", ".join([f"{line.images.title} on {line.device}", *(f"{name} {own[name]}" for name in named)])


def _cell(point: Mapping[Any, Any], *, exact: bool) -> str:
    """`76.1 ± 2.0`, with the digits that a number of its size is worth."""
    mean, half = point["mean"], point["high"] - point["mean"]
    if not point["n"]:
        return "missing"
    digits = 0 if exact or mean >= 1000 else 1 if mean >= 10 else 2
    if mean and abs(mean) < 10.0**-digits:
        return f"{mean:.3g}" if half != half else plus_minus(mean, half, digits)
    text = f"{mean:,.{digits}f}"
    return text if exact or half != half else f"{text} ± {half:,.{digits}f}"


def _csv(lines: Sequence[_Line]) -> pd.DataFrame:
    """A row for each line of the table; all numbers in full, those of intervals included."""
    rows = []
    for line in lines:
        row: dict[str, Any] = {"model": line.label, **vars(line.model), **vars(line.images)}
        row |= {RAN_ON[0]: line.device, RAN_ON[1]: line.versions}
        row |= {column: line.numbers[PARAMETERS][column] for column in ("n", "wanted")}
        for column, point in line.numbers.items():
            row[column] = point["mean"]
            if column not in _EXACT:
                row |= {f"{column}_low": point["low"], f"{column}_high": point["high"]}
        rows.append(row)
    return pd.DataFrame(rows)
