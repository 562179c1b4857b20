"""Experiments by name: built in, of an installed package, or of a module of the user's own."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import Any

from dvq_ray.experiment.experiment import Experiment
from dvq_ray.providers import Providers


def _check(value: Any, name: str) -> Experiment:
    if isinstance(value, type) and issubclass(value, Experiment):
        raise ValueError(f"it is the class {value.__name__}; give an instance of it")
    if not isinstance(value, Experiment):
        raise ValueError(f"{value!r:.80} is no dvq_ray.Experiment")
    for columns in ("metrics", "curve"):
        if not is_dataclass(getattr(value, columns)):
            raise ValueError(f"its {columns} is not a dataclass")
    metrics = {column.name for column in fields(value.metrics)}
    if value.main_metric not in metrics:
        raise ValueError(f"its main_metric {value.main_metric} is none of its metrics: {', '.join(sorted(metrics))}")
    if strange := sorted({*value.watched} - metrics):
        raise ValueError(f"it watches {strange[0]}, which is none of its metrics: {', '.join(sorted(metrics))}")
    return value if value.name == name else replace(value, name=name)


EXPERIMENTS: Providers[Experiment] = Providers(
    "experiment", package="dvq_ray.experiments", attribute="EXPERIMENT", check=_check
)


def find_experiment(name: str) -> Experiment:
    """The experiment of that name. Raises `ProviderError`."""
    return EXPERIMENTS.find(name).value


def built_in_experiments() -> list[Experiment]:
    """All that need no installed package."""
    return [find_experiment(name) for name in EXPERIMENTS.built_in()]
