"""Where the bits of an image go: to what is left to reconstruct and to the codes, under every prior of the ladder."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes

from ...data.selection import Selection
from ...draw import bars
from ...draw.sheet import Drawn
from ...items import figure, table
from ...naming import plus_minus
from ...output.messages import best, said
from ...output.numbers import long_form, metric_of
from ...output.product import Product, table_product
from ...output.tables import Section, Table, columns_of
from ...output.words import caveats, sentences
from . import _shared as shared
from ._shared import BYTES, CODES, RECONSTRUCTION, SAMPLE, TOTAL, UNIFORM, Entry, entries_of, in_order

_ROOM_FOR_NUMBERS = 1.75
"""Width of a panel over its longest bar: the numbers stand to the right."""
_MARKERS = {"uniform": "|", "unigram": "s", "positional": "D", "chain": "o", "spatial": "^"}
_EVERY = "every point whose codes have a prior, with all of its priors"
_TOTALS_ARE = (
    "Reconstruction: the decoder's cross-entropy given the codes. With what codes cost under a prior it is an upper "
    "bound on the negative log-likelihood"
)


@figure(
    "Bits per dimension split into reconstruction and codes, under every prior over the codes",
    shared.needs(TOTAL, CODES, RECONSTRUCTION, which=f"{_EVERY}, of images", choose=shared.of_images),
)
def code_ledger(selection: Selection) -> Drawn:
    """A bar for each model: reconstruction and codes under the best prior; below it what codes cost under each."""
    entries = entries_of(selection)
    names = [entry.label for entry in entries]
    blocks = [("Reconstruction, and codes under the best prior", names), ("Codes alone, under each prior", names)]
    sheet, ((totals,), (codes,)) = bars.row_sheet(blocks, columns=1, row_inches=0.27, numbers=True)
    longest = max((_bar(totals, row, entry) for row, entry in enumerate(entries)), default=0.0) or 1
    bars.reach(totals, longest, _ROOM_FOR_NUMBERS)
    for row, entry in enumerate(entries):
        for prior in entry.priors:
            bars.dot(codes, row, entry.point(prior, CODES), replace(entry.look, marker=_marker(prior)), hollow=True)
    codes.set_xlim(left=0)
    note = sentences(
        f"{_TOTALS_ARE}. {shared.PRIORS_ARE}. Numbers: reconstruction + codes = total, under the best prior that each "
        f"model has here, and its name. Means of {shared.repetitions(selection)}, with 95% t-intervals. "
        f"{shared.data_text(selection)}.",
        caveats(selection),
    )
    priors = in_order(list({prior for entry in entries for prior in entry.priors}))
    legend: list[list[Artist]] = [
        [bars.part_handle("full", "reconstruction"), bars.part_handle("light", "codes, best prior")],
        [bars.dot_handle(_marker(prior), prior, hollow=True) for prior in priors],
    ]
    points = [(entry.label, entry.point(entry.best(TOTAL), TOTAL).iloc[0]) for entry in entries if entry.priors]
    return sheet.finish(
        x_label="bits/dim of test images", legend=legend, footnote=note, y_limits=bars.row_limits(blocks),
        message=said(best(points, "total under its best prior", "bits/dim")),
        caption=f"Bits per dimension of test images, and what codes cost under each prior. {note}",
    )  # fmt: skip


def _marker(prior: str) -> str:
    return _MARKERS.get(prior, "*")


def _bar(axes: Axes, row: int, entry: Entry) -> float:
    """Draws a model's bar and returns where it ends."""
    if not entry.priors:
        bars.no_value(axes, row)
        return 0.0
    best = entry.best(TOTAL)
    reconstruction, codes, total = (entry.value(best, metric) for metric in (RECONSTRUCTION, CODES, TOTAL))
    bars.part(axes, row, 0, reconstruction, entry.look.colour, "full")
    bars.part(axes, row, reconstruction, total, entry.look.colour, "light")
    point = entry.point(best, TOTAL)
    bars.interval(axes, row, point)
    high = float(point["high"].iloc[0])
    end = total if np.isnan(high) else max(total, high)
    bars.text(axes, row, end, f"{reconstruction:.3f} + {codes:.3f} = {total:.3f} ({best})")
    return end


def _numbers(selection: Selection) -> pd.DataFrame:
    """All numbers of the table in long form."""
    tables = []
    for entry in entries_of(selection):
        for metric in selection.needs.metrics:
            tables.append(metric_of(entry.grid, metric, entry.grid.means(metric)))
        for prior in entry.priors[1:]:
            axes = {name: values[0] for name, values in entry.grid.axes.items() if len(values) == 1}
            saved = entry.saved(prior)
            assert saved is not None
            tables.append(metric_of(entry.grid, f"{CODES}_saved", saved.assign(**axes, prior=prior)))
    return long_form(tables, labelled=True)


@table(
    "What codes cost under every prior, what each step of the ladder saves, and the total of images",
    shared.needs(CODES, SAMPLE, UNIFORM, BYTES, which=_EVERY),
)
def code_ledger_table(selection: Selection) -> Product:
    """Rows: points, and their priors; columns: what the codes cost, what is saved, the total, the prior's size."""
    entries = entries_of(selection)
    sections = [Section(title=entry.label, rows=[_row(entry, prior) for prior in entry.priors]) for entry in entries]
    columns = columns_of(
        ["prior"],
        ["n", "bits per sample", "of nominal", "codes, bits/dim", "saved, bits/dim", "reconstruction", "total",
         "prior, bytes"],
    )  # fmt: skip
    notes = [
        f"{shared.PRIORS_ARE}. Saved: by the step from the prior above, paired by seed. {_TOTALS_ARE}; codes of "
        "vectors have no reconstruction in bits. Prior: its size, which is not part of any rate.",
        f"Means of {shared.repetitions(selection)} ± half of the 95% t-interval. {shared.data_text(selection)}. "
        f"{caveats(selection)}".strip(),
    ]
    title = "What codes cost under priors that know more and more of them."
    content = Table(name="Codes", title=title, columns=columns, sections=sections, notes=notes)
    return table_product(content, _numbers(selection), "tab:code-ledger")


def _row(entry: Entry, prior: str) -> list[str]:
    saved = entry.saved(prior)
    share = entry.value(prior, SAMPLE) / entry.value(prior, UNIFORM)
    return [
        prior,
        f"{int(entry.point(prior, CODES)['n'].iloc[0])}",
        f"{entry.value(prior, SAMPLE):,.1f}",
        f"{share:.1%}",
        _cell(entry.point(prior, CODES)),
        "–" if saved is None else _cell(saved),
        _cell(entry.point(prior, RECONSTRUCTION)),
        _cell(entry.point(prior, TOTAL)),
        f"{entry.value(prior, BYTES):,.0f}",
    ]


def _cell(point: pd.DataFrame) -> str:
    """`4.670 ± 0.012`; only the mean for a single repetition, and a dash if there is no number."""
    mean, high = float(point["mean"].iloc[0]), float(point["high"].iloc[0])
    if np.isnan(mean):
        return "–"
    return f"{mean:.4f}" if np.isnan(high) else plus_minus(mean, high - mean, 4)
