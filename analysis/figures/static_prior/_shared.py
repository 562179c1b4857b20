"""What the items of the static prior share: needs, labels, parts of drawings, and sentences of captions.

A choice of grids looks at which points were ever run, and not at how they ended: a failure makes a hole and moves no
figure to other values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pandas as pd
from matplotlib.lines import Line2D

from ...data.needs import Grid, Needs, at, axes_of, distinct, most_held
from ...data.selection import Selection, distinct_text
from ...draw.looks import known_look
from ...draw.sheet import MANY_POINTS, Panel, handle, level_handle
from ...draw.style import ANY, Look, as_yardstick
from ...naming import listed, number
from ...output.words import caveats, either, sentences

LOSS = "test loss: mean squared error\nper dimension"
FACTORS = "number of factors F (Gaussian blobs)"
DIMENSION = "dimension D (features of a vector)"
VARIANCE = "Dotted: predicting the mean of the data, whose error is the variance."
vq_look = partial(known_look, "vq")
"""Plain VQ, by its codebook size."""
dvq_look = partial(known_look, "dvq")
"""DVQ, by its slices."""
TRAINING = ("learning_rate", "schedule", "steps", "batch_size")
"""Settings that captions have all values of."""
_BARS = "bars: 95% t-intervals (hidden where smaller than a marker)"
_BANDS = "bars, and bands where points are many: 95% t-intervals"


def static_prior_needs(
    metrics: tuple[str, ...],
    choose: Callable[[pd.DataFrame], Sequence[Grid]],
    *grids: str,
    seeds_by: tuple[str, ...] = ("factors",),
    others: tuple[str, ...] = (),
    **what: Any,
) -> Needs:
    """Needs of the static prior, where points with equal factors have equal seeds unless an item says otherwise.

    `others` are columns that the item reads beside metrics and settings.
    """
    return Needs(
        trainable="static_prior", metrics=metrics, grids=grids, choose=choose, seeds_by=seeds_by,
        sweeps=("sweeps/static_prior.yaml", "sweeps/static_prior_full.yaml"), captioned=TRAINING,
        others=others, **what,
    )  # fmt: skip


def kmeans_look(codebook_size: float) -> Look:
    """K-means, the yardstick of the plain VQ of that codebook size: its colour."""
    return as_yardstick(vq_look(codebook_size))


def slices_divide(points: pd.DataFrame) -> pd.Series[bool]:
    """Whether a vector of a point's dimension can be cut into its slices."""
    return points["dimension"] % points["slices"] == 0


VQ_GRIDS = (
    "vq: every dimension x codebook_size x init_bound, at the factors with most dimension x codebook_size pairs",
    "kmeans, if any is stored: the same dimension x codebook_size, slices=1",
)


def vq_grids(rows: pd.DataFrame) -> Sequence[Grid]:
    """Plain VQ over dimension, codebook size and bound, and k-means at the same sizes."""
    vq = at(rows, quantizer="vq")
    if vq.empty:
        return ()
    factors = most_held(vq, "factors", ["dimension", "codebook_size"], ties="largest")
    vq = at(vq, factors=factors)
    shared = {**axes_of(vq, "dimension", "codebook_size"), "factors": (factors,)}
    return (
        Grid(quantizer="vq", axes={**shared, "init_bound": distinct(vq, "init_bound")}),
        Grid(quantizer="kmeans", axes={**shared, "slices": (1,)}, presence="if present"),
    )


DVQ_GRIDS = (
    "dvq: every dimension x factors x slices (that divide it), at the codebook_size and init_bound with most",
    "vq: the same dimension x factors and init_bound, with the codebook_size of dvq and the two largest above it",
    "kmeans, if it is complete: the same dimension x factors, with the codebook_size of dvq, slices=1",
)


