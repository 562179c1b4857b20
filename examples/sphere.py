"""An experiment in one file: how well quantizers cover a sphere, where no direction is likelier than another.

    PYTHONPATH=examples python -m dvq_ray.sweep examples/sphere.yaml

An experiment says which fields a cell has, which numbers it measures, and computes a cell. Every quantizer that can be
fitted to vectors can be swept in it, built in or not.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated

import numpy as np
from pydantic import Field

from dvq_ray.declarations.field import Axis
from dvq_ray.declarations.metric import Metric
from dvq_ray.declarations.settings import Settings
from dvq_ray.experiment.experiment import Experiment, Outcome
from dvq_ray.experiment.surroundings import Surroundings
from dvq_ray.fitting.fit import Data, fit
from dvq_ray.fitting.settings import GradientSettings
from dvq_ray.quantizer.base import Quantizer, Vectors
from dvq_ray.streams import stream


class SphereSettings(Settings):
    """Vectors of length 1."""

    dimension: Annotated[int, Field(ge=2), Axis(label="dimension", symbol="D", role="data")]
    train_samples: Annotated[int, Field(ge=1), Axis(label="training vectors", role="data")] = 8192

    def draw(self, seed: int, count: int, purpose: str) -> Vectors:
        """[count, dimension]"""
        points = stream(seed, purpose).normal(size=(count, self.dimension))
        return (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)

    def nominal_seconds(self) -> float:
        """About a second: the sweep learns better from the cells that it has run."""
        return 1.0

    def code_bits(self) -> float:
        """Of one vector."""
        assert isinstance(self, Quantizer)
        return self.bits()


@dataclass(frozen=True, kw_only=True)
class SphereMetrics:
    """The metric columns."""

    angle: Annotated[float, Metric(label="angle between a vector and its code", unit="degrees", better="lower")]
    bits_per_vector: Annotated[float, Metric(label="rate", unit="bits per vector")]


@dataclass(frozen=True, kw_only=True)
class SphereCurve:
    """The curve columns."""

    step: Annotated[int, Metric(label="training step")]
    test_mse: Annotated[float, Metric(label="test loss", better="lower")]


def run(settings: SphereSettings, seeds: Sequence[int], surroundings: Surroundings) -> Generator[Outcome]:
    """Fits the quantizer to the sphere of each seed."""
    assert isinstance(settings, Quantizer)
    for seed in seeds:
        train = settings.draw(seed, settings.train_samples, "training vectors")
        data = Data(seed=seed, train=train, test=settings.draw(seed, 4096, "test vectors"))
        (result,) = fit(settings, [data], surroundings.device)
        # Of vectors of length 1 and their nearest codes, |x - c|^2 = 2 - 2 cos(angle) where codes have length 1 too.
        cosine = 1 - result.test_mse * settings.dimension / 2
        angle = float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))
        metrics = SphereMetrics(angle=angle, bits_per_vector=settings.bits())
        logged = zip(result.curve_steps, result.curve_test_mse, strict=True)
        curve = [{"step": int(step), "test_mse": float(mse)} for step, mse in logged]
        yield Outcome(metrics=asdict(metrics), curve=curve, diverged_at_step=result.diverged_at_step)


EXPERIMENT = Experiment(
    name="sphere",
    label="sphere",
    revision=1,
    fields_for=lambda quantizer: (SphereSettings, *([GradientSettings] if quantizer.learns_by_gradient() else [])),
    metrics=SphereMetrics,
    main_metric="angle",
    curve=SphereCurve,
    run=run,
    seeds_by=("dimension",),
)
