from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from dvq_ray import pack as pack_module
from dvq_ray.cells import Cell, Pack, Point
from dvq_ray.experiments import EXPERIMENTS, Experiment, Outcome
from dvq_ray.pack import run_pack
from dvq_ray.provenance import Run
from dvq_ray.store import Store

RUN = Run(run_id="run", sweep="sweep", commit="commit")
Compute = Any


class FakeExperiment(Experiment):
    """The static prior with another way to compute a cell."""

    compute: Compute

    def run(self) -> Compute:
        return type(self).compute


def pack_of(compute: Compute, seeds: int = 4) -> Pack:
    kind = type("Fake", (FakeExperiment,), {"compute": staticmethod(compute)})
    real = EXPERIMENTS["static_prior"]
    experiment = kind(**{field.name: getattr(real, field.name) for field in dataclasses.fields(real)})
    fields = {"quantizer": "vq", "dimension": 4, "codebook_size": 8, "factors": 16}
    point = Point(experiment=experiment, settings=real.settings(fields))
    return Pack(cells=[Cell(cell_id=point.cell_id(seed), point=point, seed=seed) for seed in range(seeds)])


def good(settings: Any, seeds: Sequence[int], *, device: str) -> Iterator[Outcome]:
    for seed in seeds:
        yield Outcome(metrics={"test_mse": float(seed)}, curve=[{"step": 0, "test_mse": 9.0}])


def failing_at(bad_seed: int, error: BaseException) -> Compute:
    def compute(settings: Any, seeds: Sequence[int], *, device: str) -> Iterator[Outcome]:
        for seed in seeds:
            if seed == bad_seed:
                raise error
            yield Outcome(metrics={"test_mse": float(seed)})

    return compute


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def test_a_row_holds_identity_configuration_metrics_and_provenance(store: Store) -> None:
    pack = pack_of(good, seeds=1)
    assert [cell.status for cell in run_pack(pack, store, RUN, "cpu")] == ["ok"]
    row = store.load().iloc[0]
    assert row["cell_id"] == pack.cells[0].cell_id
    assert row["point_id"] == pack.cells[0].point.point_id
    assert (row["sweep"], row["trainable"], row["revision"], row["seed"]) == ("sweep", "static_prior", 1, 0)
    assert (row["quantizer"], row["slices"], row["steps"], row["train_samples"]) == ("vq", 1, 4000, 16384)
    assert row["test_mse"] == 0.0
    assert (row["run_id"], row["run_commit"]) == ("run", "commit")
    assert '"numpy"' in row["run_versions"]
    assert row["run_host"]
    assert store.load_curves()["test_mse"].to_list() == [9.0]


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ValueError("no good"), "error"),
        (MemoryError("8 GiB"), "out_of_memory"),
        (RuntimeError("not enough memory: you tried to allocate"), "out_of_memory"),
        (type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory"), "out_of_memory"),
    ],
)
def test_a_failure_is_a_row_with_its_traceback_and_the_others_go_on(
    store: Store, monkeypatch: pytest.MonkeyPatch, error: Exception, status: str, device: str
) -> None:
    monkeypatch.setattr(pack_module, "machine_columns", lambda device: {"run_device": device})
    done = list(run_pack(pack_of(failing_at(1, error)), store, RUN, device))
    assert [cell.status for cell in done] == ["ok", status, "ok", "ok"]
    row = store.load().set_index("seed").loc[1]
    assert row["status"] == status
    assert row["error"].startswith(f"{type(error).__name__}: {error}" if status == "error" else "")
    assert "Traceback" in row["error"]
    assert "in compute" in row["error"]


def test_a_loss_that_is_not_finite_is_a_diverged_row_without_metrics_but_with_its_curve(store: Store) -> None:
    def diverging(settings: Any, seeds: Sequence[int], *, device: str) -> Iterator[Outcome]:
        yield Outcome(curve=[{"step": 0, "test_mse": 1.0}], diverged_at_step=17, metrics={"test_mse": 3.0})

    list(run_pack(pack_of(diverging, seeds=1), store, RUN, "cpu"))
    row = store.load().iloc[0]
    assert row["status"] == "diverged"
    assert row["error"] == "the loss is not finite at step 17"
    assert row["test_mse"] != row["test_mse"]
    assert len(store.load_curves()) == 1


def test_an_interruption_loses_the_cell_in_hand_and_no_other(store: Store) -> None:
    with pytest.raises(KeyboardInterrupt):
        list(run_pack(pack_of(failing_at(2, KeyboardInterrupt())), store, RUN, "cpu"))
    assert sorted(store.load()["seed"]) == [0, 1]


def test_a_pack_that_comes_back_computes_only_what_this_run_has_not_written(store: Store) -> None:
    computed: list[int] = []

    def counting(settings: Any, seeds: Sequence[int], *, device: str) -> Iterator[Outcome]:
        computed.extend(seeds)
        yield from good(settings, seeds, device=device)

    list(run_pack(pack_of(counting, seeds=2), store, dataclasses.replace(RUN, run_id="before"), "cpu"))
    partly = run_pack(pack_of(counting), store, RUN, "cpu")
    for _ in range(3):
        next(partly)
    computed.clear()
    again = list(run_pack(pack_of(counting), store, RUN, "cpu"))
    assert computed == [3]
    assert [cell.status for cell in again] == ["ok"] * 4


def test_a_pack_ends_with_one_file(store: Store) -> None:
    list(run_pack(pack_of(good), store, RUN, "cpu"))
    assert len(list(Path(store.absolute_location, "cells").iterdir())) == 1
    assert len(list(Path(store.absolute_location, "curves").iterdir())) == 1


def test_on_a_gpu_all_repetitions_of_a_point_are_computed_in_one_batch(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pack_module, "machine_columns", lambda device: {})
    batches: list[list[int]] = []

    def counting(settings: Any, seeds: Sequence[int], *, device: str) -> Iterator[Outcome]:
        batches.append(list(seeds))
        yield from good(settings, seeds, device=device)

    list(run_pack(pack_of(counting), store, RUN, "cuda"))
    list(run_pack(pack_of(counting), store, dataclasses.replace(RUN, run_id="other"), "cpu"))
    assert batches == [[0, 1, 2, 3], [0], [1], [2], [3]]
