"""What the items of the learned prior share: needs, and sentences of captions.

All of them compare models that the store has a row of, at every data set that these were run on: every model, or those
that an item has a question for. A choice looks at what was ever run, and not at how it ended.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from ...data.needs import Grid, Needs, at, axes_of, ever_run
from ...data.selection import Metric, Selection, distinct_text
from ...naming import number
from ...output.messages import best, best_of_each, said
from ...output.words import caveats, either, sentences
from ._columns import DATA_SET, MODEL
from ._models import DataSet, Entry, data_sets_of, model_of, models_in, varying_in

SWEEPS = ("sweeps/photos.yaml", "sweeps/cifar10_lossless.yaml", "sweeps/cifar10.yaml")
EVERY_MODEL = f"every model (a combination of {', '.join(MODEL)}) that has a row"
WHERE = "at every dataset and image_size that it has one at"
RECONSTRUCTION_IS = (
    "the decoder's cross-entropy given the codes: what the paper calls bits/dim. It leaves out what the codes cost and "
    "is no bound on the likelihood"
)


def model_grids(rows: pd.DataFrame) -> Sequence[Grid]:
    """A grid for each model."""
    models, grids = models_in(rows), []
    for model in models:
        values = {column: getattr(model, column) for column in MODEL}
        here = at(rows, **values)
        axes = {**axes_of(here, *DATA_SET), **{column: (value,) for column, value in values.items()}}
        del axes["quantizer"]
        label, was_run = model.name(varying_in(models)), ever_run(here, DATA_SET)
        grids.append(Grid(quantizer=model.quantizer, label=label, axes=axes, keep=was_run))
    return grids


def comparison(
    *metrics: str,
    which: str = EVERY_MODEL,
    choose: Callable[[pd.DataFrame], Sequence[Grid]] = model_grids,
    sweeps: tuple[str, ...] = SWEEPS,
    **what: Any,
) -> Needs:
    """Needs of models that share their data and differ in nothing but themselves."""
    return Needs(
        trainable="learned_prior", metrics=metrics, grids=(f"{which}, {WHERE}",), choose=choose, sweeps=sweeps,
        seeds_by=DATA_SET, apart=DATA_SET, **what,
    )  # fmt: skip


def note(selection: Selection, *subjects: str) -> str:
    """The footnote of a figure: the models, its own subjects, data sets, training and, where there are any, holes."""
    about = f"{_data_sets(selection)}."
    return sentences(_glossary(selection), *subjects, about, _training(selection), caveats(selection))


def table_note(selection: Selection) -> str:
    """The same of a table, whose subjects are notes of their own; the data sets come last."""
    models = sentences(_glossary(selection), _training(selection), caveats(selection))
    return f"{models} {_data_sets(selection)}."


def lowest_of_each(
    found: Mapping[DataSet, Sequence[Entry]], metric: Metric, what: str, unit: str = "bits/dim"
) -> str:  # fmt: skip
    """A message: which model has the lowest mean, or at how many of several data sets."""
    sets = [[(entry.label, entry.numbers(metric)) for entry in its] for its in found.values()]
    return said(best(sets[0], what, unit) if len(sets) == 1 else best_of_each(sets, what, "data sets"))


def _glossary(selection: Selection) -> str:
    """What the names of the models stand for, as far as they are used."""
    models = [model_of(grid) for grid in selection.grids]
    varying, families = varying_in(models), {model.quantizer for model in models}
    parts = []
    if "vq" in families:
        joint = any(model.joint_codebooks > 1 for model in models)
        parts.append(f"VQ: a codebook{', or J of them,' if joint else ''} on all features of a latent position.")
    if "dvq" in families:
        parts.append("DVQ: the features cut into L slices, a codebook for each.")
    if "svq" in families:
        joint = any(model.joint_positions > 1 for model in models)
        several = "; one code stands for 1 position, or for P of them together" if joint else ""
        parts.append(f"SVQ: the positions cut into L regions, a codebook for each{several}.")
    for column, symbol, meaning in (
        ("dimension", "D", "features of a latent position"),
        ("codebook_size", "K", "codes of a codebook"),
    ):
        value = "" if column in varying else f" = {getattr(models[0], column)}"
        parts.append(f"{symbol}{value}: {meaning}.")
    return " ".join(parts)


def repetitions(selection: Selection) -> str:
    """`n = 3 seeds`, or of each data set."""
    titles = {
        f"n = {either(map(str, counts))} seeds": [DataSet(dataset=name, image_size=size).title for name, size in groups]
        for counts, groups in selection.repetitions().items()
    }
    if len(titles) == 1:
        return next(iter(titles))
    return " and ".join(f"{n} ({', '.join(its)})" for n, its in titles.items())


def _training(selection: Selection) -> str:
    """How the models were trained; a setting that differs between data sets with all its values."""
    rows = selection.drawn
    steps, batch, rate, precision = (
        either(distinct_text(rows, column)) for column in ("steps", "batch_size", "learning_rate", "precision")
    )
    latents = {
        f"{size // 2**halvings}×{size // 2**halvings}"
        for size, halvings in rows[["image_size", "downsamplings"]].astype(int).itertuples(index=False, name=None)
    }
    heads = {True: "logistic mixtures for each pixel", False: "256-way softmax for each sub-pixel"}
    outputs = either([heads[mixed] for mixed in sorted({mixtures > 0 for mixtures in rows["logistic_mixtures"]})])
    text = f"Latents of {either(sorted(latents))} positions; output: {outputs}. "
    text += f"Adam, {steps} steps of {batch} images, learning rate {rate}"
    return f"{text}; {precision}." if precision else f"{text}."


def _data_sets(selection: Selection) -> str:
    """The data sets and how many images they have."""
    return ", ".join(_counted(selection, images) for images in data_sets_of(selection.grids))


def _counted(selection: Selection, images: DataSet) -> str:
    rows = images.of(selection.drawn)
    counts: Sequence[str] = [
        either([f"{int(number(value)):,}" for value in sorted(rows[column].dropna().unique())])
        for column in ("train_images", "test_images")
    ]
    return f"{images.title} ({counts[0]} training and {counts[1]} test images)" if all(counts) else images.title
