"""Table 1 of the paper, with what it leaves out.

What the paper calls bits/dim is the decoder's cross-entropy alone. A bound on the likelihood needs the cost of the
codes too, so these are columns of their own, and published numbers stand in the column of what they measure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from ...data.selection import SelectedGrid, Selection
from ...known import (
    MODEL,
    RECONSTRUCTION,
    UNIFORM_CODES,
    UNIFORM_TOTAL,
    UNIGRAM_CODES,
    UNIGRAM_TOTAL,
)
from ...output.products import Product, table_product
from ...output.tables import Column, Section, Table
from . import published, words
from .models import DataSet, data_sets_of, model_of, varying_in

_EMPTY = "–"
_MEASURED = {
    RECONSTRUCTION: "reconstruction",
    UNIFORM_TOTAL: "+ codes, uniform prior",
    UNIGRAM_TOTAL: "+ codes, unigram prior",
}
"""Headings by column of the store."""
_LIKELIHOOD = "likelihood"
"""A column that has published numbers alone."""
_COLUMN_OF: dict[published.Measure, str] = {
    "reconstruction": RECONSTRUCTION,
    "unigram": UNIGRAM_TOTAL,
    "likelihood": _LIKELIHOOD,
}
_CSV_METRICS = (RECONSTRUCTION, UNIFORM_CODES, UNIGRAM_CODES, UNIFORM_TOTAL, UNIGRAM_TOTAL)


def make_table1(selection: Selection) -> Product:
    """Rows: models, then published works; columns: for each data set reconstruction, bounds, likelihoods."""
    table, caption = _table(selection)
    return table_product(table, _csv(selection), "tab:bits-per-dim", caption)


def _table(selection: Selection) -> tuple[Table, str]:
    data_sets = data_sets_of(selection.grids)
    works = _works(data_sets)
    parts = [(images, part) for images in data_sets for part in _parts(images, works)]
    headings = {**_MEASURED, _LIKELIHOOD: "likelihood, own prior"}
    columns = [
        Column(heading="model", is_text=True),
        Column(heading="parameters"),
        Column(heading="n"),
        *(Column(heading=headings[part], group=images.title) for images, part in parts),
        *([Column(heading="source", is_text=True)] if works else []),
    ]
    ours = [[*_our_row(selection, grid, data_sets, parts), *([""] if works else [])] for grid in selection.grids]
    theirs = [[work.name, "", "", *_their_cells(work, parts), f"[{i}]"] for i, work in enumerate(works, 1)]
    sections = [Section(title="trained here" if works else "", rows=ours)]
    sections += [Section(title="as published", rows=theirs)] if works else []
    title = "Bits per dimension of test images, with what the codes cost and without."
    notes = [
        f"Reconstruction: {words.RECONSTRUCTION}. + codes: with the cost of the codes added, under a uniform prior or "
        "under how often each code occurs in the training images: upper bounds on the negative log-likelihood. "
        f"{'Likelihood: exact, or a bound, under a prior or model of its own. ' if _has_likelihoods(parts) else ''}"
        "Numbers of different columns do not compare.",
        f"Means of {words.repetitions(selection)} ± half of the 95% t-interval. {words.note(selection)} "
        f"{words.data_sets(selection)}.",
    ]
    caption = " ".join(["Table 1.", title, *notes])
    sources = [f"[{i}] {work.name}: {work.source}. {work.note}" for i, work in enumerate(works, 1)]
    sources += published.caveats(images.dataset for images in data_sets)
    return Table(name="Table 1", title=title, columns=columns, sections=sections, notes=[*notes, *sources]), caption


def _works(data_sets: Sequence[DataSet]) -> list[published.Work]:
    names = {images.dataset for images in data_sets}
    return [work for work in published.works() if names & set(work.bits_per_dim)]


def _parts(images: DataSet, works: Sequence[published.Work]) -> list[str]:
    """The columns of a data set."""
    measures = {work.measures for work in works if images.dataset in work.bits_per_dim}
    return [*_MEASURED, *([_LIKELIHOOD] if "likelihood" in measures else [])]


def _has_likelihoods(parts: Sequence[tuple[DataSet, str]]) -> bool:
    return any(part == _LIKELIHOOD for _, part in parts)


def _our_row(
    selection: Selection, grid: SelectedGrid, data_sets: Sequence[DataSet], parts: Sequence[tuple[DataSet, str]]
) -> list[str]:
    varying = varying_in(model_of(grid) for grid in selection.grids)
    numbers = {metric: _by_data_set(selection, grid, metric) for metric in (*_MEASURED, "parameters")}
    run_on = [images for images in data_sets if images in numbers["parameters"]]
    counts = [numbers[RECONSTRUCTION][images] for images in run_on]
    parameters = [numbers["parameters"][images]["mean"] for images in run_on]
    return [
        model_of(grid).label(varying),
        _once(f"{value:,.0f}" if value == value else _EMPTY for value in parameters),
        _once(str(count["n"]) if count["n"] == count["wanted"] else f"{count['n']} of {count['wanted']}"
              for count in counts),
        *(_cell(numbers.get(part, {}).get(images)) for images, part in parts),
    ]  # fmt: skip


def _by_data_set(selection: Selection, grid: SelectedGrid, metric: str) -> dict[DataSet, dict[Any, Any]]:
    points = grid.means(metric).to_dict("records")
    return {DataSet(dataset=point["dataset"], image_size=point["image_size"]): point for point in points}


def _cell(point: dict[Any, Any] | None) -> str:
    """`4.670 ± 0.012`; a word where there ought to be a number, a dash where there is none to be had."""
    if point is None:
        return _EMPTY
    return f"{point['mean']:.3f} ± {point['high'] - point['mean']:.3f}" if point["n"] else "missing"


def _once(values: Iterable[str]) -> str:
    """The values of all data sets in their order, or the one that they share."""
    each = list(values)
    return each[0] if len(set(each)) == 1 else " / ".join(each)


def _their_cells(work: published.Work, parts: Sequence[tuple[DataSet, str]]) -> list[str]:
    column = _COLUMN_OF[work.measures]
    return [
        f"{work.bits_per_dim[images.dataset]:.2f}" if part == column and images.dataset in work.bits_per_dim else _EMPTY
        for images, part in parts
    ]


def _csv(selection: Selection) -> pd.DataFrame:
    """A row for each model, or published work, and data set; all numbers in full, those of intervals included."""
    data_sets = data_sets_of(selection.grids)
    varying = varying_in(model_of(grid) for grid in selection.grids)
    rows: list[dict[str, Any]] = []
    for grid in selection.grids:
        numbers = {metric: _by_data_set(selection, grid, metric) for metric in (*_CSV_METRICS, "parameters")}
        for images in numbers["parameters"]:
            row: dict[str, Any] = {"model": model_of(grid).label(varying), "source": "trained here"}
            row |= {column: getattr(model_of(grid), column) for column in MODEL}
            row |= {"dataset": images.dataset, "image_size": images.image_size}
            row |= {column: numbers[RECONSTRUCTION][images][column] for column in ("n", "wanted")}
            row["parameters"] = _whole(numbers["parameters"][images]["mean"])
            for metric in _CSV_METRICS:
                point = numbers[metric][images]
                row |= {metric: point["mean"], f"{metric}_low": point["low"], f"{metric}_high": point["high"]}
            rows.append(row)
    for work in _works(data_sets):
        for images in data_sets:
            if images.dataset in work.bits_per_dim:
                value = {_COLUMN_OF[work.measures]: work.bits_per_dim[images.dataset]}
                rows.append({"model": work.name, "source": work.source, **vars(images), **value})
    whole = [*MODEL[1:], "image_size", "n", "wanted", "parameters"]
    frame = pd.DataFrame(rows)
    return frame.astype(dict.fromkeys(whole, "Int64")).rename(columns={_LIKELIHOOD: "likelihood_bits_per_dim"})


def _whole(value: float) -> int | None:
    return int(value) if value == value else None
