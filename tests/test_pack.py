from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from dvq_ray.execution import pack as pack_module
from dvq_ray.execution.pack import run_pack
from dvq_ray.experiment.experiment import Outcome, Underway
from dvq_ray.experiment.registry import find_experiment
from dvq_ray.experiment.surroundings import Surroundings
from dvq_ray.store import Store, StoreError, commits
from dvq_ray.store.provenance import Run
from dvq_ray.sweep.cells import Pack, Point

CPU = Surroundings()
RUN = Run(run_id="run", sweep="sweep", commit="commit")
Compute = Any


def pack_of(compute: Compute, seeds: int = 4) -> Pack:
    real = find_experiment("static_prior")
    experiment = dataclasses.replace(real, run=compute)
    fields = {"quantizer": "vq", "dimension": 4, "codebook_size": 8, "factors": 16}
    point = Point(experiment=experiment, settings=real.settings(fields))
    return Pack(cells=[point.cell(seed) for seed in range(seeds)])


def measured(test_mse: float) -> dict[str, Any]:
    """All metrics of the static prior that have to be there."""
    numbers = ["train_mse", "data_variance", "loss_over_variance", "rate_curve_mse", "bits_per_vector"]
    return {
        **dict.fromkeys(numbers, 1.0), "test_mse": test_mse, "codebook_parameters": 1, "codes_used": [1],
        "perplexity": [1.0], "test_codes_used": [1], "test_perplexity": [1.0], "entropy_bits_per_vector": 1.0,
        "unseen_codes": [0.0], "unseen_codes_low": [0.0], "unseen_codes_high": [0.0], "vectors_per_code": 1.0,
    }  # fmt: skip


def good(settings: Any, seeds: Sequence[int], surroundings: Surroundings) -> Iterator[Outcome]:
    for seed in seeds:
        yield Outcome(metrics=measured(float(seed)), curve=[{"step": 0, "test_mse": 9.0}])


def failing_at(bad_seed: int, error: BaseException) -> Compute:
    def compute(settings: Any, seeds: Sequence[int], surroundings: Surroundings) -> Iterator[Outcome]:
        for seed in seeds:
            if seed == bad_seed:
                raise error
            yield Outcome(metrics=measured(float(seed)))

    return compute


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def test_a_row_holds_identity_configuration_metrics_and_provenance(store: Store) -> None:
    pack = pack_of(good, seeds=1)
    assert [cell.status for cell in run_pack(pack, store, RUN, CPU)] == ["ok"]
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
def test_a_failure_is_a_row_with_its_traceback_and_the_others_continue(
    store: Store, monkeypatch: pytest.MonkeyPatch, error: Exception, status: str, device: str
) -> None:
    monkeypatch.setattr(pack_module, "machine_columns", lambda device, _: {"run_device": device})
    done = list(run_pack(pack_of(failing_at(1, error)), store, RUN, Surroundings(device=device)))
    assert [cell.status for cell in done] == ["ok", status, "ok", "ok"]
    row = store.load().set_index("seed").loc[1]
    assert row["status"] == status
    assert row["error"].partition("\n")[0].endswith(f"{type(error).__name__}: {error}")
    assert "Traceback" in row["error"]
    assert "in compute" in row["error"]


def test_a_loss_that_is_not_finite_is_a_diverged_row_without_metrics_but_with_its_curve(store: Store) -> None:
    def diverging(settings: Any, seeds: Sequence[int], surroundings: Surroundings) -> Iterator[Outcome]:
        yield Outcome(curve=[{"step": 0, "test_mse": 1.0}], diverged_at_step=17, metrics={"test_mse": 3.0})

    list(run_pack(pack_of(diverging, seeds=1), store, RUN, CPU))
    row = store.load().iloc[0]
    assert row["status"] == "diverged"
    assert row["error"] == "the loss is not finite at step 17"
    assert row["test_mse"] != row["test_mse"]
    assert len(store.load_curves()) == 1


