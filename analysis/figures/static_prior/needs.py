"""What the figures of the static prior need, and which of the store's values they are drawn at.

A choice looks at which points were ever run, and not at how they ended: a failure makes a hole and moves no figure to
other values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pandas as pd

from ...data.needs import Grid, Needs, distinct, most_held, spread
from ...known import STATIC_TRAINING

_MOST_COLUMNS, _MOST_ROWS = 3, 4
"""Of Figure 3(b): what a page has room for."""
SWEEPS = ("sweeps/static_prior.yaml", "sweeps/static_prior_full.yaml")


def static_prior_needs(
    *,
    metrics: tuple[str, ...],
    grids: tuple[str, ...],
    choose: Callable[[pd.DataFrame], Sequence[Grid]],
    seeds_by: tuple[str, ...] = ("factors",),
    others: tuple[str, ...] = (),
) -> Needs:
    """Needs of the static prior, where points with equal factors have equal seeds unless an item says otherwise.

    `others` are columns that the item looks at beside metrics and settings.
    """
    return Needs(
        trainable="static_prior",
        metrics=metrics,
        grids=grids,
        choose=choose,
        sweeps=SWEEPS,
        seeds_by=seeds_by,
        training=STATIC_TRAINING,
        others=("slices", *others),
    )


def slices_divide(points: pd.DataFrame) -> pd.Series[bool]:
    """Whether a vector of a point's dimension can be cut into its slices."""
    return points["dimension"] % points["slices"] == 0


def figure3a_grids(rows: pd.DataFrame) -> Sequence[Grid]:
    """Plain VQ over dimension, codebook size and bound, and k-means at the same sizes."""
    vq = rows[rows["quantizer"] == "vq"]
    if vq.empty:
        return ()
    factors = most_held(vq, "factors", ["dimension", "codebook_size"], ties="largest")
    vq = vq[vq["factors"] == factors]
    shared = {
        "dimension": distinct(vq, "dimension"),
        "codebook_size": distinct(vq, "codebook_size"),
        "factors": (factors,),
    }
    return (
        Grid(quantizer="vq", axes={**shared, "init_bound": distinct(vq, "init_bound")}),
        Grid(quantizer="kmeans", axes={**shared, "slices": (1,)}, presence="if present"),
    )


FIGURE_3A = static_prior_needs(
    metrics=("test_mse", "data_variance"),
    grids=(
        "vq: every dimension x codebook_size x init_bound, at the factors with most dimension x codebook_size pairs",
        "kmeans, if any is stored: the same dimension x codebook_size, slices=1",
    ),
    choose=figure3a_grids,
)


def _figure3b(rows: pd.DataFrame) -> Sequence[Grid]:
    vq = rows[rows["quantizer"] == "vq"]
    vq = vq[vq["codebook_size"] < vq["factors"]]
    counts = vq.groupby(["dimension", "init_bound"])["factors"].nunique()
    if counts.empty:
        return ()
    several = counts[counts > 1]
    pairs = (counts if several.empty else several).reset_index()
    dimensions = distinct(pairs, "dimension")
    axes = {
        "dimension": dimensions[-2:] if several.empty else spread(dimensions, _MOST_COLUMNS),
        "init_bound": spread(distinct(pairs, "init_bound"), _MOST_ROWS),
    }
    vq = vq[vq["dimension"].isin(axes["dimension"]) & vq["init_bound"].isin(axes["init_bound"])]
    shared = {"codebook_size": distinct(vq, "codebook_size"), "factors": distinct(vq, "factors")}
    return (
        Grid(
            quantizer="vq",
            axes={**axes, **shared},
            keep=lambda points: points["codebook_size"] < points["factors"],
        ),
    )


FIGURE_3B = static_prior_needs(
    metrics=("loss_over_variance", "untrained_test_mse", "data_variance"),
    grids=(
        "vq: every dimension x init_bound x codebook_size x factors with codebook_size < factors, at the dimension and "
        "init_bound that have more than one number of factors; where none has, at the two largest dimensions; of many, "
        f"{_MOST_COLUMNS} dimensions and {_MOST_ROWS} bounds",
    ),
    choose=_figure3b,
)


def figure4_grids(rows: pd.DataFrame) -> Sequence[Grid]:
    """DVQ of one codebook size, and VQ of that and of larger ones, over dimension and factors."""
    dvq, vq = rows[rows["quantizer"] == "dvq"], rows[rows["quantizer"] == "vq"]
    if dvq.empty or vq.empty:
        return ()
    size = most_held(dvq, "codebook_size", ["dimension", "factors", "slices", "init_bound"], ties="smallest")
    dvq = dvq[dvq["codebook_size"] == size]
    bound = most_held(dvq, "init_bound", ["dimension", "factors", "slices"], ties="smallest")
    dvq = dvq[dvq["init_bound"] == bound]
    dimensions = distinct(dvq, "dimension")
    vq = vq[(vq["init_bound"] == bound) & vq["dimension"].isin(dimensions)]
    larger = [value for value in distinct(vq, "codebook_size") if value > size][-2:]
    vq = vq[vq["codebook_size"].isin([size, *larger])]
    factors = distinct(pd.concat([dvq, vq]), "factors")
    shared = {"dimension": dimensions, "factors": factors}
    return (
        Grid(quantizer="vq", axes={**shared, "codebook_size": (size, *larger), "init_bound": (bound,)}),
        Grid(
            quantizer="dvq",
            axes={**shared, "codebook_size": (size,), "slices": distinct(dvq, "slices"), "init_bound": (bound,)},
            keep=slices_divide,
        ),
        Grid(quantizer="kmeans", axes={**shared, "codebook_size": (size,), "slices": (1,)}, presence="if complete"),
    )


FIGURE_4 = static_prior_needs(
    metrics=("test_mse", "data_variance", "bits_per_vector"),
    grids=(
        "dvq: every dimension x factors x slices (that divide it), at the codebook_size and init_bound with most",
        "vq: the same dimension x factors and init_bound, with the codebook_size of dvq and the two largest above it",
        "kmeans, if it is complete: the same dimension x factors, with the codebook_size of dvq, slices=1",
    ),
    choose=figure4_grids,
)
