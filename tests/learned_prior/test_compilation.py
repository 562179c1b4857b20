"""What a GPU compiles, counted on a CPU: the graphs that a backend is given, and the seconds that it takes."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dvq_ray.experiment.experiment import Outcome
from dvq_ray.experiment.registry import find_experiment
from dvq_ray.experiment.surroundings import Surroundings
from dvq_ray.experiments.learned_prior import compilation
from dvq_ray.experiments.learned_prior import run as run_module
from dvq_ray.experiments.learned_prior.device import DataSet, Device
from dvq_ray.experiments.learned_prior.images import Images
from dvq_ray.experiments.learned_prior.settings import LearnedPriorSettings
from dvq_ray.experiments.learned_prior.sources import PhotosSource
from dvq_ray.experiments.learned_prior.training import Training
from dvq_ray.quantizer import nearest
from dvq_ray.streams import stream

SMALL = {
    "quantizer": "dvq", "slices": 2, "image_size": 8, "dimension": 4, "codebook_size": 8, "downsamplings": 1,
    "stem_channels": 4, "body_channels": 4, "residual_channels": 4, "residual_blocks": 0, "logistic_mixtures": 1,
    "batch_size": 4, "steps": 3,
}  # fmt: skip


@dataclass(frozen=True)
class LikeGpu(Device):
    """A CPU on which everything is compiled and warmed up, as on a GPU."""

    @property
    def warms_up(self) -> bool:
        return True

    def compiles(self, steps: int) -> bool:
        return True


class Counting:
    """Runs graphs as they are, notes the shapes that they were compiled for, and takes its time."""

    def __init__(self) -> None:
        self.graphs: list[list[Any]] = []
        self.seconds = 0.0

    def __call__(self, graph: torch.fx.GraphModule, inputs: list[Any]) -> Any:
        time.sleep(self.seconds)
        self.graphs.append([each.shape for each in inputs if isinstance(each, torch.Tensor)])
        assert not [each for each in inputs if isinstance(each, torch.SymInt)], "compiled for all sizes"
        return graph.forward


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counting]:
    counting = Counting()
    monkeypatch.setattr(compilation, "BACKEND", counting)
    monkeypatch.setattr(compilation, "obstacle", lambda: None)
    monkeypatch.setattr(run_module, "Device", LikeGpu)
    monkeypatch.setattr(run_module, "data_set", lambda source, size, device: data(size))
    compilation.forget()
    yield counting
    compilation.forget()


def data(size: int = 8, device: Device | None = None) -> DataSet:
    draw = stream(0, "images of a test")
    train, test = (draw.integers(0, 256, (n, 3, size, size), dtype=np.uint8) for n in (10, 4))
    return DataSet(Images(train=train, test=test, sha256="digest"), device or LikeGpu("cpu"))


def settings(**fields: Any) -> LearnedPriorSettings:
    made = find_experiment("learned_prior").settings({**SMALL, **fields})
    assert isinstance(made, LearnedPriorSettings)
    return made


def outcomes(seeds: list[int], **fields: Any) -> list[Outcome]:
    surroundings = Surroundings(data={"photos": PhotosSource()})
    return [event for event in run_module.run(settings(**fields), seeds, surroundings) if isinstance(event, Outcome)]


@pytest.mark.long
@torch._dynamo.config.patch(recompile_limit=2)  # type: ignore[untyped-decorator]
def test_every_point_of_a_worker_is_compiled_once_for_its_own_sizes(backend: Counting) -> None:
    """Torch compiles a function so many times, eight by default, and then runs it as it is."""
    for points, batch_size in enumerate((2, 3, 4), start=1):
        outcomes([0], batch_size=batch_size, steps=1)
        assert len(backend.graphs) == points
    outcomes([0], image_size=16, steps=1)
    assert len(backend.graphs) == 4


def test_a_second_size_is_compiled_for_that_size_alone(backend: Counting) -> None:
    doubled = compilation.compiled(lambda images: images * 2)
    for sizes in ((4, 3, 8, 8), (5, 3, 8, 8), (4, 3, 16, 16)):
        doubled(torch.ones(sizes))  # type: ignore[no-untyped-call]
    assert backend.graphs == [[torch.Size(sizes)] for sizes in ((4, 3, 8, 8), (5, 3, 8, 8), (4, 3, 16, 16))]


def test_repetitions_of_a_point_share_what_was_compiled(backend: Counting) -> None:
    assert len(outcomes(list(range(9)))) == 9
    assert len(backend.graphs) == 1


def test_what_is_compiled_gives_the_numbers_of_what_is_not(backend: Counting, monkeypatch: pytest.MonkeyPatch) -> None:
    (compiled,) = outcomes([0])
    monkeypatch.setattr(run_module, "Device", Device)
    (eager,) = outcomes([0])
    assert len(backend.graphs) == 1
    times = ("duration_seconds", "images_per_second", "peak_memory_bytes", "training_seconds")
    for one, other in zip((compiled.metrics, *compiled.curve), (eager.metrics, *eager.curve), strict=True):
        assert {k: v for k, v in one.items() if k not in times} == {k: v for k, v in other.items() if k not in times}


def test_training_time_and_speed_leave_compilation_out(backend: Counting) -> None:
    backend.seconds = 2.0
    (found,) = outcomes([0])
    assert len(backend.graphs) == 1
    assert found.curve[-1]["training_seconds"] < 2
    assert found.metrics["images_per_second"] > 3 * 4 / 2
    assert found.duration_seconds is not None
    assert found.duration_seconds > 2


def test_a_resumed_training_leaves_its_own_compilation_out_too(backend: Counting) -> None:
    first = Training(settings(), 0, data(), LikeGpu("cpu"))
    first.begin()
    first.advance()
    kept = first.checkpoint()
    compilation.forget()
    backend.seconds = 2.0
    second = Training(settings(), 0, data(), LikeGpu("cpu"))
    second.restore(kept)
    while not second.done:
        second.advance()
    assert len(backend.graphs) == 2
    assert second.training_seconds < 2


@pytest.mark.parametrize("quantizer", [{}, {"ema_decay": 0.9, "codebook_start": "k-means", "restart_below": 0.5}])
def test_warming_up_changes_no_weight_and_no_random_number(backend: Counting, quantizer: dict[str, Any]) -> None:
    state = torch.get_rng_state()
    warm, cold = (Training(settings(**quantizer), 0, data(), device) for device in (LikeGpu("cpu"), Device("cpu")))
    warm.begin()
    cold.begin()
    assert torch.equal(torch.get_rng_state(), state)
    for (name, one), other in zip(warm.model.state_dict().items(), cold.model.state_dict().values(), strict=True):
        assert torch.equal(one, other), name
    assert all(parameter.grad is None for parameter in warm.model.parameters())


@dataclass(frozen=True)
class Aligning(LikeGpu):
    """The same, with aligned widths."""

    @property
    def aligns_widths(self) -> bool:
        return True


@pytest.mark.slow
@pytest.mark.parametrize("logistic_mixtures", [0, 1])
def test_torchs_own_compiler_trains_as_on_a_gpu_without_atomics(
    logistic_mixtures: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch._inductor.utils import run_and_get_code

    monkeypatch.setattr(compilation, "obstacle", lambda: None)
    cell = settings(stem_channels=15, body_channels=31, dimension=60, logistic_mixtures=logistic_mixtures)
    trainings = [Training(cell, 0, data(device=device), device) for device in (Device("cpu"), Aligning("cpu"))]
    trainings[0].begin()
    with monkeypatch.context() as as_on_a_gpu:
        as_on_a_gpu.setattr(nearest, "_adds_in_any_order", lambda tensor: True)
        as_on_a_gpu.setattr(nearest, "_multiplies_in_tiles", lambda tensor: True)
        _, code = run_and_get_code(trainings[1].begin)
    for each in trainings:
        while not each.done:
            each.advance()
    assert any("dvq_ray.sum_rows" in text for text in code)
    assert not any("atomic_add" in text for text in code)
    bits = [each.curve[-1]["train_reconstruction_bits_per_dim"] for each in trainings]
    assert bits[1] == pytest.approx(bits[0], rel=1e-5)


def found_obstacle() -> str | None:
    compilation.obstacle.cache_clear()
    try:
        return compilation.obstacle()
    finally:
        compilation.obstacle.cache_clear()


@pytest.fixture
def triton(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.utils._triton, "has_triton_package", lambda: True)


def compiler(folder: Path, script: str) -> str:
    path = folder / "gcc"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.usefixtures("triton")
def test_a_machine_with_a_compiler_and_headers_can_compile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "Python.h").touch()
    monkeypatch.setattr("sysconfig.get_path", lambda *of: str(tmp_path))
    monkeypatch.setenv("CC", compiler(tmp_path, f'echo "$@" > {tmp_path}/said'))
    assert found_obstacle() is None
    assert f"-I{tmp_path}" in (tmp_path / "said").read_text()


def test_a_machine_without_triton_cannot_compile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.utils._triton, "has_triton_package", lambda: False)
    assert "triton is not installed" in str(found_obstacle())


@pytest.mark.usefixtures("triton")
def test_a_machine_without_a_compiler_cannot_compile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    assert "no C compiler: neither gcc nor clang is in PATH" in str(found_obstacle())


@pytest.mark.usefixtures("triton")
def test_a_machine_without_python_headers_cannot_compile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", compiler(tmp_path, "exit 0"))
    monkeypatch.setattr("sysconfig.get_path", lambda *of: str(tmp_path))
    assert f"{tmp_path}/Python.h is missing" in str(found_obstacle())


@pytest.mark.usefixtures("triton")
def test_a_compiler_that_fails_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "Python.h").touch()
    monkeypatch.setattr("sysconfig.get_path", lambda *of: str(tmp_path))
    monkeypatch.setenv("CC", compiler(tmp_path, "echo cannot find crti.o >&2; exit 1"))
    assert "gcc fails: cannot find crti.o" in str(found_obstacle())
    monkeypatch.setenv("CC", str(tmp_path / "missing"))
    assert "missing does not run" in str(found_obstacle())


def test_a_machine_that_cannot_compile_trains_without_and_says_why(
    backend: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compilation, "obstacle", lambda: "no C compiler")
    with pytest.warns(RuntimeWarning, match="without compilation, so more slowly: no C compiler"):
        (found,) = outcomes([0])
    assert found.metrics
    assert backend.graphs == []


def test_a_cpu_neither_compiles_nor_looks_for_a_compiler(backend: Counting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "Device", Device)
    monkeypatch.setattr(compilation, "obstacle", lambda: pytest.fail("looked"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        outcomes([0])
    assert backend.graphs == []
