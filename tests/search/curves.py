"""An experiment whose cells log a curve, in no time: what a search can stop early."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from dvq_ray.declarations.field import Axis
from dvq_ray.declarations.metric import Metric
from dvq_ray.declarations.settings import Settings
from dvq_ray.experiment.experiment import Experiment, Outcome, Underway
from dvq_ray.experiment.surroundings import Surroundings
from dvq_ray.testing.executor import Nothing

LAST = 16


class Other(Nothing):
    """Has a field that the first one does not have."""

    width: Annotated[int, Axis(label="width")] = 1


class CurveSettings(Settings):
    """A level, at which the loss ends, and how far seeds are from each other."""

    level: Annotated[float, Axis(label="level")]
    spread: Annotated[float, Axis(label="spread")] = 0.0
    steps: Annotated[int, Axis(label="steps", role="training")] = LAST

    def nominal_seconds(self) -> float:
        return 0.001

    def code_bits(self) -> float:
        return 0.0


@dataclass(frozen=True, kw_only=True)
class CurveMetrics:
    loss: Annotated[float, Metric(label="loss", better="lower")]
    extra: Annotated[float, Metric(label="extra", better="lower")]


@dataclass(frozen=True, kw_only=True)
class Curve:
    step: Annotated[int, Metric(label="step")]
    loss: Annotated[float, Metric(label="loss", better="lower")]


def run(settings: CurveSettings, seeds: Sequence[int], surroundings: Surroundings) -> Generator[Outcome | Underway]:
    """The loss falls to its level as 1 / step; each level and seed shifts the whole curve."""
    for seed in seeds:
        shift = settings.spread * float(np.random.default_rng([seed, round(100 * settings.level)]).standard_normal())
        logged = list[dict[str, float]]()
        for step in (1, 2, 4, 8, LAST):
            logged.append({"step": step, "loss": settings.level + shift + 1 / step})
            yield Underway(share=0.9 * step / LAST, logged=list(logged))
        yield Outcome(metrics={"loss": settings.level + shift, "extra": -settings.level}, curve=logged)


CURVES = Experiment(
    name="curves",
    label="curves",
    revision=1,
    fields_for=lambda quantizer: (CurveSettings,),
    metrics=CurveMetrics,
    main_metric="loss",
    curve=Curve,
    run=run,
    watched={"loss": "loss"},
    steps_field="steps",
)
