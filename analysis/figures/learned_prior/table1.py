"""Table 1 of the paper, with what it leaves out.

What the paper calls bits/dim is the decoder's cross-entropy alone. A bound on the likelihood needs the cost of the
codes too, so these are columns of their own, and published numbers are in the column of what they measure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ...data.points import floats
from ...data.selection import Selection
from ...data.summary import summaries
from ...items import table
from ...naming import listed, plus_minus
from ...output.product import Product, table_product
from ...output.tables import Section, Table, columns_of
from . import _published as published
from . import _shared as shared
from ._best_prior import BEST_PRIOR, BEST_TOTAL, select_with_best_prior
from ._columns import MODEL, PARAMETERS, RECONSTRUCTION, UNIFORM_CODES, UNIFORM_TOTAL, UNIGRAM_CODES, UNIGRAM_TOTAL
from ._models import DataSet, Entry, data_sets_of, models_of

_EMPTY = "–"
_MEASURED = {
    RECONSTRUCTION: "reconstruction",
    UNIFORM_TOTAL: "+ codes, uniform prior",
    UNIGRAM_TOTAL: "+ codes, unigram prior",
    BEST_TOTAL: "+ codes, best prior",
}
"""Headings by column of the store; the last where stores of code priors are given too."""
_LIKELIHOOD = "likelihood"
"""A column that has published numbers alone."""
_COLUMN_OF: dict[published.Measure, str] = {
    "reconstruction": RECONSTRUCTION,
    "unigram": UNIGRAM_TOTAL,
    "likelihood": _LIKELIHOOD,
}
_METRICS = (RECONSTRUCTION, UNIFORM_CODES, UNIGRAM_CODES, UNIFORM_TOTAL, UNIGRAM_TOTAL)
Parts = Sequence[tuple[DataSet, str]]
"""The columns of numbers: a data set, and what is measured."""


@table(
    "Table 1: bits per dimension of every model, with what the codes cost and without, beside published ones",
    shared.comparison(*_METRICS, PARAMETERS),
    select=select_with_best_prior,
)
def table1(selection: Selection) -> Product:
    """Rows: models, then published works; columns: for each data set reconstruction, bounds, likelihoods."""
    data_sets, models = data_sets_of(selection.grids), models_of(selection)
    works = [work for work in published.works() if {images.dataset for images in data_sets} & set(work.bits_per_dim)]
    of_likelihood = {name for work in works if work.measures == "likelihood" for name in work.bits_per_dim}
    headings = {**_MEASURED, _LIKELIHOOD: "likelihood, own prior"}
    with_best = BEST_TOTAL in selection.rows and bool(selection.drawn[BEST_TOTAL].notna().any())
    if not with_best:
        del headings[BEST_TOTAL]
    parts = [(images, part) for images in data_sets for part in headings
             if part != _LIKELIHOOD or images.dataset in of_likelihood]  # fmt: skip
    columns = columns_of(["model"], ["parameters", "n"])
    columns += [column for images, part in parts for column in columns_of(numbers=[headings[part]], group=images.title)]
    ours = [[*_our_row(entries, data_sets, parts), *([""] if works else [])] for entries in models]
    theirs = [[work.name, "", "", *_their_cells(work, parts), f"[{i}]"] for i, work in enumerate(works, 1)]
    sections = [Section(title="trained here" if works else "", rows=ours)]
    sections += [Section(title="as published", rows=theirs)] if works else []
    title = "Bits per dimension of test images, with what the codes cost and without."
    likelihood = "Likelihood: exact, or a bound, under a prior or model of its own. " if of_likelihood else ""
    notes = [
        f"Reconstruction: {shared.RECONSTRUCTION_IS}. + codes: with the cost of the codes added, under a uniform prior "
        "or under how often each code occurs in the training images: upper bounds on the negative log-likelihood. "
        f"{likelihood}{_best_priors(selection) if with_best else ''}Numbers of different columns do not compare.",
        f"Means of {shared.repetitions(selection)} ± half of the 95% t-interval. {shared.table_note(selection)}",
    ]
    sources = [f"[{i}] {work.name}: {work.source}. {work.note}" for i, work in enumerate(works, 1)]
    sources += published.caveats(images.dataset for images in data_sets)
    columns += columns_of(["source"]) if works else []
    content = Table(name="Table 1", title=title, columns=columns, sections=sections, notes=[*notes, *sources])
    caption = " ".join(["Table 1.", title, *notes])
    metrics = (*_METRICS, BEST_TOTAL) if with_best else _METRICS
    return table_product(content, _csv(models, data_sets, works, metrics), "tab:bits-per-dim", caption)


def _best_priors(selection: Selection) -> str:
    """What the best prior is, and which it was."""
    counts = selection.drawn[BEST_PRIOR].value_counts()
    shares = [f"{prior} {count} of {counts.sum()} times" for prior, count in counts.items()]
    return (
        "Best prior: of those computed for every model, the one under which the codes of a model's other seeds cost "
        f"least: {listed(shares) if len(shares) > 1 else counts.index[0]}. "
    )


def _our_row(entries: Mapping[DataSet, Entry], data_sets: Sequence[DataSet], parts: Parts) -> list[str]:
    run_on = [entries[images] for images in data_sets if images in entries]
    counts = [entry.numbers(RECONSTRUCTION) for entry in run_on]
    parameters = [entry.numbers(PARAMETERS)["mean"] for entry in run_on]
    return [
        run_on[0].label,
        _once(f"{value:,.0f}" if value == value else _EMPTY for value in parameters),
        _once(f"{c['n']}" if c["n"] == c["wanted"] else f"{c['n']} of {c['wanted']}" for c in counts),
        *(_cell(_numbers(entries[images], part)) if images in entries and part in _MEASURED else _EMPTY
          for images, part in parts),
    ]  # fmt: skip


def _numbers(entry: Entry, metric: str) -> Mapping[Any, Any]:
    """As `Entry.numbers`; without a mean where some seeds have no best prior."""
    if metric != BEST_TOTAL:
        return entry.numbers(metric)
    values = floats(entry.images.of(entry.grid.usable)[BEST_TOTAL])
    values = values if np.isfinite(values).all() else values[:0]
    return {name: numbers[0] for name, numbers in summaries(values, np.zeros(len(values), np.int64), 1).items()}


def _cell(point: Mapping[Any, Any]) -> str:
    """`4.670 ± 0.012`; a word where the number is missing."""
    return plus_minus(point["mean"], point["high"] - point["mean"], 3) if point["n"] else "missing"


def _once(values: Iterable[str]) -> str:
    """The values of all data sets in their order, or the one that they share."""
    each = list(values)
    return each[0] if len(set(each)) == 1 else " / ".join(each)


def _their_cells(work: published.Work, parts: Parts) -> list[str]:
    column = _COLUMN_OF[work.measures]
    return [
        f"{work.bits_per_dim[images.dataset]:.2f}" if part == column and images.dataset in work.bits_per_dim else _EMPTY
        for images, part in parts
    ]


def _csv(
    models: Sequence[Mapping[DataSet, Entry]], data_sets: Sequence[DataSet], works: Sequence[published.Work],
    metrics: Sequence[str],
) -> pd.DataFrame:  # fmt: skip
    """A row for each model, or published work, and data set; all numbers in full, those of intervals included."""
    rows: list[dict[str, Any]] = []
    for entry in (entry for entries in models for entry in entries.values()):
        counts, parameters = entry.numbers(RECONSTRUCTION), entry.numbers(PARAMETERS)["mean"]
        row: dict[str, Any] = {
            "model": entry.label,
            "source": "trained here",
            **vars(entry.model),
            **vars(entry.images),
        }
        row |= {"n": counts["n"], "wanted": counts["wanted"]}
        row["parameters"] = int(parameters) if parameters == parameters else None
        for metric in metrics:
            point = _numbers(entry, metric)
            row |= {metric: point["mean"], f"{metric}_low": point["low"], f"{metric}_high": point["high"]}
        rows.append(row)
    for work in works:
        for images in data_sets:
            if images.dataset in work.bits_per_dim:
                value = {_COLUMN_OF[work.measures]: work.bits_per_dim[images.dataset]}
                rows.append({"model": work.name, "source": work.source, **vars(images), **value})
    whole = [*MODEL[1:], "image_size", "n", "wanted", "parameters"]
    frame = pd.DataFrame(rows)
    return frame.astype(dict.fromkeys(whole, "Int64")).rename(columns={_LIKELIHOOD: "likelihood_bits_per_dim"})
