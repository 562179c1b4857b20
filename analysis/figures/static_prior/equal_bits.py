"""DVQ against the VQ that has as many parameters, and against the VQ whose codes have as many bits.

A DVQ of L slices with K codes each has K * D parameters, as a VQ with K codes has, and sends L * log2 K bits, as a VQ
with K^L codes does. The paper compares the former; what slicing gains at a given rate is in the latter.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ...data.needs import Grid, at, distinct, most_held, spread
from ...data.selection import Selection
from ...data.summary import ratio_summaries
from ...draw.sheet import Drawn, Sheet, handle, level_handle
from ...draw.style import distinguished
from ...items import figure
from ...naming import listed, number
from ...output.messages import duel, said, tally
from ...output.numbers import long_form
from ...output.words import capitalised
from . import _shared as shared

_MOST_ROWS = 4
_METRIC = "test_mse of dvq / test_mse of vq"
_MODEL = ("codebook_size", "slices")


def _grids(rows: pd.DataFrame) -> Sequence[Grid]:
    vq, dvq = at(rows, quantizer="vq"), at(rows, quantizer="dvq")
    if vq.empty or dvq.empty:
        return ()
    bound = most_held(dvq, "init_bound", ["dimension", "factors", "slices", "codebook_size"], ties="smallest")
    vq, dvq = at(vq, init_bound=bound), at(dvq, init_bound=bound)
    held = set(distinct(vq, "codebook_size"))
    models = {(int(k), int(s)) for k, s in zip(dvq["codebook_size"], dvq["slices"], strict=True)}
    sizes = sorted({k for k, s in models if k in held and s > 1 and k**s in held})
    partners = sorted({k**s for k, s in models if k in sizes and k**s in held})
    dvq = dvq[dvq["codebook_size"].isin(sizes) & (dvq["slices"] > 1)]
    dimensions = spread([d for d in distinct(dvq, "dimension") if d in set(vq["dimension"])], _MOST_ROWS)
    if not partners or not dimensions:
        return ()
    dvq = at(dvq, dimension=dimensions)
    axes = {"dimension": dimensions, "factors": distinct(dvq, "factors")}
    sliced = {"codebook_size": tuple(sizes), "slices": distinct(dvq, "slices"), "init_bound": (bound,)}
    plain = {"codebook_size": tuple(sorted({*sizes, *partners})), "init_bound": (bound,)}
    return (
        Grid(quantizer="vq", axes={**axes, **plain}),
        Grid(quantizer="dvq", axes={**axes, **sliced}, keep=shared.slices_divide),
    )


def _models(selection: Selection) -> Iterator[tuple[int, int]]:
    """Codebook size and slices of each DVQ."""
    return itertools.product(*(selection["dvq"].axes[axis] for axis in _MODEL))


def _comparisons(selection: Selection) -> Iterator[dict[str, Any]]:
    """Each DVQ and each VQ that it is compared with, and what is equal then: `parameters` or `bits`."""
    held = selection["vq"].axes["codebook_size"]
    for size, slices in _models(selection):
        for equal, theirs in (("parameters", size), ("bits", size**slices)):
            if theirs in held:
                yield {"equal": equal, "codebook_size": size, "slices": slices, "vq_codebook_size": theirs}


def ratios(selection: Selection) -> pd.DataFrame:
    """Test loss of DVQ over that of VQ, paired by seed: equal seeds saw equal data. Losses differ by powers.

    A row for each comparison and point, with geometric mean and deviation; fewer than two pairs make a hole. A pair
    with a loss of zero has no ratio.
    """
    columns, where = ["dimension", "factors", "codebook_size", "slices", "seed", "test_mse"], ["dimension", "factors"]
    used = (selection[name].usable[columns] for name in ("vq", "dvq"))
    vq, dvq = (rows[rows["test_mse"] > 0] for rows in used)
    plain, sliced = (selection[name].table.assign(level=selection[name].levels) for name in ("vq", "dvq"))
    every, tables = sliced.assign(wanted=selection["dvq"].wanted), []
    for comparison in _comparisons(selection):
        model, partner = {axis: comparison[axis] for axis in _MODEL}, comparison["vq_codebook_size"]
        theirs = at(vq, codebook_size=partner)
        pairs = at(dvq, **model).merge(theirs, on=[*where, "seed"], suffixes=("", "_of_vq")).sort_values("seed")
        levels = at(plain, codebook_size=partner)[[*where, "level"]]
        points = at(every, **model).merge(levels, on=where, how="left", suffixes=("", "_of_vq"))
        places = pd.MultiIndex.from_frame(points[where]).get_indexer(pd.MultiIndex.from_frame(pairs[where]))
        numbers = ratio_summaries(
            pairs["test_mse"].to_numpy(float), pairs["test_mse_of_vq"].to_numpy(float), places, len(points),
            points[["level", "level_of_vq"]].max(axis=1).to_numpy(), least=2,
        )  # fmt: skip
        about = points[[*where, "init_bound", "wanted"]]
        tables.append(pd.DataFrame({**comparison, **about, "metric": _METRIC, **numbers}, index=about.index))
    return long_form(tables)


@figure(
    "DVQ against VQ at equal parameters and at equal bits: paired ratios of the test loss",
    shared.static_prior_needs(
        ("test_mse", "bits_per_vector", "codebook_parameters"),
        _grids,
        "dvq: every dimension x factors x slices (that divide it) x codebook_size of which some slices have as many "
        "bits as a VQ that was run, at the init_bound with most",
        "vq: the same dimension x factors and init_bound, with the codebook sizes of dvq and those of equal bits",
    ),
    numbers=ratios,
)
def equal_bits(selection: Selection) -> Drawn:
    """Over the number of factors: a row for each dimension, equal parameters beside equal bits."""
    table, dvq = ratios(selection), selection["dvq"]
    dimensions = dvq.axes["dimension"]
    models = [*_models(selection)]
    looks = dict(zip(models, distinguished([shared.dvq_look(slices) for _, slices in models]), strict=True))
    panels = [(dimension, equal) for dimension in dimensions for equal in ("parameters", "bits")]
    titles = [f"D = {number(dimension)}: equal {equal}, {_partners(table, equal)}" for dimension, equal in panels]
    limits = {each: _limits(at(table, dimension=each[0], equal=each[1])) for each in panels}
    sheet = Sheet(titles, columns=2, inches=2.0 if len(dimensions) <= 2 else 1.22)
    for panel, (dimension, equal) in zip(sheet.panels, panels, strict=True):
        panel.log_x(dvq.axes["factors"])
        panel.log_y(*limits[dimension, equal])
        panel.level(panel.axes.get_xlim(), (1.0, 1.0))
        for (size, slices), look in looks.items():
            points = at(table, dimension=dimension, equal=equal, codebook_size=size, slices=slices)
            if len(points):
                panel.points(points["factors"], points, look)
    bits = dvq.usable.groupby([*_MODEL])["bits_per_vector"].first()
    in_bits = {model: f" ({number(value)} bits)" for model, value in bits.items()}
    entries = [handle(look, f"DVQ, K = {number(model[0])}, L = {number(model[1])}{in_bits.get(model, '')}")
               for model, look in looks.items()]  # fmt: skip
    note = shared.note(
        selection,
        "Loss: mean squared error per dimension. Ratios are paired by seed: equal seeds, factors and dimensions are "
        "equal data. Their mean is geometric, with the 95% t-interval of the log ratio. DVQ has L slices with K codes "
        "each: K·D parameters, like a VQ with K codes, and L·log2 K bits for a vector, like a VQ with K^L codes. "
        f"{capitalised(shared.uniform(dvq.axes['init_bound'][0]))}.",
    )
    caption = (
        "Test loss of depthwise quantizers (DVQ) over that of the plain quantizer (VQ) with as many codebook "
        "parameters (left), and of the VQ whose codes have as many bits (right), over the number of factors F. Below 1 "
        "DVQ is better, above it VQ is; equal ratios are equally far apart. Each panel has a scale of its own. "
        f"{note}"
    )
    return sheet.finish(
        message=_message(table), caption=caption, x_label=shared.FACTORS,
        y_label="loss of DVQ / loss of VQ\n(below 1: DVQ is better)",
        legend=[entries, [level_handle("no difference")]], footnote=note,
        y_limits=[*limits.values()],
    )  # fmt: skip


def _message(table: pd.DataFrame) -> str:
    """Who is better at equal bits and at equal parameters, by the intervals of the paired ratios."""
    return said(*(
        f"at equal {equal} {duel('DVQ', 'VQ', tally(at(table, equal=equal), 1.0), 'loss')}"
        for equal in ("bits", "parameters")
    ))  # fmt: skip


def _partners(table: pd.DataFrame, equal: str) -> str:
    """`VQ with K = 256`."""
    return f"VQ with K = {listed(sorted(at(table, equal=equal)['vq_codebook_size'].unique()))}"


def _limits(table: pd.DataFrame) -> tuple[float, float]:
    """From the lowest to the highest interval, with 1 inside and some room on a log axis."""
    low, high = np.nanmin([1.0, *table["low"]]), np.nanmax([1.0, *table["high"]])
    room = max(high / low, 1.1) ** 0.07
    return float(low / room), float(high * room)
