"""Distributed sweeps of vector quantizers: VQ, depthwise VQ and their kin, from a YAML file to Parquet.

run_sweep, plan, load_results                        run a sweep, look at what it would run, read what it gave
load_model                                           encode and decode with what a cell learned
Quantizer, CodebookQuantizer, Codec, Experiment      what one of your own is made of
Settings, Axis, Metric, Rule, Outcome, Underway      what these declare of themselves
SweepError, SweepProgress, SweepPlan, StoreError,
Model, ModelError                                    what these raise, report and return
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dvq_ray.api import SweepError, SweepPlan, SweepProgress, plan, run_sweep
    from dvq_ray.declarations.field import Axis
    from dvq_ray.declarations.metric import Metric
    from dvq_ray.declarations.settings import Rule, Settings
    from dvq_ray.experiment.experiment import Experiment, Outcome, Underway
    from dvq_ray.models.files import ModelError
    from dvq_ray.models.loading import load_model
    from dvq_ray.models.model import Model
    from dvq_ray.quantizer.base import Codec, Quantizer
    from dvq_ray.quantizer.codebook import CodebookQuantizer
    from dvq_ray.store import StoreError
    from dvq_ray.store.results import load_results

__version__ = "0.1.0"
__all__ = [
    "Axis",
    "CodebookQuantizer",
    "Codec",
    "Experiment",
    "Metric",
    "Model",
    "ModelError",
    "Outcome",
    "Quantizer",
    "Rule",
    "Settings",
    "StoreError",
    "SweepError",
    "SweepPlan",
    "SweepProgress",
    "Underway",
    "load_model",
    "load_results",
    "plan",
    "run_sweep",
]  # fmt: skip

_PLACES = {
    "api": ("SweepError", "SweepPlan", "SweepProgress", "plan", "run_sweep"),
    "declarations.field": ("Axis",),
    "declarations.metric": ("Metric",),
    "declarations.settings": ("Rule", "Settings"),
    "experiment.experiment": ("Experiment", "Outcome", "Underway"),
    "models.files": ("ModelError",),
    "models.loading": ("load_model",),
    "models.model": ("Model",),
    "quantizer.base": ("Codec", "Quantizer"),
    "quantizer.codebook": ("CodebookQuantizer",),
    "store": ("StoreError",),
    "store.results": ("load_results",),
}


def __getattr__(name: str) -> Any:
    # Each is imported where it is used, so that a name of this package costs no more than it needs.
    for module, names in _PLACES.items():
        if name in names:
            return getattr(import_module(f"dvq_ray.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
