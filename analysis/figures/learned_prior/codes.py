"""What the codes of images are like: how many are used, and how much those of a position say about each other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from ...data.needs import Grid
from ...data.selection import Metric, Selection
from ...draw import bars
from ...draw.sheet import Drawn, level_handle
from ...draw.style import GREY
from ...items import figure
from ...output.messages import said, tally
from ...output.numbers import long_form, numbers_of
from . import _shared as shared
from ._columns import (
    CODES_USED,
    DEPENDENCE,
    JOINT_ENTROPY,
    PERPLEXITY,
    REFIT_DEPENDENCE,
    SHUFFLED_DEPENDENCE,
    UNIGRAM_CODES,
)  # fmt: skip
from ._models import Entry, entries_of, of_each

_SUM = "sum of code entropies"
_ASIDE = 0.24
"""How far dots of one model are above each other, as a share of its row."""


def _share(column: str) -> Metric:
    """The mean over the codebooks of a model, over their size."""
    mean = of_each(column, lambda counts: float(counts.mean()))
    return lambda rows: mean(rows) / rows["codebook_size"]


_USES: dict[str, Metric] = {f"{column} / codebook_size": _share(column) for column in (CODES_USED, PERPLEXITY)}


@figure(
    "Share of codes that images use, and perplexity over codebook size, of every model",
    shared.comparison(UNIGRAM_CODES, CODES_USED, PERPLEXITY),
    numbers=lambda selection: numbers_of(selection.grids, _USES, labelled=True),
)
def code_use_images(selection: Selection) -> Drawn:
    """A row for each model: the share of codes that occur, and perplexity over codebook size."""
    found = entries_of(selection)
    blocks = [(images.title, [entry.name for entry in entries]) for images, entries in found.items()]
    sheet, panels = bars.row_sheet(blocks, columns=2, row_inches=0.24)
    for block, entries in zip(panels, found.values(), strict=True):
        for axes, metric in zip(block, _USES.values(), strict=True):
            axes.set_xlim(0, 1.03)
            for row, entry in enumerate(entries):
                _dot(axes, row, entry, metric)
    note = shared.note(
        selection,
        "Codes used: those that occur at all in the training images. Perplexity: 2 to the entropy, in bits, of a "
        "codebook's codes; equal to K where all are equally frequent.",
        f"Each is a share of K, the mean over the codebooks of a model; means of {shared.repetitions(selection)} with "
        "95% t-intervals.",
    )
    return sheet.finish(
        x_label=["codes used / K", "perplexity / K"], footnote=note, y_limits=bars.row_limits(blocks),
        message=shared.lowest_of_each(found, next(iter(_USES.values())), "share of codes used", ""),
        caption=f"How much of its codebooks a model uses on the training images. {note}",
    )  # fmt: skip


def _several_codebooks(rows: pd.DataFrame) -> Sequence[Grid]:
    """Models of which a position has several codes."""
    several = (rows["slices"] > 1) & (rows["quantizer"] == "dvq") | (rows["joint_codebooks"] > 1)
    return shared.model_grids(rows[several])


def _dependences(slices: int) -> dict[str, Metric]:
    refits = (REFIT_DEPENDENCE, SHUFFLED_DEPENDENCE) if slices > 1 else ()
    metrics: dict[str, Metric] = {column: column for column in (DEPENDENCE, JOINT_ENTROPY)}
    return metrics | {column: of_each(column, float) for column in refits} | {_SUM: of_each(PERPLEXITY, _entropies)}


def _entropies(perplexities: npt.NDArray[np.float64]) -> float:
    return float(np.log2(perplexities).sum())


def _dependence_numbers(selection: Selection) -> pd.DataFrame:
    tables = (numbers_of([grid], _dependences(grid.axes["slices"][0]), labelled=True) for grid in selection.grids)
    return long_form(tables, labelled=True)


@figure(
    "Dependence of the codes at a position: as trained, and of slices and random features clustered anew",
    shared.comparison(
        DEPENDENCE,
        JOINT_ENTROPY,
        PERPLEXITY,
        which=f"{shared.EVERY_MODEL} and several codebooks at a position (DVQ's slices, VQ's joint codebooks)",
        choose=_several_codebooks,
    ),
    numbers=_dependence_numbers,
)
def slice_dependence(selection: Selection) -> Drawn:
    """A row for each model with several codes at a position: their dependence, and their joint entropy."""
    found = entries_of(selection)
    blocks = [(images.title, [entry.name for entry in entries]) for images, entries in found.items()]
    sheet, panels = bars.row_sheet(blocks, columns=2, row_inches=0.38)
    for (dependence, entropy), entries in zip(panels, found.values(), strict=True):
        for row, entry in enumerate(entries):
            metrics = _dependences(entry.model.slices)
            _dot(dependence, row, entry, DEPENDENCE, marker="o", aside=-_ASIDE)
            if REFIT_DEPENDENCE in metrics:
                _dot(dependence, row, entry, metrics[REFIT_DEPENDENCE], marker="s")
                _dot(dependence, row, entry, metrics[SHUFFLED_DEPENDENCE], marker="D", aside=_ASIDE, hollow=True)
            _dot(entropy, row, entry, JOINT_ENTROPY, marker="o", aside=-_ASIDE / 2)
            _dot(entropy, row, entry, metrics[_SUM], marker="v", aside=_ASIDE / 2, hollow=True)
        for most in sorted({_log_positions(entry) for entry in entries}):
            entropy.axvline(most, color=GREY, linestyle=":", linewidth=1.1)
    for column in zip(*panels, strict=True):
        # Zero is independence; an estimate may be a little below it.
        low = min(0.0, *(axes.dataLim.x0 for axes in column))
        high = 1.06 * max(0.1, *(axes.dataLim.x1 for axes in column))
        for axes in column:
            axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
            axes.set_xlim(low, high)
    note = shared.note(
        selection,
        "Left, on test images: mutual information of two codebooks' codes at a position, the mean over pairs, less "
        "what the estimate shows of codes paired at random; 0: independent. k-means: codebooks fitted anew to the "
        "slices of the same latents, once as they were trained and once with the features dealt to slices at random; "
        "where the latter depend more, training made the slices independent.",
        "Right, on training images: entropy of all codes of a position together, and the sum of each codebook's own, "
        "which it would be were the codes independent. The former is counted: it is at most log2 of the number of "
        "positions (dotted), and too low near that line.",
        f"Means of {shared.repetitions(selection)} with 95% t-intervals.",
    )
    legend = [
        [
            bars.dot_handle("o", "codes as trained"),
            bars.dot_handle("s", "k-means, slices as trained"),
            bars.dot_handle("D", "k-means, features dealt at random", hollow=True),
        ],
        [
            bars.dot_handle("o", "all codes together (right)"),
            bars.dot_handle("v", "sum over codebooks (right)", hollow=True),
            level_handle("log2 of positions counted (right)"),
        ],
    ]
    x_labels = ["mutual information of two codes (bits)", "entropy of a position's codes (bits)"]
    return sheet.finish(
        x_label=x_labels, legend=legend, footnote=note, y_limits=bars.row_limits(blocks),
        message=_dependence_message([entry for entries in found.values() for entry in entries]),
        caption=f"How much the codes at one position of the latent tell of each other. {note}",
    )  # fmt: skip


def _dependence_message(entries: Sequence[Entry]) -> str:
    """In how many models codes depend on each other, and in how many less than those of features dealt at random."""
    trained = pd.concat([entry.point(DEPENDENCE) for entry in entries])
    cut = [(entry, metrics) for entry in entries if REFIT_DEPENDENCE in (metrics := _dependences(entry.model.slices))]
    parts = [f"codes at a position depend on each other in {tally(trained, 0.0).higher} of {len(entries)} models"]
    if cut:
        own, dealt = (pd.concat([entry.point(metrics[name]) for entry, metrics in cut])
                      for name in (REFIT_DEPENDENCE, SHUFFLED_DEPENDENCE))  # fmt: skip
        counts = tally(own, dealt)
        more = f", more in {counts.higher}" if counts.higher else ""
        parts.append(
            f"slices as trained depend on each other less than features dealt at random in {counts.lower} of "
            f"{counts.of}{more}"
        )
    return said(*parts)


def _dot(
    axes: Axes, row: int, entry: Entry, metric: Metric, *, marker: str = "", aside: float = 0.0, hollow: bool = False
) -> None:
    point = entry.point(metric)
    if point["n"].iloc[0]:
        bars.dot(axes, row + aside, point, replace(entry.look, marker=marker or entry.look.marker), hollow=hollow)
    elif not hollow:
        bars.no_value(axes, row)


def _log_positions(entry: Entry) -> float:
    """Bits to tell all positions of the training images apart; equal for models that share data and training."""
    rows = entry.images.of(entry.grid.selection.rows)
    finished = rows[rows["status"] == "ok"].iloc[0]
    side = int(finished["image_size"]) // 2 ** int(finished["downsamplings"])
    return math.log2(int(finished["train_images"]) * side**2)