def test_an_interruption_loses_the_cell_in_hand_and_no_other(store: Store) -> None:
    with pytest.raises(KeyboardInterrupt):
        list(run_pack(pack_of(failing_at(2, KeyboardInterrupt())), store, RUN, CPU))
    assert sorted(store.load()["seed"]) == [0, 1]


def test_a_pack_that_comes_back_computes_only_what_this_run_has_not_written(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commits, "TOGETHER_SECONDS", 0.0)  # as if each took long
    computed: list[int] = []

    def counting(settings: Any, seeds: Sequence[int], surroundings: Surroundings) -> Iterator[Outcome]:
        computed.extend(seeds)
        yield from good(settings, seeds, surroundings)

    list(run_pack(pack_of(counting, seeds=2), store, dataclasses.replace(RUN, run_id="before"), CPU))
    partly = run_pack(pack_of(counting), store, RUN, CPU)
    for _ in range(3):
        next(partly)
    computed.clear()
    again = list(run_pack(pack_of(counting), store, RUN, CPU))
    assert computed == [3]
    assert [cell.status for cell in again] == ["ok"] * 4


def test_a_pack_ends_with_one_file(store: Store) -> None:
    list(run_pack(pack_of(good), store, RUN, CPU))
    assert len(list(Path(store.absolute_location, "cells").iterdir())) == 1
    assert len(list(Path(store.absolute_location, "curves").iterdir())) == 1


def test_on_a_gpu_all_repetitions_of_a_point_are_computed_in_one_batch(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pack_module, "machine_columns", lambda device, _: {})
    batches: list[list[int]] = []

    def counting(settings: Any, seeds: Sequence[int], surroundings: Surroundings) -> Iterator[Outcome]:
        batches.append(list(seeds))
        yield from good(settings, seeds, surroundings)

    list(run_pack(pack_of(counting), store, RUN, Surroundings(device="cuda")))
    list(run_pack(pack_of(counting), store, dataclasses.replace(RUN, run_id="other"), CPU))
    assert batches == [[0, 1, 2, 3], [0], [1], [2], [3]]


def long_cell(settings: Any, seeds: Sequence[int], surroundings: Surroundings) -> Iterator[Outcome | Underway]:
    """Four parts of work; keeps how many are done when it is stopped."""
    for seed in seeds:
        files = surroundings.files_of(seed)
        done = int(files.read_checkpoint() or b"0")
        first = done
        try:
            while done < 4:
                yield Underway(share=done / 4)
                done += 1
        except GeneratorExit:
            files.write_checkpoint(str(done).encode())
            raise
        files.write_artifact("note.txt", b"done")
        yield Outcome(metrics=measured(float(first)))


def test_what_is_done_is_in_the_store_before_a_later_cell_is_reported_as_underway(store: Store) -> None:
    def compute(settings: Any, seeds: Sequence[int], surroundings: Surroundings) -> Iterator[Outcome | Underway]:
        for seed in seeds:
            if seed == 2:
                yield Underway(share=0.5)
            yield Outcome(metrics=measured(float(seed)))

    pack = pack_of(compute, seeds=3)
    with closing(run_pack(pack, store, RUN, CPU)) as advances:
        assert [next(advances).status for _ in range(3)] == ["ok", "ok", None]
        assert [*store.statuses()] == sorted(cell.cell_id for cell in pack.cells[:2])


def test_progress_of_a_long_cell_is_reported_and_adds_up_to_the_cell(store: Store) -> None:
    pack = pack_of(long_cell, seeds=2)
    advances = list(run_pack(pack, store, RUN, CPU))
    assert [advance.status for advance in advances] == [None] * 4 + ["ok"] + [None] * 4 + ["ok"]
    assert sum(advance.nominal_seconds for advance in advances) == pytest.approx(pack.nominal_seconds())
    assert store.read_artifact(pack.cells[1].cell_id, "note.txt") == b"done"


