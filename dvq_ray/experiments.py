"""What a sweep file's `trainable:` can name: the settings, the columns and the code of each experiment.

Importing this costs nothing heavy: the code that computes is named by a path and imported where cells run.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

from dvq_ray.settings import Settings
from dvq_ray.static_prior import settings as static_prior


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one cell."""

    metrics: Mapping[str, Any] = field(default_factory=dict)
    curve: Sequence[Mapping[str, Any]] = ()
    diverged_at_step: int | None = None
    """The step at which the loss was no longer finite; the metrics are then left out."""


class Run(Protocol):
    """Computes the repetitions of one point, yielding an `Outcome` for each seed, in their order."""

    def __call__(self, settings: Any, seeds: Sequence[int], *, device: str) -> Iterator[Outcome]:
        """`device` is `cpu` or `cuda`."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Experiment:
    """One kind of trainable."""

    name: str
    revision: int
    """Part of every cell id. Raised whenever equal settings begin to give other numbers."""
    variants: Mapping[str, type[Settings]]
    """Settings classes by the value of the field `quantizer`."""
    metrics: type
    """Dataclass whose fields are the metric columns."""
    curve: type
    """Dataclass whose fields are the columns of the curves."""
    run_path: str
    """`module:function` of a `Run`."""

    def run(self) -> Run:
        """The function that computes cells, imported now."""
        module, _, name = self.run_path.partition(":")
        return cast(Run, getattr(importlib.import_module(module), name))

    def settings(self, fields: Mapping[str, Any]) -> Settings:
        """Resolved settings from their fields. Raises a pydantic `ValidationError` where they are wrong."""
        return self.variants[fields["quantizer"]].model_validate(dict(fields))


EXPERIMENTS: Mapping[str, Experiment] = {
    "static_prior": Experiment(
        name="static_prior",
        revision=1,
        variants={
            "vq": static_prior.VqSettings,
            "dvq": static_prior.DvqSettings,
            "kmeans": static_prior.KMeansSettings,
        },
        metrics=static_prior.StaticPriorMetrics,
        curve=static_prior.StaticPriorCurve,
        run_path="dvq_ray.static_prior.run:run",
    ),
}
