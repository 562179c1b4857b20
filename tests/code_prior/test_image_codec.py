"""Images to bytes and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from dvq_ray import load_model
from dvq_ray.experiments.code_prior import image_codec, image_files
from dvq_ray.experiments.code_prior.coding import CodingError
from dvq_ray.experiments.code_prior.image_codec import HEADER_BYTES, ImageCodec, file_sizes
from dvq_ray.experiments.learned_prior.images import load_images
from dvq_ray.experiments.learned_prior.sources import FolderSource
from tests.code_prior.stores import GRIDS, SMALL, image_sweep, prior_sweep, run

Models = dict[str, tuple[Any, Any]]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    """By quantizer, and with an independent softmax for each sub-pixel: the auto-encoder and its prior."""
    folder = tmp_path_factory.mktemp("images")
    grids = {**GRIDS, "categorical": {"quantizer": "vq", "logistic_mixtures": 0}}
    sweep = image_sweep(folder / "pictures", seeds=1, keep=["codes", "model"])
    fixed = {name: value for name, value in sweep["fixed"].items() if name != "logistic_mixtures"}
    grids = {name: {"logistic_mixtures": 2, **grid} for name, grid in grids.items()}
    parents = run({**sweep, "fixed": fixed, "grids": grids}, folder)
    grid = {"prior": "spatial", "prior_convolutions": 2, **SMALL}
    priors = run(prior_sweep(folder / "images", seeds=1, grids={"a": grid}, keep=["model"]), folder)
    found = {}
    for _, row in priors.iterrows():
        (parent,) = (each for _, each in parents.iterrows() if each["cell_id"] == row["parent_cell_id"])
        name = parent["quantizer"] if parent["logistic_mixtures"] else "categorical"
        autoencoder = load_model(folder / "images", parent["cell_id"])
        found[name] = (autoencoder, load_model(folder / "priors", row["cell_id"]))
    assert len(found) == 4
    return found


@pytest.fixture(scope="module")
def pixels(models: Models, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = next(path for path in tmp_path_factory.getbasetemp().glob("images*/pictures"))
    source = {"format": "folder", "train": str(folder / "train"), "test": str(folder / "test")}
    return load_images(FolderSource.model_validate(source), 8).test


@pytest.mark.long
@pytest.mark.parametrize("name", ["dvq", "svq", "vq", "categorical"])
def test_images_come_back_and_take_the_bits_that_are_said(name: str, models: Models, pixels: Any) -> None:
    autoencoder, prior = models[name]
    codec = ImageCodec(autoencoder, prior)
    codes = np.concatenate([autoencoder.encode(image[None]) for image in pixels])
    parameters = torch.cat([autoencoder.parameters(each[None]) for each in codes])
    nats = autoencoder.network.likelihood.nats(parameters, torch.from_numpy(pixels)).double().numpy()
    bits = nats / np.log(2) * pixels[0].size + prior.bits(codes)
    sizes = [each["codec"] for each in file_sizes(codec, pixels)]
    said = np.ceil(bits / 32) * 4 + HEADER_BYTES
    assert np.abs(np.array(sizes) - said).max() <= 8
    assert all(each["png"] > 0 < each["webp"] for each in file_sizes(codec, pixels[:1]))


def test_other_models_are_rejected(models: Models, pixels: Any) -> None:
    content = ImageCodec(*models["dvq"]).compress(pixels[0])
    with pytest.raises(CodingError, match="another auto-encoder or another prior"):
        ImageCodec(*models["vq"]).decompress(content)


def test_a_damaged_file_never_gives_wrong_pixels(models: Models, pixels: Any) -> None:
    codec = ImageCodec(*models["dvq"])
    content = codec.compress(pixels[0])
    for place in [*range(0, 24, 4), *range(24, len(content) - 4, 97)]:
        broken = bytearray(content)
        broken[place] ^= 0x20
        with pytest.raises(CodingError):
            codec.decompress(bytes(broken))
    for length in (0, 3, HEADER_BYTES, len(content) - 8):
        with pytest.raises(CodingError):
            codec.decompress(content[:length])


def test_a_decoder_that_rounds_differently_rejects_the_image(
    models: Models, pixels: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    codec = ImageCodec(*models["dvq"])
    content = codec.compress(pixels[0])
    exact = ImageCodec._parameters
    monkeypatch.setattr(ImageCodec, "_parameters", lambda self, codes: exact(self, codes) * (1 + 2e-7))
    with pytest.raises(CodingError, match="the decoder puts out other numbers"):
        codec.decompress(content)


def test_probabilities_that_round_differently_are_noticed(
    models: Models, pixels: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    codec = ImageCodec(*models["dvq"])
    content = codec.compress(pixels[0])
    exact = image_codec.ImageCodec._probabilities
    monkeypatch.setattr(ImageCodec, "_probabilities", lambda *given: np.roll(exact(*given), 1, axis=1))
    with pytest.raises(CodingError):
        codec.decompress(content)


def test_the_command_prints_the_sizes_of_files(models: Models, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = next(path for path in tmp_path_factory.getbasetemp().glob("images*") if (path / "priors").exists())
    cell_id = models["dvq"][1].kept.cell_id
    result = CliRunner().invoke(image_files.main, [str(folder / "priors"), cell_id, "--images", "3"])
    assert result.exit_code == 0, result.output
    assert "3 test images of 8x8, each read back and equal" in result.output
    numbers = {line[:42].strip(): float(line[42:54].replace(",", "")) for line in result.output.splitlines()[2:]}
    assert [*numbers][1:4] == ["said by bits/dim", "PNG", "WebP, lossless"]
    assert 0 <= numbers["codec, without 24 bytes for each file"] - numbers["said by bits/dim"] <= 3 * 8
    missing = CliRunner().invoke(image_files.main, [str(folder / "priors"), "0" * 16])
    assert missing.exit_code == 2
    assert "no cell '0000000000000000'" in missing.output
