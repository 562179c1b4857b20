"""A search: the space of the key `search` of a sweep file, what is sought in it, by what, and when it ends."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from dvq_ray.declarations.settings import Settings
from dvq_ray.experiment.experiment import Experiment
from dvq_ray.sweep.space import Params, Space

Direction = Literal["minimize", "maximize"]
Scheduler = Literal["asha", "hyperband", "median", "percentile"]
MOST_SUGGESTIONS = 100_000
STRICT = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class SearchError(RuntimeError):
    """A search that cannot be started or resumed; says why."""


class StopEarly(BaseModel):
    """When the first repetition of a suggestion is stopped before its end.

    `asha` is asynchronous successive halving (Li et al. 2020, arXiv 1810.05934), `hyperband` several of these with
    other grace periods (Li et al. 2018). `median` stops what is worse than the median of those before it at the same
    step, `percentile` what is not among the best so many percent.
    """

    model_config = STRICT
    scheduler: Scheduler
    grace_steps: Annotated[int, Field(ge=1)]
    """Training steps that every suggestion gets."""
    reduction: Annotated[float, Field(ge=2, multiple_of=1)] = 3.0
    """Of `asha` and `hyperband`: one in so many continues at each rung; rungs are so many times as far apart."""
    percentile: Annotated[float, Field(gt=0, lt=100)] = 25.0
    """Of `percentile`: the share that continues."""
    startup: Annotated[int, Field(ge=1)] = 5
    """Of `median` and `percentile`: suggestions that run to their end before any is stopped."""

    @model_validator(mode="after")
    def _only_its_own(self) -> StopEarly:
        own = {"asha": {"reduction"}, "hyperband": {"reduction"}, "median": {"startup"},
               "percentile": {"percentile", "startup"}}[self.scheduler]  # fmt: skip
        for name in ("reduction", "percentile", "startup"):
            if name in self.model_fields_set - own:
                raise PydanticCustomError("option", f"{name} has no effect with scheduler = {self.scheduler}")
        return self

    def options(self) -> Mapping[str, Any]:
        """What its scheduler uses."""
        names = {"asha": ("reduction",), "hyperband": ("reduction",), "median": ("startup",),
                 "percentile": ("percentile", "startup")}[self.scheduler]  # fmt: skip
        return {name: getattr(self, name) for name in ("scheduler", "grace_steps", *names)}


class StopWhen(BaseModel):
    """When a search of one objective ends before, or goes on after, its suggestions; at least one of these."""

    model_config = STRICT
    regret_below: Annotated[float, Field(gt=0)] | None = None
    """Ends it once the best value is, with high probability, no further than this from the best of the space: a bound
    from a Gaussian process (Makarova et al. 2022, arXiv 2104.08166)."""
    winner_clear: Annotated[float, Field(ge=0.5, lt=1)] | None = None
    """After the suggestions, points that may still be the best get further repetitions, until one is better than all
    others at this level, or all that remain have `most_seeds`."""
    margin: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the best mean by which a point may be better than the winner without counting."""
    most_seeds: Annotated[int, Field(ge=2, le=10_000)] = 64

    @model_validator(mode="after")
    def _something(self) -> StopWhen:
        if self.regret_below is None and self.winner_clear is None:
            raise PydanticCustomError("nothing", "is empty; allowed: regret_below, winner_clear")
        for name in ("margin", "most_seeds"):
            if name in self.model_fields_set and self.winner_clear is None:
                raise PydanticCustomError("option", f"{name} has no effect without winner_clear")
        return self


@dataclass(frozen=True, kw_only=True)
class Search:
    """A search that holds no error."""

    experiment: Experiment
    fixed: Mapping[str, Any]
    space: Space
    objectives: Mapping[str, Direction]
    """Directions by metric column; two of them make a search for the Pareto front."""
    sampler: str
    """Its name, as `dvq_ray.sweep.samplers` has it."""
    sampler_options: Mapping[str, Any] = field(default_factory=dict)
    """With their defaults."""
    sampler_seed: int
    suggestions: int
    """Points that are wanted in all."""
    seeds: tuple[int, ...]
    """Repetitions of each."""
    start_from: tuple[Mapping[str, Any], ...]
    """Tried first; fields that one of them does not give are left to the sampler."""
    max_bits: float | None
    """Bits of the code of one vector, or of one image."""
    stop_early: StopEarly | None
    stop_when: StopWhen | None = None
    learn_from: tuple[str, ...] = ()
    """Locations of other stores whose rows the sampler learns from."""

    @property
    def signs(self) -> Mapping[str, float]:
        """By objective: 1 where less is better, -1 where more is."""
        return {metric: 1.0 if way == "minimize" else -1.0 for metric, way in self.objectives.items()}

    @property
    def watched(self) -> str | None:
        """The curve column that predicts the objective, where suggestions are stopped early."""
        return self.experiment.watched[next(iter(self.objectives))] if self.stop_early else None

    @property
    def quantizers(self) -> tuple[str, ...]:
        """Those that can be suggested."""
        axis = self.space.axes.get("quantizer")
        return tuple((axis.values() if axis else None) or (self.fixed["quantizer"],))

    def active(self, params: Params) -> tuple[str, ...]:
        """The searched fields that a point with this quantizer has, in the order of the space.

        Raises `KeyError` where the quantizer is searched and not given, or not known.
        """
        quantizer = params["quantizer"] if "quantizer" in self.space.axes else self.fixed["quantizer"]
        own = self.experiment.variants[quantizer].model_fields
        return tuple(name for name in self.space.axes if name in own)

    def settings(self, params: Params) -> Settings:
        """The point that these values make; fields that its quantizer does not have are left out.

        Raises `ValueError` where there is no such point, or where its codes take more than `max_bits`.
        """
        given = {**self.fixed, **params}
        variant = self.experiment.variants[given["quantizer"]]
        try:
            settings = variant(**{name: value for name, value in given.items() if name in variant.model_fields})
        except ValidationError as error:
            raise ValueError(error.errors()[0]["msg"].removeprefix("Value error, ")) from None
        if self.max_bits is not None and settings.code_bits() > self.max_bits:
            raise ValueError(f"codes take {settings.code_bits():g} bits; allowed: max_bits = {self.max_bits:g}")
        return settings

    def possible(self, params: Params) -> bool:
        """Whether `settings` gives a point."""
        try:
            self.settings(params)
        except ValueError:
            return False
        return True


def numeric_metrics(experiment: Experiment) -> list[str]:
    """Metric columns that hold one number a cell."""
    hints = typing.get_type_hints(experiment.metrics)
    numbers = (int, float, int | None, float | None)
    return [each.name for each in fields(experiment.metrics) if hints[each.name] in numbers]
