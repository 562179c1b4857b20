"""The sweep that compares all quantizers on one data set at equal bits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from dvq_ray.comparison.declared import Comparison, Found
from dvq_ray.declarations.values import causes
from dvq_ray.experiment.data_sets import DataSource
from dvq_ray.experiment.experiment import Experiment
from dvq_ray.providers import ProviderError
from dvq_ray.quantizer.base import Quantizer
from dvq_ray.quantizer.registry import QUANTIZERS

SEEDS = 5
"""Repetitions, unless a user says otherwise. The first look has one."""


@dataclass(frozen=True, kw_only=True)
class Contestant:
    """A quantizer at a budget of bits."""

    bits: int
    quantizer: str
    fields: Mapping[str, Any]

    @property
    def grid(self) -> str:
        """The name of its grid."""
        return f"{self.quantizer}_{self.bits}_bits"

    @property
    def first_grid(self) -> str:
        """The name of its grid in the first look."""
        return f"first_look_{self.grid}"


def contestants(experiment: Experiment, comparison: Comparison, found: Found, bits: Sequence[int]) -> list[Contestant]:
    """All installed quantizers that say how they make these bits of such rows."""
    every: list[Contestant] = []
    for name in QUANTIZERS.names():
        try:
            variant = experiment.variant(name)
        except ProviderError:
            continue  # it is of other experiments, or its package is broken: nobody has named it here
        assert issubclass(variant, Quantizer)
        for budget in bits:
            own = variant.at_bits(budget, found.width)
            if own is not None:
                fields = {"quantizer": name, **comparison.fields(variant, own)}
                every.append(Contestant(bits=budget, quantizer=name, fields=fields))
    return sorted(every, key=lambda each: bits.index(each.bits))


def problems_of(
    experiment: Experiment, each: Contestant, name: str, source: DataSource, more: Mapping[str, Any]
) -> list[str]:
    """Why a contestant, with `more` fields, cannot be fitted to the data set `name`."""
    data_sets = experiment.data_sets
    assert data_sets is not None
    try:
        settings = experiment.settings({data_sets.field: name, **each.fields, **more})
    except ValidationError as error:
        return [f"{each.quantizer}: its settings for {each.bits} bits are not valid: {causes(error)[0]['msg']}"]
    return data_sets.problems([settings], {name: source})


def sweep_of(
    experiment: Experiment, every: Sequence[Contestant], *,
    name: str, description: Mapping[str, Any], keep: Sequence[str], seeds: int,
    first: Mapping[str, Mapping[str, Any]],
) -> Mapping[str, Any]:  # fmt: skip
    """The content of the sweep file. `first` has the fields of the first look, by grid, where there is one."""
    assert experiment.data_sets is not None
    quick = {grid: {**fields, "seeds": 1} for grid, fields in first.items()}
    return {
        "name": name,
        "trainable": experiment.name,
        "seeds": seeds,
        "data": {name: dict(description)},
        "fixed": {experiment.data_sets.field: name},
        "keep": list(keep),
        "grids": {**quick, **{each.grid: dict(each.fields) for each in every}},
    }
