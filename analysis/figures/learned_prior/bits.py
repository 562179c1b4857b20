"""Where the bits of an image go: to what is left to reconstruct, or to the codes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from ...data.needs import Grid, at
from ...data.selection import Selection
from ...draw import bars
from ...draw.sheet import Drawn, Sheet, handle
from ...draw.style import DASHED, Look
from ...items import figure
from ...output.messages import said
from . import _shared as shared
from ._columns import DATA_SET, RECONSTRUCTION, UNIFORM_CODES, UNIFORM_TOTAL, UNIGRAM_CODES, UNIGRAM_TOTAL
from ._models import DataSet, Entry, data_sets_of, entries_of
from ._slices import SEVERAL_SLICE_COUNTS, best_slices, several_slice_counts

_ROOM_FOR_NUMBERS = 1.62
"""Width of a panel over its longest bar: the numbers stand to the right."""
_KINDS = {
    RECONSTRUCTION: (Look(colour="#8A8A8A", marker="o"), "reconstruction alone"),
    UNIGRAM_TOTAL: (Look(colour="#111111", marker="s"), "with codes, unigram prior"),
    UNIFORM_TOTAL: (Look(colour="#111111", marker="^", line=DASHED), "with codes, uniform prior"),
}
"""What is counted, by column. Greys: colours are those of models."""
_FAMILY = [*DATA_SET, "dimension", "codebook_size"]


@figure(
    "Bits per dimension split into reconstruction and codes, under a unigram and a uniform prior",
    shared.comparison(RECONSTRUCTION, UNIGRAM_CODES, UNIFORM_CODES, UNIGRAM_TOTAL, UNIFORM_TOTAL),
)
def bits_split(selection: Selection) -> Drawn:
    """A bar for each model: reconstruction, codes under the unigram prior, what a uniform prior costs beyond."""
    found = entries_of(selection)
    blocks = [(images.title, [entry.name for entry in entries]) for images, entries in found.items()]
    sheet, panels = bars.row_sheet(blocks, columns=1, row_inches=0.25, guides=False, numbers=True)
    ends = [_bar(axes, row, entry) for (axes,), entries in zip(panels, found.values(), strict=True)
            for row, entry in enumerate(entries)]  # fmt: skip
    longest = max(ends, default=0.0) or 1
    for (axes,) in panels:
        bars.reach(axes, longest, _ROOM_FOR_NUMBERS)
    note = shared.note(
        selection,
        "Numbers: reconstruction + codes = total ± half of the 95% t-interval of the total, all under the unigram "
        f"prior (how often each code occurs in the training images); in brackets the total under a uniform prior. "
        f"Means of {shared.repetitions(selection)}. Codes by a better prior, such as an autoregressive one, cost less.",
    )
    caption = (
        "Bits per dimension of test images, split into what the decoder needs given the codes and what the codes cost. "
        f"Reconstruction is {shared.RECONSTRUCTION_IS}; the totals are upper bounds on the negative log-likelihood. "
        f"{note}"
    )
    legend = [
        bars.part_handle("full", "reconstruction"),
        bars.part_handle("light", "codes, unigram prior"),
        bars.part_handle("hatched", "more under a uniform prior"),
    ]
    return sheet.finish(
        x_label="bits/dim of test images", legend=[legend], footnote=note, y_limits=bars.row_limits(blocks),
        message=shared.lowest_of_each(found, UNIGRAM_TOTAL, "total of reconstruction and codes"),
        caption=caption,
    )  # fmt: skip


def _bar(axes: Axes, row: int, entry: Entry) -> float:
    """Draws a model's bar and returns where it ends."""
    metrics = (RECONSTRUCTION, UNIGRAM_CODES, UNIFORM_CODES, UNIGRAM_TOTAL)
    reconstruction, unigram, uniform, total = (float(entry.numbers(metric)["mean"]) for metric in metrics)
    if np.isnan(total):
        bars.no_value(axes, row)
        return 0.0
    colour, bound = entry.look.colour, entry.point(UNIGRAM_TOTAL)
    end = max(total, reconstruction + uniform)
    bars.part(axes, row, 0, reconstruction, colour, "full")
    bars.part(axes, row, reconstruction, total, colour, "light")
    if uniform > unigram:  # frequencies of the training images may cost test images more than none
        bars.part(axes, row, total, end, colour, "hatched")
    bars.interval(axes, row, bound)
    high = float(bound["high"].iloc[0])
    half = f"{high - total:.2f}" if high - total >= 0.005 else f"{high - total:.1g}"
    split = f"{reconstruction:.2f} + {unigram:.2f} = {total:.2f} ± {half}"
    bars.text(axes, row, max(end, high), f"{split} ({reconstruction + uniform:.2f})")
    return max(end, high)


def _several_slice_counts(rows: pd.DataFrame) -> Sequence[Grid]:
    return shared.model_grids(several_slice_counts(rows, _FAMILY))


@figure(
    "Bits per dimension over the number of slices of DVQ at a fixed dimension, with and without the codes",
    shared.comparison(
        RECONSTRUCTION,
        UNIGRAM_TOTAL,
        UNIFORM_TOTAL,
        which=SEVERAL_SLICE_COUNTS,
        choose=_several_slice_counts,
        sweeps=("sweeps/slices.yaml",),
    ),
)
def bits_over_slices(selection: Selection) -> Drawn:
    """A panel for each data set, width of the latent and codebook size."""
    tables = {metric: pd.concat([grid.means(metric) for grid in selection.grids]) for metric in _KINDS}
    single = len(data_sets_of(selection.grids)) == 1
    families = tables[RECONSTRUCTION][_FAMILY].drop_duplicates().sort_values(_FAMILY).to_dict("records")
    titles = []
    for family in families:
        images = DataSet(dataset=family["dataset"], image_size=family["image_size"])
        title = f"D = {family['dimension']}, K = {family['codebook_size']}"
        titles.append(title if single else f"{images.title}, {title}")
    sheet = Sheet(titles, columns=3 if single else 2, inches=2.2)
    for panel, family in zip(sheet.panels, families, strict=True):
        panel.log_x(sorted(at(tables[RECONSTRUCTION], **family)["slices"]))  # type: ignore[arg-type]
        for metric, (look, _) in _KINDS.items():
            points = at(tables[metric], **family)  # type: ignore[arg-type]
            panel.points(points["slices"], points, look, hollow=metric != RECONSTRUCTION)
    note = shared.note(
        selection,
        f"Means of {shared.repetitions(selection)} with 95% t-intervals. "
        "Unigram prior: how often each code occurs in the training images.",
    )
    caption = (
        "Bits per dimension of test images over the number of slices L that DVQ cuts a latent of a fixed width D into, "
        f"with a codebook of K codes for each slice. Reconstruction is {shared.RECONSTRUCTION_IS}; with the codes "
        f"these are upper bounds on the negative log-likelihood, and the best L is where they are lowest. {note}"
    )
    legend = [handle(look, label, hollow=metric != RECONSTRUCTION) for metric, (look, label) in _KINDS.items()]
    totals = [at(tables[UNIGRAM_TOTAL], **family) for family in families]  # type: ignore[arg-type]
    message = said(*(
        f"{title}: {best_slices(table, 'total with codes')}" for title, table in zip(titles, totals, strict=True)
    ))  # fmt: skip
    return sheet.finish(
        x_label="number of slices L", y_label="bits/dim of test images", legend=[legend], footnote=note,
        message=message, caption=caption,
    )  # fmt: skip
