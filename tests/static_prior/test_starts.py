from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from threadpoolctl import threadpool_limits

from dvq_ray.experiment.registry import find_experiment
from dvq_ray.experiments.static_prior.settings import BlobSettings
from dvq_ray.fitting.codebooks import fit_codebooks
from dvq_ray.fitting.fit import Data, fit
from dvq_ray.fitting.modules import fit_module
from dvq_ray.fitting.problem import FitProblem, FitResult, learning_rates
from dvq_ray.fitting.starts import chosen_codes
from dvq_ray.quantizer.codebook import CodebookQuantizer
from dvq_ray.quantizer.module import Quantized, QuantizerModule
from dvq_ray.quantizers.dvq import Dvq
from dvq_ray.streams import stream
from dvq_ray.sweep.cells import Point

STATIC = {"quantizer": "dvq", "slices": 2, "dimension": 64, "codebook_size": 16, "factors": 16, "steps": 30}
FACTORIAL = {"quantizer": "dvq", "dimension": 64, "codebook_size": 16, "centres": 16}


class OffSlices(Dvq):
    """DVQ as one that fast fits do not take: it is trained as a module."""

    def lies_on_slices(self) -> bool:
        """No."""
        return False


class Weighted(Dvq):
    """DVQ with a field that was added after cells had been stored."""

    weight: float = 1.0
    added: ClassVar[Mapping[str, Any]] = {"weight": 1.0}


class NotOfCodebooks(QuantizerModule):
    """A module whose codes nobody can set."""

    def __init__(self) -> None:
        super().__init__(features=64)

    def forward(self, latents: torch.Tensor) -> Quantized:
        """Never gets here."""
        raise NotImplementedError


def settings(experiment: str = "static_prior", **fields: Any) -> Any:
    return find_experiment(experiment).settings({**(STATIC if experiment == "static_prior" else FACTORIAL), **fields})


def as_module(made: Any) -> Any:
    """The same settings of a quantizer that is trained as a module."""
    module: Any = type("Module", (OffSlices, type(made)), {})
    return module.model_validate(made.model_dump())


def data_of(made: Any, seed: int = 0) -> Data:
    assert isinstance(made, BlobSettings)
    blobs = made.draw(seed)
    return Data(seed=seed, train=blobs.train, test=blobs.test)


def fitted(made: Any, seed: int = 0) -> FitResult:
    (result,) = fit(made, [data_of(made, seed)], "cpu")
    return result


def rows_of(codes: np.ndarray, vectors: np.ndarray) -> list[int]:
    """Which of the vectors each code is, to the bit."""
    return [int(np.flatnonzero((vectors == code).all(axis=1))[0]) for code in codes]


def mean_squared_error(codes: np.ndarray, vectors: np.ndarray) -> float:
    """Of vectors [samples, features] and codes [slices, codes, features of a code]."""
    parts = np.split(vectors.astype(np.float64), len(codes), axis=1)
    nearest = [np.square(part[:, np.newaxis] - own).sum(-1).min(-1) for part, own in zip(parts, codes, strict=True)]
    return float(np.sum(nearest) / vectors.size)


def test_codes_are_different_training_vectors_of_their_slice_and_reach_every_blob() -> None:
    """16 vectors drawn at random would miss about a third of 16 blobs."""
    made = settings(start="k-means++")
    train = data_of(made).train
    codes = chosen_codes(made, train, 0)
    assert codes.shape == (2, 16, 32)
    assert codes.dtype == np.float32
    centres = np.random.default_rng(0)
    for place in range(2):
        part = train[:, 32 * place : 32 * place + 32]
        assert len(set(rows_of(codes[place], part))) == 16
        drawn = part[centres.choice(len(part), 16, replace=False)]
        assert mean_squared_error(codes[[place]], part) < 4 < 6 < mean_squared_error(drawn[np.newaxis], part)


def test_codes_are_picked_from_a_stream_of_their_own_that_follows_from_the_seed() -> None:
    made = settings(start="k-means++")
    train = data_of(made).train
    first, again, other = (chosen_codes(made, train, seed) for seed in (0, 0, 1))
    assert (first == again).all()
    assert (first != other).any()


