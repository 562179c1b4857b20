"""Sentences that the captions of the learned prior share."""

from __future__ import annotations

from collections.abc import Sequence

from ...data.selection import Selection, distinct_text
from ...naming import number
from ...output.words import either, holes
from .models import DataSet, data_sets_of, model_of, varying_in

RECONSTRUCTION = (
    "the decoder's cross-entropy given the codes: what the paper calls bits/dim. It leaves out what the codes cost and "
    "is no bound on the likelihood"
)


def note(selection: Selection, *subjects: str) -> str:
    """The footnote of an item: the models, its own subjects, training and, where there are any, holes."""
    parts = (glossary(selection), *subjects, training(selection), holes(selection))
    return " ".join(part for part in parts if part)


def glossary(selection: Selection) -> str:
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
        shared = "; one code stands for 1 position, or for P of them together" if joint else ""
        parts.append(f"SVQ: the positions cut into L regions, a codebook for each{shared}.")
    for column, symbol, meaning in (
        ("dimension", "D", "features of a latent position"),
        ("codebook_size", "K", "codes of a codebook"),
    ):
        value = "" if column in varying else f" = {getattr(models[0], column)}"
        parts.append(f"{symbol}{value}: {meaning}.")
    return " ".join(parts)


def repetitions(selection: Selection) -> str:
    """`n = 3 seeds`, or of each data set."""
    by_n: dict[int, list[str]] = {}
    for (dataset, image_size), seeds in selection.seeds.items():
        by_n.setdefault(len(seeds), []).append(DataSet(dataset=dataset, image_size=image_size).title)
    if len(by_n) == 1:
        return f"n = {next(iter(by_n))} seeds"
    return " and ".join(f"n = {n} seeds ({', '.join(titles)})" for n, titles in sorted(by_n.items(), reverse=True))


def training(selection: Selection) -> str:
    """How the models were trained; a setting that differs between data sets with all its values."""
    rows = selection.rows
    steps, batch, rate, precision = (
        either(distinct_text(rows, column)) for column in ("steps", "batch_size", "learning_rate", "precision")
    )
    latents = {
        f"{size // 2**halvings}×{size // 2**halvings}"
        for size, halvings in rows[["image_size", "downsamplings"]].astype(int).itertuples(index=False, name=None)
    }
    mixtures = {mixtures > 0 for mixtures in rows["logistic_mixtures"]}
    heads = {True: "logistic mixtures for each pixel", False: "256-way softmax for each sub-pixel"}
    outputs = either([heads[mixed] for mixed in sorted(mixtures)])
    text = f"Latents of {either(sorted(latents))} positions; output: {outputs}. "
    text += f"Adam, {steps} steps of {batch} images, learning rate {rate}"
    return f"{text}; {precision}." if precision else f"{text}."


def data_sets(selection: Selection) -> str:
    """The data sets and how many images they have."""
    return ", ".join(_counted(selection, images) for images in data_sets_of(selection.grids))


def _counted(selection: Selection, images: DataSet) -> str:
    rows = selection.rows
    rows = rows[(rows["dataset"] == images.dataset) & (rows["image_size"] == images.image_size)]
    counts: Sequence[str] = [
        either([f"{int(number(value)):,}" for value in sorted(rows[column].dropna().unique())])
        for column in ("train_images", "test_images")
    ]
    return f"{images.title} ({counts[0]} training and {counts[1]} test images)" if all(counts) else images.title
