"""Where the bits of an image go: to what is left to reconstruct, or to the codes."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ...data.selection import Selection
from ...draw.bars import RowPanel, RowSheet, part_handle
from ...draw.panels import Sheet, handle
from ...draw.style import DASHED, Look
from ...known import (
    RECONSTRUCTION,
    UNIFORM_CODES,
    UNIFORM_TOTAL,
    UNIGRAM_CODES,
    UNIGRAM_TOTAL,
)
from . import words
from .entries import Entry, entries_of
from .models import DataSet, data_sets_of

_ROOM_FOR_NUMBERS = 1.62
"""Width of a panel over its longest bar: the numbers stand to the right."""
_KINDS = {
    RECONSTRUCTION: (Look(colour="#8A8A8A", marker="o"), "reconstruction alone"),
    UNIGRAM_TOTAL: (Look(colour="#111111", marker="s"), "with codes, unigram prior"),
    UNIFORM_TOTAL: (Look(colour="#111111", marker="^", line=DASHED), "with codes, uniform prior"),
}
"""What is counted, by column. Greys: colours are those of models."""


def draw_bits_split(selection: Selection) -> tuple[Figure, str]:
    """A bar for each model: reconstruction, codes under the unigram prior, what a uniform prior costs beyond."""
    found = entries_of(selection)
    blocks = [(images.title, [entry.name for entry in entries]) for images, entries in found.items()]
    sheet = RowSheet(blocks, columns=1, row_inches=0.25, guides=False)
    longest = 0.0
    for (panel,), entries in zip(sheet.blocks, found.values(), strict=True):
        for row, entry in enumerate(entries):
            longest = max(longest, _bar(panel, row, entry))
    for (panel,) in sheet.blocks:
        panel.axes.set_xlim(0, _ROOM_FOR_NUMBERS * (longest or 1))
        ticks = MaxNLocator(8, steps=[1, 2, 5, 10]).tick_values(0, longest or 1)
        panel.axes.set_xticks([tick for tick in ticks if tick <= (longest or 1)])
    note = words.note(
        selection,
        "Numbers: reconstruction + codes = total ± half of the 95% t-interval of the total, all under the unigram "
        f"prior (how often each code occurs in the training images); in brackets the total under a uniform prior. "
        f"Means of {words.repetitions(selection)}. Codes by a better prior, such as an autoregressive one, cost less.",
        f"{words.data_sets(selection)}.",
    )
    caption = (
        "Bits per dimension of test images, split into what the decoder needs given the codes and what the codes cost. "
        f"Reconstruction is {words.RECONSTRUCTION}; the totals are upper bounds on the negative log-likelihood. {note}"
    )
    legend = [
        part_handle("full", "reconstruction"),
        part_handle("light", "codes, unigram prior"),
        part_handle("hatched", "more under a uniform prior"),
    ]
    return sheet.finish(x_labels=["bits/dim of test images"], legend=[legend], footnote=note), caption


def _bar(panel: RowPanel, row: int, entry: Entry) -> float:
    """Draws a model's bar and returns where it ends."""
    metrics = (RECONSTRUCTION, UNIGRAM_CODES, UNIFORM_CODES, UNIGRAM_TOTAL)
    reconstruction, unigram, uniform, total = (entry.mean(metric) for metric in metrics)
    if np.isnan(total):
        panel.lack(row)
        return 0.0
    colour, bound = entry.look.colour, entry.point(UNIGRAM_TOTAL)
    end = max(total, reconstruction + uniform)
    panel.part(row, 0, reconstruction, colour, "full")
    panel.part(row, reconstruction, total, colour, "light")
    if uniform > unigram:  # frequencies of the training images may cost test images more than none
        panel.part(row, total, end, colour, "hatched")
    panel.interval(row, bound)
    high = float(bound["high"].iloc[0])
    half = f"{high - total:.2f}" if high - total >= 0.005 else f"{high - total:.1g}"
    split = f"{reconstruction:.2f} + {unigram:.2f} = {total:.2f} ± {half}"
    panel.text(row, max(end, high), f"{split} ({reconstruction + uniform:.2f})")
    return max(end, high)


def draw_bits_over_slices(selection: Selection) -> tuple[Figure, str]:
    """Bits over the number of slices: a panel for each data set, width of the latent and codebook size."""
    tables = {metric: _by_family(selection, metric) for metric in _KINDS}
    single = len(data_sets_of(selection.grids)) == 1
    titles = []
    for dataset, image_size, dimension, size in tables[RECONSTRUCTION]:
        images = DataSet(dataset=dataset, image_size=image_size)
        titles.append(f"{'' if single else f'{images.title}, '}D = {dimension}, K = {size}")
    sheet = Sheet(titles, columns=3 if single else 2, panel_inches=2.2)
    for panel, family in zip(sheet.panels, tables[RECONSTRUCTION], strict=True):
        panel.log_x(sorted(tables[RECONSTRUCTION][family]["slices"]))
        for metric, (look, _) in _KINDS.items():
            points = tables[metric][family]
            panel.points(points["slices"], points, look, hollow=metric != RECONSTRUCTION)
    note = words.note(
        selection,
        f"Means of {words.repetitions(selection)} with 95% t-intervals. "
        "Unigram prior: how often each code occurs in the training images.",
        f"{words.data_sets(selection)}.",
    )
    caption = (
        "Bits per dimension of test images over the number of slices L that DVQ cuts a latent of a fixed width D into, "
        f"with a codebook of K codes for each slice. Reconstruction is {words.RECONSTRUCTION}; with the codes these "
        f"are upper bounds on the negative log-likelihood, and the best L is where they are lowest. {note}"
    )
    figure = sheet.finish(
        x_label="number of slices L",
        y_label="bits/dim of test images",
        legend=[[handle(look, label, hollow=metric != RECONSTRUCTION) for metric, (look, label) in _KINDS.items()]],
        footnote=note,
    )
    return figure, caption


def _by_family(selection: Selection, metric: str) -> dict[tuple[str, int, int, int], pd.DataFrame]:
    """Points by data set, size of its images, dimension and codebook size, the smaller first."""
    found: dict[tuple[str, int, int, int], list[pd.DataFrame]] = {}
    for images, entries in entries_of(selection).items():
        for entry in entries:
            family = (images.dataset, images.image_size, entry.model.dimension, entry.model.codebook_size)
            found.setdefault(family, []).append(entry.point(metric))
    return {family: pd.concat(points, ignore_index=True) for family, points in sorted(found.items())}
