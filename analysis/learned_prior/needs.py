"""What the items of the learned prior need.

All of them compare every model that the store has a row of, at every data set that it was run on. A choice looks at
what was ever run, and not at how it ended.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import pandas as pd

from analysis.learned_prior.models import COLUMNS, models_in, varying_in
from analysis.needs import Grid, Needs, distinct

DATA_SET = ("dataset", "image_size")
TRAINING = (
    "downsamplings",
    "stem_channels",
    "body_channels",
    "residual_channels",
    "residual_blocks",
    "logistic_mixtures",
    "codebook_start",
    "ema_decay",
    "restart_below",
    "commitment_weight",
    "learning_rate",
    "batch_size",
    "steps",
    "revision",
)
"""Settings that are neither the model's nor the data set's."""
SWEEPS = ("sweeps/photos.yaml", "sweeps/cifar10_lossless.yaml", "sweeps/cifar10.yaml")

RECONSTRUCTION = "reconstruction_bits_per_dim"
TRAIN_RECONSTRUCTION = "train_reconstruction_bits_per_dim"
UNIFORM_CODES, UNIGRAM_CODES = "code_bits_per_dim_uniform", "code_bits_per_dim_unigram"
UNIFORM_TOTAL, UNIGRAM_TOTAL = "total_bits_per_dim_uniform", "total_bits_per_dim_unigram"
PICTURE = "reconstructions.png"


def _every_model(rows: pd.DataFrame) -> Sequence[Grid]:
    models = models_in(rows)
    varying = varying_in(models)
    grids = []
    for model in models:
        here = rows[(rows[list(COLUMNS)] == [getattr(model, column) for column in COLUMNS]).all(axis=1)]
        run_on = set(here[list(DATA_SET)].itertuples(index=False, name=None))
        axes = {column: distinct(here, column) for column in DATA_SET}
        axes |= {column: (getattr(model, column),) for column in COLUMNS[1:]}
        keep = partial(_was_run_on, run_on)
        grids.append(Grid(quantizer=model.quantizer, label=model.name(varying), axes=axes, keep=keep))
    return grids


def _was_run_on(run_on: set[tuple[Any, ...]], point: Mapping[str, Any]) -> bool:
    return tuple(point[column] for column in DATA_SET) in run_on


def _comparison(**what: Any) -> Needs:
    return Needs(
        trainable="learned_prior",
        grids=(
            f"every model (a combination of {', '.join(COLUMNS)}) that has a row, at every dataset and image_size that "
            "it has one at",
        ),
        choose=_every_model,
        sweeps=SWEEPS,
        seeds_by=DATA_SET,
        training=TRAINING,
        alike=(*TRAINING, "data_sha256"),
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