def test_a_stopped_cell_resumes_from_its_checkpoint_which_is_removed_when_it_is_done(store: Store) -> None:
    pack = pack_of(long_cell, seeds=1)
    running = run_pack(pack, store, RUN, CPU)
    for _ in range(3):
        next(running)
    running.close()
    assert store.load().empty
    assert store.read_checkpoint(pack.cells[0].cell_id) == b"2"
    list(run_pack(pack, store, dataclasses.replace(RUN, run_id="next"), CPU))
    assert store.load()["test_mse"].to_list() == [2.0]
    assert store.read_checkpoint(pack.cells[0].cell_id) is None


@pytest.mark.parametrize(("error", "kept"), [(MemoryError(), True), (ValueError(), True), (None, False)])
def test_a_cell_that_failed_keeps_its_checkpoint_and_one_that_diverged_does_not(
    store: Store, error: Exception | None, kept: bool
) -> None:
    def compute(settings: Any, seeds: Sequence[int], surroundings: Surroundings) -> Iterator[Outcome | Underway]:
        surroundings.files_of(seeds[0]).write_checkpoint(b"2")
        yield Underway(share=0.5)
        if error:
            raise error
        yield Outcome(diverged_at_step=7)

    pack = pack_of(compute, seeds=1)
    list(run_pack(pack, store, RUN, CPU))
    assert (store.read_checkpoint(pack.cells[0].cell_id) is not None) == kept


def test_an_unreadable_checkpoint_is_set_aside_and_named(store: Store) -> None:
    def compute(settings: Any, seeds: Sequence[int], surroundings: Surroundings) -> Iterator[Outcome]:
        files = surroundings.files_of(seeds[0])
        files.reject_checkpoint("it is empty")
        yield Outcome(metrics=measured(1.0))

    pack = pack_of(compute, seeds=1)
    store.write_checkpoint(pack.cells[0].cell_id, b"")
    with pytest.warns(UserWarning, match=f"unreadable/{pack.cells[0].cell_id}.*it is empty.; the cell starts over"):
        list(run_pack(pack, store, RUN, CPU))
    assert len(list(Path(store.absolute_location, "checkpoints", "unreadable").iterdir())) == 1


def test_a_store_that_fails_within_a_cell_is_not_a_failure_of_the_cell(tmp_path: Path) -> None:
    def full(settings: Any, seeds: Sequence[int], surroundings: Surroundings) -> Iterator[Outcome]:
        raise StoreError("the disk is full")
        yield

    store = Store(tmp_path / "store")
    with pytest.raises(StoreError, match="the disk is full"):
        list(run_pack(pack_of(full), store, RUN, CPU))
    assert not store.statuses()


def test_the_main_metric_is_reported_for_finished_cells_and_from_curves_that_have_it(store: Store) -> None:
    def compute(settings: Any, seeds: Sequence[int], surroundings: Surroundings) -> Iterator[Outcome | Underway]:
        for seed in seeds:
            yield Underway(share=0.2)
            yield Underway(share=0.5, logged=[{"step": 0, "test_mse": 9.0}, {"step": 1, "test_mse": 7.5}])
            if seed == 1:
                raise ValueError("no")
            yield Outcome(metrics=measured(float("nan") if seed == 2 else 2.5))

    pack = pack_of(compute, seeds=3)
    watched = dataclasses.replace(pack.cells[0].point.experiment, watched={"test_mse": "test_mse"})
    point = Point(experiment=watched, settings=pack.cells[0].point.settings)
    advances = run_pack(Pack(cells=[point.cell(seed) for seed in range(3)]), store, RUN, CPU)
    assert [each.value for each in advances] == [None, 7.5, 2.5, None, 7.5, None, None, 7.5, None]
    later = dataclasses.replace(RUN, run_id="later")
    assert [each.value for each in run_pack(pack_of(compute, seeds=1), store, later, CPU)] == [None, None, 2.5]
