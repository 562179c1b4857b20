"""Real sizes of files: test images under a model and a prior over its codes, beside PNG and lossless WebP.

    python -m dvq_ray.experiments.code_prior.image_files results/code_prior CELL_ID --images 50

The cell is one of the prior; it and its parent must have kept their models (`keep: [model]`).
"""

from __future__ import annotations

import sys
from typing import Any

import click
import numpy as np

from dvq_ray.experiment.registry import find_experiment
from dvq_ray.experiments.code_prior import NAME
from dvq_ray.experiments.code_prior.coding import CodingError
from dvq_ray.experiments.code_prior.image_codec import HEADER_BYTES, ImageCodec, file_sizes, picture_bytes, sheet
from dvq_ray.experiments.code_prior.model import CodePriorModel
from dvq_ray.experiments.learned_prior.images import ImagesError, load_images
from dvq_ray.experiments.learned_prior.model import AutoencoderModel
from dvq_ray.models.files import ModelError
from dvq_ray.models.loading import load_model
from dvq_ray.problems import SweepFileError
from dvq_ray.store import Store, StoreError
from dvq_ray.sweep.spec import parse_sweep


@click.command()
@click.argument("store")
@click.argument("cell_id")
@click.option(
    "--images", "count", type=click.IntRange(1), default=20, show_default=True, help="Test images, the first."
)
def main(store: str, cell_id: str, count: int) -> None:
    """Write test images as files with the prior CELL_ID of STORE, read them back, and print what they take."""
    try:
        for line in lines(store, cell_id, count):
            click.echo(line)
    except (ModelError, StoreError, SweepFileError, CodingError, ImagesError) as error:
        click.echo(str(error), err=True)
        sys.exit(2)


def lines(store: str, cell_id: str, count: int) -> list[str]:
    """What is printed. Raises `ModelError` and others where a model, the store or the images are missing."""
    prior = load_model(store, cell_id)
    if not isinstance(prior, CodePriorModel):
        raise ModelError(f"{store}: the cell {cell_id} is no prior over codes")
    rows = Store(store).load(["cell_id", "parent_cell_id"]).set_index("cell_id")
    parents = find_experiment(NAME).parents
    assert parents is not None
    text = Store(store).sweep_text()
    location = str(parse_sweep(text, f"{store}/sweep.yaml").resolved[parents.key]) if text else ""
    autoencoder = load_model(location, str(rows.loc[cell_id, "parent_cell_id"]))
    if not isinstance(autoencoder, AutoencoderModel):
        raise ModelError(f"{location}: the parent of {cell_id} is no auto-encoder of images")
    own = Store(location).sweep_text() or ""
    settings = autoencoder.settings
    data = parse_sweep(own, f"{location}/sweep.yaml").data[settings["dataset"]]
    images = load_images(data, settings["image_size"]).test[:count]
    return _table(ImageCodec(autoencoder, prior), autoencoder, prior, images)


def _table(codec: ImageCodec, autoencoder: AutoencoderModel, prior: CodePriorModel, images: Any) -> list[str]:
    import torch

    sizes, (first, *_) = [*file_sizes(codec, images)], images
    codes = np.concatenate([autoencoder.encode(image[None]) for image in images])
    parameters = torch.cat([autoencoder.parameters(each[None]) for each in codes])
    nats = autoencoder.network.likelihood.nats(parameters, torch.from_numpy(images)).double().numpy()
    said = (nats / np.log(2) * first.size + prior.bits(codes)).sum() / 8
    total = {kind: sum(each[kind] for each in sizes) for kind in ("codec", "png", "webp")}
    rows = [
        (f"codec, without {HEADER_BYTES} bytes for each file", total["codec"] - HEADER_BYTES * len(images)),
        ("said by bits/dim", said),
        ("PNG", total["png"]),
        ("WebP, lossless", total["webp"]),
        ("PNG, all images in one file", picture_bytes(sheet(images), "PNG")),
        ("WebP, all images in one file", picture_bytes(sheet(images), "WEBP")),
    ]
    height, width = first.shape[1:]
    return [
        f"{len(images)} test images of {height}x{width}, each read back and equal",
        f"{'':42}{'bytes':>12}{'bits/dim':>12}",
        *(f"{name:42}{size:12,.0f}{8 * size / images.size:12.3f}" for name, size in rows),
    ]


if __name__ == "__main__":
    main()
