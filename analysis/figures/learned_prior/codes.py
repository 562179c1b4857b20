"""What the codes of images are like: how many are used, and how much those of a position tell of each other."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ...data.selection import Metric, Selection
from ...draw.bars import RowPanel, RowSheet, dot_handle
from ...draw.panels import level_handle
from ...draw.style import GREY
from ...known import (
    CODES_USED,
    DEPENDENCE,
    JOINT_ENTROPY,
    PERPLEXITY,
    REFIT_DEPENDENCE,
    SHUFFLED_DEPENDENCE,
)
from . import words
from .entries import Entry, entries_of, numbers_of, of_each
from .models import Model

Numbers = npt.NDArray[np.float64]
"""[codebooks]"""

_SUM = "sum of code entropies"
_ASIDE = 0.24
"""How far dots of one model stand above each other, as a share of its row."""


def draw_code_use(selection: Selection) -> tuple[Figure, str]:
    """A row for each model: the share of codes that occur, and perplexity over codebook size."""
    found = entries_of(selection)
    blocks = [(images.title, [entry.name for entry in entries]) for images, entries in found.items()]
    sheet = RowSheet(blocks, columns=2, row_inches=0.24)
    for panels, entries in zip(sheet.blocks, found.values(), strict=True):
        for row, entry in enumerate(entries):
            for panel, metric in zip(panels, _uses(entry.model).values(), strict=True):
                panel.axes.set_xlim(0, 1.03)
                _dot(panel, row, entry, metric)
    note = words.note(
        selection,
        "Codes used: those that occur at all in the training images. Perplexity: 2 to the entropy, in bits, of a "
        "codebook's codes; equal to K where all are equally frequent.",
        f"Each is a share of K, the mean over the codebooks of a model; means of {words.repetitions(selection)} with "
        "95% t-intervals.",
        f"{words.data_sets(selection)}.",
    )
    caption = f"How much of its codebooks a model uses on the training images. {note}"
    x_labels = ["codes used / K", "perplexity / K"]
    return sheet.finish(x_labels=x_labels, legend=[], footnote=note), caption


def draw_slice_dependence(selection: Selection) -> tuple[Figure, str]:
    """A row for each model with several codes at a position: their dependence, and their joint entropy."""
    found = entries_of(selection)
    blocks = [(images.title, [entry.name for entry in entries]) for images, entries in found.items()]
    sheet = RowSheet(blocks, columns=2, row_inches=0.38)
    for (dependence, entropy), entries in zip(sheet.blocks, found.values(), strict=True):
        for row, entry in enumerate(entries):
            _dot(dependence, row, entry, DEPENDENCE, marker="o", aside=-_ASIDE)
            metrics = _dependences(entry.model)
            if REFIT_DEPENDENCE in metrics:
                _dot(dependence, row, entry, metrics[REFIT_DEPENDENCE], marker="s")
                _dot(dependence, row, entry, metrics[SHUFFLED_DEPENDENCE], marker="D", aside=_ASIDE, hollow=True)
            _dot(entropy, row, entry, JOINT_ENTROPY, marker="o", aside=-_ASIDE / 2)
            _dot(entropy, row, entry, metrics[_SUM], marker="v", aside=_ASIDE / 2, hollow=True)
        for most in sorted({_log_positions(entry) for entry in entries}):
            entropy.axes.axvline(most, color=GREY, linestyle=":", linewidth=1.1)
    for panel in (panel for block in sheet.blocks for panel in block):
        panel.axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
        # Zero is independence; an estimate may be a little below it.
        panel.axes.set_xlim(min(0.0, panel.axes.dataLim.x0), 1.06 * max(panel.axes.dataLim.x1, 0.1))
    note = words.note(
        selection,
        "Left, on test images: mutual information of two codebooks' codes at a position, the mean over pairs, less "
        "what the estimate shows of codes paired at random; 0: independent. k-means: codebooks fitted anew to the "
        "slices of the same latents, once as they were trained and once with the features dealt to slices at random; "
        "where the latter depend more, training made the slices independent.",
        "Right, on training images: entropy of all codes of a position together, and the sum of each codebook's own, "
        "which it would be were the codes independent. The former is counted: it is at most log2 of the number of "
        "positions (dotted), and too low near that line.",
        f"Means of {words.repetitions(selection)} with 95% t-intervals.",
        f"{words.data_sets(selection)}.",
    )
    caption = f"How much the codes at one position of the latent tell of each other. {note}"
    legend = [
        [
            dot_handle("o", "codes as trained"),
            dot_handle("s", "k-means, slices as trained"),
            dot_handle("D", "k-means, features dealt at random", hollow=True),
        ],
        [
            dot_handle("o", "all codes together (right)"),
            dot_handle("v", "sum over codebooks (right)", hollow=True),
            level_handle("log2 of positions counted (right)"),
        ],
    ]
    x_labels = ["mutual information of two codes (bits)", "entropy of a position's codes (bits)"]
    return sheet.finish(x_labels=x_labels, legend=legend, footnote=note), caption


def _dot(
    panel: RowPanel,
    row: int,
    entry: Entry,
    metric: Metric,
    *,
    marker: str = "",
    aside: float = 0.0,
    hollow: bool = False,
) -> None:
    point = entry.point(metric)
    if point["n"].iloc[0]:
        look = replace(entry.look, marker=marker or entry.look.marker)
        panel.dot(row, point, look, aside=aside, hollow=hollow)
    elif not hollow:
        panel.lack(row)


def use_numbers(selection: Selection) -> pd.DataFrame:
    """The numbers that `draw_code_use` draws, in long form."""
    return numbers_of(selection, _uses)


def dependence_numbers(selection: Selection) -> pd.DataFrame:
    """The numbers that `draw_slice_dependence` draws, in long form."""
    return numbers_of(selection, _dependences)


def _uses(model: Model) -> dict[str, Metric]:
    def share(counts: Numbers) -> float:
        return float(counts.mean()) / model.codebook_size

    return {f"{column} / codebook_size": of_each(column, share) for column in (CODES_USED, PERPLEXITY)}


def _dependences(model: Model) -> dict[str, Metric]:
    of_slices = (REFIT_DEPENDENCE, SHUFFLED_DEPENDENCE) if model.slices > 1 else ()
    metrics: dict[str, Metric] = {column: column for column in (DEPENDENCE, JOINT_ENTROPY)}
    return metrics | {column: of_each(column, float) for column in of_slices} | {_SUM: of_each(PERPLEXITY, _entropies)}


def _entropies(perplexities: Numbers) -> float:
    return float(np.log2(perplexities).sum())


def _log_positions(entry: Entry) -> float:
    """Bits to tell all positions of the training images apart; equal for models that share data and training."""
    rows = entry.selection.rows
    rows = rows[(rows["dataset"] == entry.images.dataset) & (rows["image_size"] == entry.images.image_size)]
    finished = rows[rows["status"] == "ok"].iloc[0]
    side = int(finished["image_size"]) // 2 ** int(finished["downsamplings"])
    return math.log2(int(finished["train_images"]) * side**2)
