"""What the items of the learned prior need.

All of them compare models that the store has a row of, at every data set that these were run on: every model, or those
that an item has a question for. A choice looks at what was ever run, and not at how it ended.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd

from ...data.needs import Grid, Needs, distinct, ever_run
from ...known import (
    CODES_USED,
    DATA_SET,
    DEPENDENCE,
    DURATION,
    JOINT_ENTROPY,
    LEARNED_TRAINING,
    MEMORY,
    MODEL,
    PARAMETERS,
    PERPLEXITY,
    PICTURE,
    PSNR,
    RAN_ON,
    RECONSTRUCTION,
    SPEED,
    TRAIN_RECONSTRUCTION,
    UNIFORM_CODES,
    UNIFORM_TOTAL,
    UNIGRAM_CODES,
    UNIGRAM_TOTAL,
)
from .models import models_in, varying_in

SWEEPS = ("sweeps/photos.yaml", "sweeps/cifar10_lossless.yaml", "sweeps/cifar10.yaml")

LEAST_SLICE_COUNTS = 3
"""Of one width and codebook size: fewer make no line over the number of slices."""

_EVERY = f"every model (a combination of {', '.join(MODEL)}) that has a row"
_WHERE = "at every dataset and image_size that it has one at"


def _every_model(rows: pd.DataFrame) -> Sequence[Grid]:
    models = models_in(rows)
    varying = varying_in(models)
    grids = []
    for model in models:
        here = rows[(rows[list(MODEL)] == [getattr(model, column) for column in MODEL]).all(axis=1)]
        axes = {column: distinct(here, column) for column in DATA_SET}
        axes |= {column: (getattr(model, column),) for column in MODEL[1:]}
        was_run = ever_run(here, DATA_SET)
        grids.append(Grid(quantizer=model.quantizer, label=model.name(varying), axes=axes, keep=was_run))
    return grids


def _several_codebooks(rows: pd.DataFrame) -> Sequence[Grid]:
    """Models of which a position has several codes."""
    several = (rows["slices"] > 1) & (rows["quantizer"] == "dvq") | (rows["joint_codebooks"] > 1)
    return _every_model(rows[several])


def _slice_counts(rows: pd.DataFrame) -> Sequence[Grid]:
    """DVQ, where enough slice counts of one width and codebook size were run."""
    dvq = rows[rows["quantizer"] == "dvq"]
    counts = dvq.groupby([*DATA_SET, "dimension", "codebook_size"])["slices"].transform("nunique")
    return _every_model(dvq[counts >= LEAST_SLICE_COUNTS])


def _every_model_and_device(rows: pd.DataFrame) -> Sequence[Grid]:
    """A point for each device and set of versions: their costs are no repetitions of each other."""
    grids = []
    for grid in _every_model(rows):
        here = grid.rows(rows)
        axes = {**grid.axes, "quantizer": (grid.quantizer,), **{column: distinct(here, column) for column in RAN_ON}}
        was_run = ever_run(here, (*DATA_SET, *RAN_ON))
        grids.append(Grid(quantizer=grid.quantizer, label=grid.label, axes=axes, keep=was_run))
    return grids


def _comparison(
    *,
    which: str = _EVERY,
    choose: Callable[[pd.DataFrame], Sequence[Grid]] = _every_model,
    sweeps: tuple[str, ...] = SWEEPS,
    **what: Any,
) -> Needs:
    """Needs of models that share their data and differ in nothing but themselves."""
    return Needs(
        trainable="learned_prior",
        grids=(f"{which}, {_WHERE}",),
        choose=choose,
        sweeps=sweeps,
        seeds_by=DATA_SET,
        training=LEARNED_TRAINING,
        alike=(*LEARNED_TRAINING, "data_sha256"),
        **what,
    )


FIGURE_6 = _comparison(metrics=(RECONSTRUCTION, UNIFORM_CODES), curves=(RECONSTRUCTION, TRAIN_RECONSTRUCTION))
TABLE_1 = _comparison(
    metrics=(RECONSTRUCTION, UNIFORM_CODES, UNIGRAM_CODES, UNIFORM_TOTAL, UNIGRAM_TOTAL, "parameters")
)
RECONSTRUCTIONS = _comparison(
    metrics=(RECONSTRUCTION, UNIGRAM_CODES),
    least_repetitions=1,
    lowest_seed_only=True,
    artifacts=(PICTURE,),
)
BITS_SPLIT = _comparison(metrics=(RECONSTRUCTION, UNIGRAM_CODES, UNIFORM_CODES, UNIGRAM_TOTAL, UNIFORM_TOTAL))
EQUAL_BITS = _comparison(metrics=(RECONSTRUCTION, UNIFORM_CODES, UNIFORM_TOTAL, UNIGRAM_TOTAL, PARAMETERS))
RATE_DISTORTION = _comparison(metrics=(PSNR, UNIFORM_CODES, UNIGRAM_CODES))
CODE_USE = _comparison(metrics=(UNIGRAM_CODES, CODES_USED, PERPLEXITY))
SLICE_DEPENDENCE = _comparison(
    which=f"{_EVERY} and several codebooks at a position (DVQ's slices, VQ's joint codebooks)",
    choose=_several_codebooks,
    metrics=(DEPENDENCE, JOINT_ENTROPY, PERPLEXITY),
)
BITS_OVER_SLICES = _comparison(
    which=f"dvq with at least {LEAST_SLICE_COUNTS} values of slices at one dimension and codebook_size",
    choose=_slice_counts,
    sweeps=("sweeps/slices.yaml",),
    metrics=(RECONSTRUCTION, UNIGRAM_TOTAL, UNIFORM_TOTAL),
)
COST = Needs(
    trainable="learned_prior",
    grids=(f"{_EVERY}, on every run_device and with all run_versions that it has one of, {_WHERE}",),
    choose=_every_model_and_device,
    sweeps=SWEEPS,
    # A point has the repetitions that ran there: those of a sweep may be spread over several devices.
    seeds_by=(*DATA_SET, *MODEL, *RAN_ON),
    least_repetitions=1,
    training=LEARNED_TRAINING,
    metrics=(SPEED, DURATION, MEMORY, PARAMETERS, UNIFORM_CODES),
)
