"""What models reach for the bits of their codes: likelihood at equal totals, distortion over rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from matplotlib.ticker import FuncFormatter, MaxNLocator

from ...data.selection import Selection
from ...draw import scales
from ...draw.sheet import Drawn, Panel, Sheet, handle, level_handle
from ...draw.style import ANY
from ...items import figure
from ...naming import number
from ...output.messages import best, best_of_each, said, short
from . import _shared as shared
from ._columns import PARAMETERS, PSNR, RECONSTRUCTION, UNIFORM_CODES, UNIFORM_TOTAL, UNIGRAM_CODES, UNIGRAM_TOTAL
from ._models import DataSet, Entry, entries_of, legend_of

_DOT = replace(ANY, width=0.0)
"""A model of whatever kind, in legends."""
_ROOM = 0.08
"""Above and below all intervals, as a share of the height that these take."""
_ASIDE = 0.016
_MOST_ASIDE = 0.1
"""How far models of equal bits or parameters are drawn apart, and all of them together, as shares of the axis."""
_INCHES = {1: 2.6, 2: 2.1}
"""Height of a panel, by the number of data sets, so that a figure fits on a page with its footnote."""


@figure(
    "Reconstruction over the bits of the codes, with lines of equal total, and over the number of parameters",
    shared.comparison(RECONSTRUCTION, UNIFORM_CODES, UNIFORM_TOTAL, UNIGRAM_TOTAL, PARAMETERS),
)
def equal_bits_images(selection: Selection) -> Drawn:
    """Reconstruction over bits of the codes, with lines of equal total; beside it over the number of parameters."""
    found = entries_of(selection)
    titles = [f"{images.title}, over {what}" for images in found for what in ("bits of the codes", "parameters")]
    sheet = Sheet(titles, columns=2, inches=_INCHES.get(len(found), 1.6))
    limits = [_limits(entries, RECONSTRUCTION, UNIGRAM_TOTAL, UNIFORM_TOTAL) for entries in found.values()]
    for i, entries in enumerate(found.values()):
        bits, parameters = sheet.panels[2 * i : 2 * i + 2]
        _draw(bits, entries, UNIFORM_CODES, RECONSTRUCTION)
        _draw(parameters, entries, PARAMETERS, RECONSTRUCTION, UNIGRAM_TOTAL)
        parameters.axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: number(round(value / 1e6, 6))))
        _draw_equal_totals(bits, limits[i])
    legend = [
        legend_of(found),
        [handle(_DOT, "reconstruction"), handle(_DOT, "with codes, unigram prior (right)", hollow=True),
         level_handle("equal totals of reconstruction and codes (left)")],
    ]  # fmt: skip
    note = shared.note(
        selection,
        "Left: codes under a uniform prior. Models on one dotted line have equal totals, and the total is where the "
        "line meets the axis on the left. Right: the same and, hollow, the total under a unigram prior (how often each "
        "code occurs in the training images), over all parameters that are trained, codebooks included. Models of "
        "equal bits or parameters are drawn beside each other.",
        f"Means of {shared.repetitions(selection)} with 95% t-intervals.",
    )
    caption = (
        f"Reconstruction of test images at equal bits and at equal parameters. Reconstruction is "
        f"{shared.RECONSTRUCTION_IS}; totals are upper bounds on the negative log-likelihood. {note}"
    )
    return sheet.finish(
        message=_at_equal_bits(found, RECONSTRUCTION, "reconstruction loss", "bits/dim"), caption=caption,
        x_label=["bits/dim of the codes, uniform prior", "parameters (millions)"], y_label="bits/dim of test images",
        legend=legend, footnote=note, y_limits=limits,
    )  # fmt: skip


@figure(
    "Distortion of test images over the rate of their codes, under a uniform and a unigram prior",
    shared.comparison(PSNR, UNIFORM_CODES, UNIGRAM_CODES),
)
def rate_distortion_images(selection: Selection) -> Drawn:
    """Peak signal-to-noise ratio over the rate of the codes, under a uniform and under a unigram prior."""
    found = entries_of(selection)
    titles = [f"{images.title}, {prior} prior" for images in found for prior in ("uniform", "unigram")]
    sheet = Sheet(titles, columns=2, inches=_INCHES.get(len(found), 1.6))
    for i, entries in enumerate(found.values()):
        panels = sheet.panels[2 * i : 2 * i + 2]
        for panel, rate in zip(panels, (UNIFORM_CODES, UNIGRAM_CODES), strict=True):
            _draw(panel, entries, rate, PSNR)
        right = max(panel.axes.get_xlim()[1] for panel in panels)
        for panel in panels:
            panel.axes.set_xlim(0, right)
    note = shared.note(
        selection,
        "PSNR: peak signal-to-noise ratio of the pixels that a model expects given the codes, the mean over test "
        "images; higher is better. Models are trained for cross-entropy and not for squared error. Rate: bits/dim of "
        "the codes of test images, under a uniform prior and under how often each code occurs in the training images. "
        "Models of equal rate are drawn beside each other.",
        "No curve of theory stands beside the models: it would take the distribution that the images are from, which "
        "is unknown.",
        f"Means of {shared.repetitions(selection)} with 95% t-intervals of both.",
    )
    return sheet.finish(
        message=_at_equal_bits(found, PSNR, "PSNR", "dB", higher=True),
        caption=f"Distortion of test images over the rate of their codes. {note}",
        x_label="rate (bits/dim of the codes)", y_label="PSNR of test images (dB)", legend=[legend_of(found)],
        footnote=note, y_limits=[_limits(entries, PSNR) for entries in found.values()],
    )  # fmt: skip


def _at_equal_bits(
    found: Mapping[DataSet, Sequence[Entry]], metric: str, what: str, unit: str, *, higher: bool = False
) -> str:  # fmt: skip
    """The best of the models whose codes have equal bits under a uniform prior; of all, where no two have."""
    sets = {}
    for images, entries in found.items():
        by_bits: dict[str, Sequence[Entry]] = {}
        for entry in entries:
            bits = short(float(entry.numbers(UNIFORM_CODES)["mean"]))
            by_bits[bits] = [*by_bits.get(bits, ()), entry]
        groups = {f"at {bits} bits/dim of codes": its for bits, its in by_bits.items() if len(its) > 1}
        for where, its in (groups or {"whatever their bits": entries}).items():
            sets[images, where] = [(entry.label, entry.numbers(metric)) for entry in its]
    if len(found) > 1:
        return said(best_of_each([*sets.values()], what, "rates that models share", higher=higher))
    return said(*(f"{where} {best(points, what, unit, higher=higher)}" for (_, where), points in sets.items()))


def _draw(panel: Panel, entries: Sequence[Entry], x: str, *metrics: str) -> None:
    """A dot for each model and metric, hollow from the second metric on, over the model's `x`.

    A model without a value has no place on the axis either: nothing is drawn, and the legend says what is missing.
    """
    across = {entry: entry.numbers(x) for entry in entries}
    dots = [(entry, metric) for entry in entries for metric in metrics if across[entry]["n"]]
    places = [float(across[entry]["mean"]) for entry, _ in dots]
    right = 1.08 * max([float(across[entry]["high"]) for entry, _ in dots], default=1.0)
    for (entry, metric), place, at in zip(dots, places, _apart(places, right), strict=True):
        points, reach = entry.point(metric), float(across[entry]["high"]) - place
        panel.points([at], points, entry.look, hollow=metric != metrics[0])
        if reach > 0:
            panel.axes.errorbar(
                [at], points["mean"], xerr=[reach], color=entry.look.colour, elinewidth=0.8, capsize=1.6, linestyle=""
            )
    panel.axes.set_xlim(0, right)
    panel.axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))


def _apart(places: Sequence[float], width: float) -> list[float]:
    """The places on an axis of that width, of which equal ones are moved beside each other."""
    shifted = []
    for i, place in enumerate(places):
        before, after = (int(np.isclose(place, part).sum()) for part in (places[:i], places[i + 1 :]))
        step = width * min(_ASIDE, _MOST_ASIDE / (before + after + 1))
        shifted.append(place + step * (before - after) / 2)
    return shifted


def _limits(entries: Sequence[Entry], *metrics: str) -> tuple[float, float]:
    """A scale that holds these numbers of all models, with their intervals."""
    points = pd.concat([entry.point(metric) for entry in entries for metric in metrics])
    return scales.limits(float(points["low"].min()), float(points["high"].max()), room=_ROOM)


def _draw_equal_totals(panel: Panel, limits: tuple[float, float]) -> None:
    """Lines along which reconstruction and codes add up to what the line shows on the left."""
    low, high = limits
    right = panel.axes.get_xlim()[1]
    step = np.diff(MaxNLocator(8).tick_values(low, high))[0]
    for total in np.arange(np.ceil(low / step), (high + right) / step) * step:
        panel.level((0.0, right), (total, total - right))
