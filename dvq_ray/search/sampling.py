"""How points are drawn: Optuna's samplers, held to points that can be and were not suggested before."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import (
    BaseSampler,
    CmaEsSampler,
    GPSampler,
    NSGAIIISampler,
    NSGAIISampler,
    RandomSampler,
    TPESampler,
)
from optuna.trial import FrozenTrial, TrialState

from dvq_ray.streams import stream
from dvq_ray.sweep.cells import Point
from dvq_ray.sweep.search import Sampler, Search
from dvq_ray.sweep.space import Axis, Choices, Params, Space

DRAWS = 10
"""How often a sampler may come back with a point that cannot be, or was suggested before."""
BLIND_STARTS = 5
"""Suggestions before TPE begins to learn: searches of quantizers are tens of suggestions long."""
BLIND_DRAWS = 10_000
"""How often a new point is drawn at random from a space that is a continuum, before it is given up."""
MOST_LISTED = 200_000
"""Combinations of a finite space that are listed; larger ones are drawn from."""
MOST_STEPS = 1_000_000
"""Values of a range that Optuna is given as steps. More are a continuum to it, and what it draws is rounded."""
_FINEST_STEP = 1e-7
"""Share of the largest value: below it, Optuna finds that the errors of floats lie beside its steps."""

Verdict = Literal["new", "known", "impossible"]


@dataclass(frozen=True, kw_only=True)
class Best:
    """A point that no other is better than."""

    params: Params
    values: tuple[float, ...]
    """Values of the objectives."""
    repetitions: int

    def in_words(self, search: Search) -> str:
        """Its values, what they are the mean of, and where it is."""
        values = ", ".join(
            f"{metric} {value:.4g}" for metric, value in zip(search.objectives, self.values, strict=True)
        )
        at = " ".join(
            f"{field}={value:.4g}" if isinstance(value, float) else f"{field}={value}"
            for field, value in self.params.items()
        )
        return f"{values} (n = {self.repetitions}) at {at}"


@dataclass(frozen=True)
class Chooser:
    """Which of the points that a sampler draws is taken."""

    search: Search
    known: set[str]
    """Ids of the points that were suggested."""
    best: Sequence[Best]

    def verdict(self, params: Params) -> Verdict:
        """What a point is."""
        try:
            point = point_of(self.search, params)
        except ValueError:
            return "impossible"
        return "known" if point.point_id in self.known else "new"

    def any_left(self) -> bool:
        """Whether there is a point to suggest."""
        return bool(self.best) or self.unseen(np.random.default_rng(0)) is not None

    def in_place_of(self, verdicts: Sequence[Verdict], rng: np.random.Generator) -> Params | None:
        """What to suggest where no draw could be used."""
        insists = "known" in verdicts and self.search.sampler != "random"  # which has nothing to insist on
        unseen = None if insists and self.best else self.unseen(rng)
        if unseen is None and self.best:
            return min(self.best, key=lambda best: best.repetitions).params
        return unseen

    def unseen(self, rng: np.random.Generator) -> Params | None:
        """A point at random that was not suggested; None where none was found."""
        size = self.search.space.size()
        if size is not None and size <= MOST_LISTED:
            combinations = list(self.search.space.combinations())
            order = rng.permutation(len(combinations))
            return next((combinations[i] for i in order if self.verdict(combinations[i]) == "new"), None)
        blind = islice(draws(self.search.space, rng), BLIND_DRAWS)
        return next((params for params in blind if self.verdict(params) == "new"), None)


class Choosing(BaseSampler):
    """Draws with another sampler, and takes what its chooser takes: impossible points are never suggested."""

    def __init__(self, inner: BaseSampler, chooser: Chooser) -> None:
        self._inner = inner
        self._chooser = chooser

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """All fields: they are judged together."""
        return distributions_of(self._chooser.search.space)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """A value for every field."""
        space = self._chooser.search.space
        fixed = trial.system_attrs.get("fixed_params", {})
        drawn, verdicts = dict[str, Any](), list[Verdict]()
        for _ in range(DRAWS):
            joint = self._inner.infer_relative_search_space(study, trial)
            drawn = self._inner.sample_relative(study, trial, joint) if joint else {}
            for field, distribution in search_space.items():
                if field not in drawn:
                    drawn[field] = self._inner.sample_independent(study, trial, field, distribution)
            drawn = space.snapped(drawn)
            verdicts.append(self._chooser.verdict({**drawn, **fixed}))
            if verdicts[-1] == "new" or fixed.keys() == search_space.keys():
                return drawn
        instead = self._chooser.in_place_of(verdicts, stream(trial.number, "suggestions in place of repeats"))
        return dict(instead) if instead is not None else drawn

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Never asked for: no field is left."""
        return self._inner.sample_independent(study, trial, param_name, param_distribution)

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """As the inner sampler."""
        self._inner.before_trial(study, trial)

    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """As the inner sampler."""
        self._inner.after_trial(study, trial, state, values)