def dvq_grids(rows: pd.DataFrame) -> Sequence[Grid]:
    """DVQ of one codebook size, and VQ of that and of larger ones, over dimension and factors."""
    dvq, vq = at(rows, quantizer="dvq"), at(rows, quantizer="vq")
    if dvq.empty or vq.empty:
        return ()
    size = most_held(dvq, "codebook_size", ["dimension", "factors", "slices", "init_bound"], ties="smallest")
    dvq = at(dvq, codebook_size=size)
    bound = most_held(dvq, "init_bound", ["dimension", "factors", "slices"], ties="smallest")
    dvq = at(dvq, init_bound=bound)
    dimensions = distinct(dvq, "dimension")
    vq = at(vq, init_bound=bound, dimension=dimensions)
    larger = [value for value in distinct(vq, "codebook_size") if value > size][-2:]
    factors = distinct(pd.concat([dvq, at(vq, codebook_size=[size, *larger])]), "factors")
    shared = {"dimension": dimensions, "factors": factors}
    sliced = {"codebook_size": (size,), "slices": distinct(dvq, "slices"), "init_bound": (bound,)}
    return (
        Grid(quantizer="vq", axes={**shared, "codebook_size": (size, *larger), "init_bound": (bound,)}),
        Grid(quantizer="dvq", axes={**shared, **sliced}, keep=slices_divide),
        Grid(quantizer="kmeans", axes={**shared, "codebook_size": (size,), "slices": (1,)}, presence="if complete"),
    )


def draw_vq(panel: Panel, x: str, vq: pd.DataFrame, kmeans: pd.DataFrame | None) -> None:
    """A line for each codebook size, and one of k-means of that size."""
    if kmeans is not None:
        panel.models(kmeans, x, "codebook_size", kmeans_look)
    panel.models(vq, x, "codebook_size", vq_look)


def draw_variance(panel: Panel, x: str, rows: pd.DataFrame) -> None:
    """The error of predicting the mean of the data."""
    variance = rows.groupby(x)["data_variance"].mean()
    panel.level(list(variance.index), list(variance))


def vq_legend(sizes: Sequence[int], *, kmeans: bool, variance: bool = True) -> list[list[Line2D]]:
    """An entry for each codebook size of a plain VQ, and what lines stand for."""
    return [
        [handle(vq_look(size), f"K = {number(size)}") for size in sizes],
        [
            handle(ANY, "VQ, trained by gradient"),
            *([handle(as_yardstick(ANY), "k-means, same K")] if kmeans else []),
            *([level_handle("predicting the mean: variance of the data")] if variance else []),
        ],
    ]


def note(selection: Selection, subject: str, *, intervals: str = "") -> str:
    """The footnote of a figure: its subject, repetitions, training and, where there are any, holes.

    `intervals` says how an item shows these, where it is not as figures do.
    """
    dense = any(len(values) > MANY_POINTS for grid in selection.grids for values in grid.axes.values())
    intervals = intervals or (_BANDS if dense else _BARS)
    return sentences(subject, _repetitions(selection, intervals), training(selection), caveats(selection))


def uniform(bound: float) -> str:
    """Where initial codes lie."""
    return f"initial codes uniform in ±{number(bound)}"


def _repetitions(selection: Selection, intervals: str) -> str:
    """How many repetitions there are, as a whole or, where seeds depend on it alone, by the number of factors."""
    by_counts = selection.repetitions()
    if len(by_counts) == 1 or selection.needs.seeds_by != ("factors",):
        counts = sorted({n for counts in by_counts for n in counts})
        return f"Means of n = {listed(counts)} Monte-Carlo repetitions, {intervals}."
    parts = [
        f"n = {either(map(str, counts))} at F = {listed(factors for (factors,) in groups)}"
        for counts, groups in by_counts.items()
    ]
    return f"Means of n Monte-Carlo repetitions ({'; '.join(parts)}), {intervals}."


def training(selection: Selection) -> str:
    """How the gradient quantizers were trained; each setting that is not the same throughout with all its values."""
    rows = at(selection.drawn, quantizer=("vq", "dvq"))
    rate, schedule, steps, batch = (distinct_text(rows, column) for column in TRAINING)
    text = f"Adam, {either(steps)} steps, batches of {either(batch)}, "
    text += f"learning rate {either(rate)} ({either(schedule)})."
    if any(len(values) > 1 for values in (rate, schedule, steps, batch)):
        text += " Settings with several values differ between points, never within one."
    return text