def test_codes_do_not_depend_on_the_number_of_threads() -> None:
    made = settings(start="k-means++", codebook_size=64)
    train = data_of(made).train
    with threadpool_limits(1):
        one = chosen_codes(made, train, 0)
    with threadpool_limits(2):
        assert chosen_codes(made, train, 0).tobytes() == one.tobytes()


@pytest.mark.parametrize("trained_as", ["kernel", "module"])
def test_training_begins_at_the_codes_that_were_picked(trained_as: str) -> None:
    made = settings(start="k-means++")
    data = data_of(made)
    result = fitted(made if trained_as == "kernel" else as_module(made))
    expected = mean_squared_error(chosen_codes(made, data.train, 0), data.test)
    assert result.curve_test_mse[0] == pytest.approx(expected, rel=1e-5)
    assert result.test_mse < 0.9 * expected


@pytest.mark.parametrize("slices", [1, 2])
def test_the_kernel_the_batch_in_torch_and_the_module_agree(slices: int) -> None:
    made = settings(start="k-means++", slices=slices)
    data = data_of(made)
    kernel, module = fitted(made), fitted(as_module(made))
    rates = learning_rates(made.schedule, made.learning_rate, made.steps)
    problem = FitProblem(
        train=data.train,
        test=data.test,
        codebooks=chosen_codes(made, data.train, 0),
        batches=stream(0, "batches").integers(len(data.train), size=(made.steps, made.batch_size), dtype=np.int32),
    )
    (batch,) = fit_codebooks([problem], learning_rates=rates, implementation="torch")
    for other in (module, batch):
        np.testing.assert_allclose(other.curve_test_mse, kernel.curve_test_mse, rtol=1e-4)
        assert other.train_mse == pytest.approx(kernel.train_mse, rel=1e-4)


def test_a_module_whose_codes_cannot_be_set_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    made = settings()
    monkeypatch.setattr(CodebookQuantizer, "build", lambda self, features, generator: NotOfCodebooks())
    data = data_of(made)
    with pytest.raises(ValueError, match="codes of a NotOfCodebooks cannot be set; allowed: start = uniform"):
        fit_module(
            made, data.train, data.test, batches=np.zeros((1, 4), np.int32), rates=np.ones(1), seed=0, device="cpu",
            codes=np.zeros((2, 16, 32), np.float32),
        )  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize("groups", [2, 4, 8])
def test_slices_find_the_centres_of_their_group_where_uniform_starts_leave_many_without_a_code(groups: int) -> None:
    by_start = {
        start: np.mean([
            fitted(settings("factorial_prior", groups=groups, slices=groups, start=start), seed).test_mse
            for seed in range(3)
        ])
        for start in ("uniform", "k-means++")
    }  # fmt: skip
    assert by_start["k-means++"] < 1.2 < 2.5 < by_start["uniform"]


def test_a_uniform_start_leaves_the_id_and_any_other_changes_it() -> None:
    static = find_experiment("static_prior")

    def cell_id(**fields: Any) -> str:
        return Point(experiment=static, settings=settings(**fields)).cell_id(0)

    assert cell_id() == cell_id(start="uniform") != cell_id(start="k-means++")


def test_values_that_old_cells_had_are_gathered_from_all_that_a_cell_is_made_of() -> None:
    """A quantizer of the user's own adds a field too: neither hides the other's."""
    own = settings(quantizer=f"{__name__}:Weighted")
    assert own.added == {"start": "uniform", "weight": 1.0}
    assert {**own.identity(), "quantizer": "dvq"} == dict(settings().identity())


def test_a_bound_that_has_no_effect_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"init_bound has no effect on codes that start = k-means.. picks"):
        settings(start="k-means++", init_bound=10.0)
    assert settings(start="k-means++", init_bound=1.0) == settings(start="k-means++")


def test_more_codes_than_vectors_to_pick_are_refused() -> None:
    with pytest.raises(ValidationError, match="start picks codebook_size = 100 of train_samples = 99 vectors"):
        settings(start="k-means++", codebook_size=100, train_samples=99)
    settings(start="k-means++", codebook_size=100, train_samples=100)
    settings(codebook_size=100, train_samples=99)


def test_picking_the_codes_takes_time() -> None:
    uniform, chosen = (
        settings(codebook_size=1024, start=start).nominal_seconds() for start in ("uniform", "k-means++")
    )
    assert chosen > 1.2 * uniform