class _Ranking(BaseSampler):
    """Lets TPE see choices of numbers by their rank: it is of use to know that 4 slices lie between 2 and 8.

    The journal keeps the values themselves; TPE draws from a copy of the history in which they are ranks.
    """

    def __init__(self, seed: int, space: Space) -> None:
        self._space = space
        self._inner = TPESampler(seed=seed, constant_liar=True, n_startup_trials=BLIND_STARTS)
        self._ranked = {
            field: tuple(sorted(axis.choices))
            for field, axis in space.axes.items()
            if isinstance(axis, Choices) and all(_is_number(choice) for choice in axis.choices)
        }
        self._copy: optuna.Study | None = None

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return distributions_of(self._space)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        distributions = {
            field: IntDistribution(0, len(self._ranked[field]) - 1) if field in self._ranked else distribution
            for field, distribution in search_space.items()
        }
        if self._copy is None:
            self._copy = optuna.create_study(directions=study.directions, sampler=self._inner)
            states = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)
            self._copy.add_trials(
                optuna.trial.create_trial(
                    params=self._ranks(told.params), distributions=distributions, values=told.values, state=told.state
                )
                for told in study.get_trials(deepcopy=False, states=states)
                if told.params.keys() == distributions.keys()
            )
        drawn = self._copy.ask(distributions)
        self._copy.tell(drawn, state=TrialState.FAIL)  # so that a second draw knows as much as the first
        return {field: self._ranked[field][value] if field in self._ranked else value
                for field, value in drawn.params.items()}  # fmt: skip

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._inner.sample_independent(study, trial, param_name, param_distribution)

    def _ranks(self, params: Params) -> dict[str, Any]:
        return {field: self._ranked[field].index(value) if field in self._ranked else value
                for field, value in params.items()}  # fmt: skip


class _Smooth(GPSampler):
    """Sees whole numbers of a long range as a continuum: it would list them, at gigabytes for each hundred million."""

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return {
            field: FloatDistribution(each.low, each.high, log=each.log)
            if isinstance(each, IntDistribution) and (each.high - each.low) // each.step >= MOST_STEPS
            else each
            for field, each in super().infer_relative_search_space(study, trial).items()
        }


_SAMPLERS: Mapping[Sampler, Callable[[int], BaseSampler]] = {
    "gp": lambda seed: _Smooth(seed=seed, warn_independent_sampling=False),
    "cmaes": lambda seed: CmaEsSampler(seed=seed, warn_independent_sampling=False),
    "random": lambda seed: RandomSampler(seed=seed),
    "nsga2": lambda seed: NSGAIISampler(seed=seed),
    "nsga3": lambda seed: NSGAIIISampler(seed=seed),
}


def point_of(search: Search, params: Params) -> Point:
    """The point that these values make. Raises `ValueError` where there is none."""
    return Point(experiment=search.experiment, settings=search.settings(params))


def sampler_of(search: Search, number: int) -> BaseSampler:
    """The sampler for suggestion `number`: its random numbers follow from the search's seed and that number."""
    seed = int(stream(search.sampler_seed, f"sampler of suggestion {number}").integers(2**31))
    return _Ranking(seed, search.space) if search.sampler == "tpe" else _SAMPLERS[search.sampler](seed)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def distributions_of(space: Space) -> dict[str, BaseDistribution]:
    """The values of each field as Optuna knows them."""
    return {field: _distribution(axis) for field, axis in space.axes.items()}


def _distribution(axis: Axis) -> BaseDistribution:
    if isinstance(axis, Choices):
        return CategoricalDistribution(axis.choices)
    values = axis.values()
    high = axis.high if values is None else values[-1]  # Optuna warns of bounds between two steps
    if axis.whole:
        return IntDistribution(int(axis.low), int(high), log=axis.log, step=int(axis.step or 1))
    finest = max(_FINEST_STEP * max(abs(axis.low), abs(axis.high)), (high - axis.low) / MOST_STEPS)
    step = axis.step if axis.step and axis.step > finest else None
    return FloatDistribution(axis.low, high, log=axis.log, step=step)


def draws(space: Space, rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    """Combinations at random without end, uniform on each axis (in the logarithm where it has a log scale)."""
    while True:
        yield _draw(space, rng)


def _draw(space: Space, rng: np.random.Generator) -> dict[str, Any]:
    drawn = dict[str, Any]()
    for field, axis in space.axes.items():
        if not isinstance(axis, Choices) and axis.log:
            value = float(np.clip(np.exp(rng.uniform(np.log(axis.low), np.log(axis.high))), axis.low, axis.high))
            drawn[field] = round(value) if axis.whole else value
        elif (values := axis.values()) is not None:
            drawn[field] = values[int(rng.integers(len(values)))]
        elif not isinstance(axis, Choices):
            drawn[field] = float(rng.uniform(axis.low, axis.high))
    return drawn
