"""What a sweep file's `trainable:` can name: the settings, the columns and the code of each experiment.

Importing this costs nothing heavy: the code that computes is named by a path and imported where cells run.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

from dvq_ray.learned_prior import settings as learned_prior
from dvq_ray.learned_prior import sources
from dvq_ray.settings import Settings
from dvq_ray.static_prior import settings as static_prior
from dvq_ray.surroundings import Surroundings


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one cell."""

    metrics: Mapping[str, Any] = field(default_factory=dict)
    curve: Sequence[Mapping[str, Any]] = ()
    diverged_at_step: int | None = None
    """The step at which the loss was no longer finite; the metrics are then left out."""


@dataclass(frozen=True, kw_only=True)
class Underway:
    """A cell that takes long is still being computed."""

    share: float
    """Of its work that is done, 0 to 1."""
    logged: Sequence[Mapping[str, Any]] = ()
    """Rows of its curve so far, of an experiment that can be watched."""


class Run(Protocol):
    """Computes the repetitions of one point, yielding an `Outcome` for each seed, in their order.

    Before a seed's outcome it may yield any number of `Underway`. At each of these it can be stopped (the generator is
    closed); what it wants to go on from later it has then to keep as a checkpoint.
    """

    def __call__(
        self, settings: Any, seeds: Sequence[int], surroundings: Surroundings
    ) -> Generator[Outcome | Underway]:
        """Raises whatever goes wrong; it becomes the error of the cell at hand."""
        ...


@dataclass(frozen=True, kw_only=True)
class DataSets:
    """How an experiment comes to the data sets that its settings name."""

    field: str
    """The settings' field that names one."""
    built_in: Mapping[str, sources.Source]
    """Those that a sweep file need not describe."""
    problems_path: str
    """`module:function` of a quick look at data sets."""

    def problems(
        self,
        settings: Iterable[Settings],
        data: Mapping[str, sources.Source],
        note: Callable[[str], None] = lambda _: None,
    ) -> list[str]:
        """What is wrong with the files that cells of these settings would read, as far as a quick look shows.

        `note` is called with what is no problem, but would surprise a user.
        """
        return list(_named(self.problems_path)(settings, data, note))


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
    main_metric: str
    """The metric column that the paper reports; lower is better. Progress shows it."""
    batches_on_gpu: bool
    """Whether the repetitions of a point are computed together on a GPU."""
    depends_on_processor: bool = False
    """Whether CPUs of two makes may compute different numbers for the same cell, because they round differently.
    Otherwise all CPUs give the same bytes."""
    data_sets: DataSets | None = None
    """None for an experiment that reads no files."""
    watched: Mapping[str, str] = field(default_factory=dict)
    """By metric, the curve column that foretells it while a cell is computed; none where that is done in one go."""

    def run(self) -> Run:
        """The function that computes cells, imported now."""
        return cast(Run, _named(self.run_path))

    def main_value(self, row: Mapping[str, Any]) -> float | None:
        """The main metric in a row; None unless it is finite."""
        return _finite(row.get(self.main_metric))

    def main_value_so_far(self, curve: Sequence[Mapping[str, Any]]) -> float | None:
        """The main metric's last value in the curve of an unfinished cell; None if the curve does not have it."""
        column = self.watched.get(self.main_metric)
        return _finite(curve[-1].get(column)) if curve and column else None

    def settings(self, fields: Mapping[str, Any]) -> Settings:
        """Resolved settings from their fields. Raises a pydantic `ValidationError` where they are wrong."""
        return self.variants[fields["quantizer"]].model_validate(dict(fields))


def _finite(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _named(path: str) -> Any:
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)


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
        main_metric="test_mse",
        batches_on_gpu=True,
    ),
    "factorial_prior": Experiment(
        name="factorial_prior",
        revision=1,
        variants={
            "vq": static_prior.FactorialVqSettings,
            "dvq": static_prior.FactorialDvqSettings,
            "kmeans": static_prior.FactorialKMeansSettings,
        },
        metrics=static_prior.StaticPriorMetrics,
        curve=static_prior.StaticPriorCurve,
        run_path="dvq_ray.static_prior.run:run",
        main_metric="test_mse",
        batches_on_gpu=True,
    ),
    "learned_prior": Experiment(
        name="learned_prior",
        revision=1,
        variants={
            "vq": learned_prior.VqSettings,
            "dvq": learned_prior.DvqSettings,
            "svq": learned_prior.SvqSettings,
        },
        metrics=learned_prior.LearnedPriorMetrics,
        curve=learned_prior.LearnedPriorCurve,
        run_path="dvq_ray.learned_prior.run:run",
        main_metric="reconstruction_bits_per_dim",
        batches_on_gpu=False,
        depends_on_processor=True,
        data_sets=DataSets(
            field="dataset",
            built_in=sources.BUILT_IN,
            problems_path="dvq_ray.learned_prior.images:problems",
        ),
        watched={
            "reconstruction_bits_per_dim": "reconstruction_bits_per_dim",
            "mse": "mse",
            "total_bits_per_dim_uniform": "total_bits_per_dim_uniform",
            "total_bits_per_dim_unigram": "total_bits_per_dim_uniform",
        },
    ),
}
