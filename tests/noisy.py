"""A tiny experiment: a number with noise that follows from the seed, of two quantizers that differ by a shift."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from dvq_ray.declarations.field import Axis
from dvq_ray.declarations.metric import Metric
from dvq_ray.declarations.settings import Settings
from dvq_ray.experiment.experiment import Experiment, Outcome
from dvq_ray.experiment.surroundings import Surroundings
from dvq_ray.quantizer.base import Codec, Quantizer, Vectors


class Plain(Quantizer):
    """Has codes of so many bits."""

    shift: ClassVar[float] = 0.0
    rate: Annotated[int, Field(ge=1), Axis(label="rate")] = 4

    def codebook_sizes(self) -> tuple[int, ...]:
        return (2**self.rate,)

    def parameters(self, features: int) -> int:
        return int(2**self.rate) * features

    def fit(self, vectors: Vectors, rng: np.random.Generator) -> Codec:
        raise NotImplementedError


class Better(Plain):
    """The same with lower numbers."""

    shift: ClassVar[float] = -1.0


class Same(Plain):
    """Differs from the plain one by its noise alone."""


class NoisySettings(Settings):
    """Where the number is, and how much noise it has."""

    place: Annotated[int, Axis(label="place", role="data")] = 10
    noise: Annotated[float, Axis(label="noise", role="training")] = 1.0
    breaks: Annotated[int, Axis(label="first seed that fails", role="model")] = -1
    """The seed from which on all fail; none where it is negative."""

    def nominal_seconds(self) -> float:
        return 0.001

    def code_bits(self) -> float:
        assert isinstance(self, Quantizer)
        return self.bits()

    def value(self, seed: int) -> float:
        assert isinstance(self, Plain)
        both, own = (np.random.default_rng([seed, self.place, stream]) for stream in (0, len(type(self).__name__)))
        return float(self.place + self.shift + both.normal() + self.noise * own.normal())


@dataclass(frozen=True, kw_only=True)
class NoisyMetrics:
    loss: Annotated[float, Metric(label="loss", better="lower")]
    score: Annotated[float, Metric(label="score", better="higher")]
    size: Annotated[int, Metric(label="size", is_size=True)]


@dataclass(frozen=True, kw_only=True)
class NoisyCurve:
    step: Annotated[int, Metric(label="step")]


def run(settings: NoisySettings, seeds: Sequence[int], surroundings: Surroundings) -> Generator[Outcome]:
    assert isinstance(settings, Quantizer)
    for seed in seeds:
        if 0 <= settings.breaks <= seed:
            raise ValueError(f"seed {seed} breaks")
        value = settings.value(seed)
        yield Outcome(metrics={"loss": value, "score": -value, "size": settings.parameters(2)})


EXPERIMENT = Experiment(
    name="noisy",
    revision=1,
    fields_for=lambda quantizer: (NoisySettings,),
    metrics=NoisyMetrics,
    main_metric="loss",
    curve=NoisyCurve,
    run=run,
    logs_curve=False,
)
