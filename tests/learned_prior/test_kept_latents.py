"""Latents that a training keeps, and quantizers that are compared on them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dvq_ray import load_model, run_sweep
from dvq_ray.experiments.learned_prior import kept_latents
from dvq_ray.experiments.learned_prior.device import DataSet, Device
from dvq_ray.experiments.learned_prior.images import Images
from dvq_ray.experiments.learned_prior.kept_latents import latents_file
from dvq_ray.experiments.learned_prior.model import AutoencoderModel
from dvq_ray.quantizer.kept_codes import read_codes
from tests.learned_prior.test_training import SMALL, images, training
from tests.sweep_files import write_pictures


def test_latents_are_those_that_the_kept_codes_stand_for_and_quantizers_fit_them(tmp_path: Path) -> None:
    write_pictures(tmp_path)
    folders = {"format": "folder", "train": str(tmp_path / "train"), "test": str(tmp_path / "test")}
    trained = run_sweep(
        {
            "name": "trained", "trainable": "learned_prior", "data": {"mine": folders},
            "fixed": {**SMALL, "dataset": "mine"}, "grids": {"a": {"quantizer": "dvq", "slices": 3}},
            "keep": ["codes", "latents", "model"],
        },
        results=tmp_path,
        in_process=True,
    )  # fmt: skip
    kept = tmp_path / "trained" / "artifacts" / trained["cell_id"].iloc[0]
    model = load_model(tmp_path / "trained", trained["cell_id"].iloc[0])
    assert isinstance(model, AutoencoderModel)
    for split, codes in read_codes((kept / "codes.parquet").read_bytes()).items():
        latents = np.load(kept / f"{split}_latents.npy")
        assert (latents.dtype, latents.shape) == (np.float32, (len(codes) * 16, 6))
        of_images = torch.from_numpy(latents).view(len(codes), 16, 6).mT.reshape(len(codes), 6, 4, 4)
        np.testing.assert_array_equal(model.network.quantizer.encode(of_images).numpy(), codes)
    compared = run_sweep(
        {
            "name": "compared", "trainable": "vectors",
            "data": {"latents": {"format": "npy", "train": str(kept / "train_latents.npy"),
                                 "test": str(kept / "test_latents.npy")}},
            "fixed": {"dataset": "latents"},
            "grids": {"a": {"quantizer": ["pq", "kmeans"], "slices": 2, "codebook_size": 4},
                      "b": {"quantizer": "rvq", "stages": 2, "codebook_size": 4}},
        },
        results=tmp_path,
        in_process=True,
    )  # fmt: skip
    assert (compared["status"] == "ok").all(), compared["error"].tolist()
    assert (compared["test_mse"] > 0).all()


@pytest.mark.parametrize(("most", "kept"), [(160, range(10)), (159, range(0, 10, 2)), (16, [0]), (1, [0])])
def test_of_many_images_evenly_spaced_ones_are_kept(most: int, kept: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_latents, "MOST_POSITIONS", most)
    found = file_of(images())
    few = images()
    alone = file_of(Images(train=few.train[list(kept)], test=few.test, sha256="digest"))
    np.testing.assert_allclose(found, alone, rtol=1e-5, atol=1e-6)


def file_of(some: Images) -> Any:
    cpu = Device("cpu")
    with cpu.prepared():
        one = training(data=some)
        content = latents_file(one.model, DataSet(some, cpu).train, cpu, one.settings)
    return np.load(io.BytesIO(content), allow_pickle=False)
