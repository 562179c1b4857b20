"""The next point of a search, drawn from all that is known.

Samplers see a study in memory, over the rectangle. It follows from the journal: every suggestion with what became of
it, and the points that the search learns from. So a search that was cut off resumes as it would have continued.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import optuna
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.storages import InMemoryStorage
from optuna.trial import TrialState, create_trial

from dvq_ray.search.points import Points
from dvq_ray.search.rectangle import Rectangle
from dvq_ray.search.sampling import Held, NothingLeftError, Values, sampler_of
from dvq_ray.streams import stream
from dvq_ray.sweep.samplers import STATEFUL
from dvq_ray.sweep.search import Search
from dvq_ray.sweep.space import Choices, Params, Range, Space

MOST_LISTED = 20_000
"""Combinations of a finite space that are listed where draws fail; of larger ones, neighbours are drawn."""
_BASES = 50
"""Suggestions near which others are looked for."""
NEIGHBOURS = 10_000
"""How many points near the last draw are looked at before a search of a larger space is said to be at its end."""


@dataclass(frozen=True, kw_only=True)
class Learned:
    """A point that the store, or another one, held when the search began, and its values."""

    params: Params
    values: tuple[float, ...]


class Drawing:
    """Draws points of a search that can be and were not suggested."""

    def __init__(self, search: Search, points: Points, learned: Sequence[Learned] = ()) -> None:
        self._search = search
        self._points = points
        self._rectangle = Rectangle(search)
        self._storage = _Recording()
        self._study = optuna.create_study(storage=self._storage, directions=[*search.objectives.values()])
        self._trials: dict[int, int] = {}
        """Numbers in the study by those of suggestions."""
        self._known: set[str] = set()
        """Ids of the points that were suggested."""
        self._count = len(learned)
        """Trials in the study."""
        for each in learned:
            self._study.add_trial(
                create_trial(
                    params=self._rectangle.encoded(each.params),
                    distributions=dict(self._rectangle.distributions),
                    values=each.values,
                )
            )

    def add(self, number: int, params: Params, point_id: str, state: Mapping[str, Any]) -> None:
        """Takes note of a suggestion of the journal. `state` is what a sampler kept of it."""
        trial = create_trial(
            state=TrialState.RUNNING,
            params=self._rectangle.encoded(params),
            distributions=dict(self._rectangle.distributions),
            system_attrs=dict(state),
        )
        self._study.add_trial(trial)
        self._trials[number] = self._count
        self._count += 1
        nearest = self._points.id_of(self._search.space.snapped(params))  # earlier versions suggested 0.1 x 3, not 0.3
        self._known |= {point_id, nearest or point_id}

    def told(
        self, number: int, state: TrialState, values: Sequence[float] | None, reported: Mapping[int, float]
    ) -> None:
        """Takes note of what became of a suggestion; `reported` are values of its curve by step."""
        place = self._trials[number]
        if state is TrialState.PRUNED:
            for step, value in reported.items():
                self._storage.set_trial_intermediate_value(place, step, value)
        # No sampler is told: those that keep a state write it down when they next draw.
        self._storage.set_trial_state_values(place, state, values if state is TrialState.COMPLETE else None)

    def draw(self, number: int, fixed: Params) -> dict[str, Any] | None:
        """The point for suggestion `number`, with these values; None where none is left."""
        rng = stream(number, "suggestions in place of repeats")
        held = {name: value for name, value in fixed.items() if name in self._search.space.axes}
        encoded = self._rectangle.encoded_some(held)

        def accepts(values: Values) -> bool:
            return self.is_new(self._rectangle.decoded(values))

        def instead(values: Values) -> Values | None:
            return self._instead(values, held, rng)

        kinds = self._rectangle.distributions
        inner = sampler_of(self._search, number, kinds, accepts, encoded)
        self._study.sampler = Held(inner, kinds, accepts, instead, self._canonical, encoded)
        self._storage.begin()
        self._count += 1
        try:
            trial = self._study.ask(dict(kinds))
        except NothingLeftError:
            self._storage.set_trial_state_values(self._count - 1, TrialState.FAIL)
            return None
        params = self._rectangle.decoded(trial.params)
        self._trials[number] = trial.number
        self._known.add(self._points.id_of(params) or "")
        return params

    def states(self) -> list[tuple[int, str, Any]]:
        """What the sampler wrote down during the last draw: the number of a suggestion, a name and a value.

        None of a sampler that needs nothing but values.
        """
        if self._search.sampler not in STATEFUL:
            return []
        numbers = {place: number for number, place in self._trials.items()}
        return [(numbers[place], name, value) for place, name, value in self._storage.written if place in numbers]

    def has(self, number: int) -> bool:
        """Whether it knows that suggestion."""
        return number in self._trials

    @property
    def is_exhausted(self) -> bool:
        """Whether every point was suggested, of a space that is small enough to be listed."""
        return self._is_small and not any(map(self.is_new, self._combinations()))

    def complete(self) -> list[optuna.trial.FrozenTrial]:
        """The complete suggestions as the sampler sees them, without what was learned."""
        own = {*self._trials.values()}
        trials = self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        return [trial for trial in trials if trial.number in own]

    def is_new(self, params: Params) -> bool:
        """Whether these values make a point that was not suggested."""
        point_id = self._points.id_of(params)
        return point_id is not None and point_id not in self._known

    def _canonical(self, values: Values) -> Values:
        """The same point with whole numbers where they are, and each field that it does not have at its one value."""
        return self._rectangle.encoded(self._rectangle.decoded(values))

    def _instead(self, drawn: Values, fixed: Params, rng: np.random.Generator) -> Values | None:
        """What to suggest where no draw could be used: the nearest point, or any for a sampler that draws at random."""
        if self._listed is not None:
            left = [
                params for point_id, params in self._listed.items()
                if point_id not in self._known
                and all(params[name] == value for name, value in fixed.items() if name in params)
            ]  # fmt: skip
            if not left:
                return None
            if self._search.sampler == "random":
                return self._rectangle.encoded(left[int(rng.integers(len(left)))])
            encoded = [self._rectangle.encoded(params) for params in left]
            far = np.array([self._distance(drawn, values) for values in encoded])
            nearest = np.flatnonzero(far <= far.min() + 1e-12)
            return encoded[int(rng.choice(nearest))]
        return next((values for values in self._neighbours(drawn, fixed, rng)
                     if self.is_new(self._rectangle.decoded(values))), None)  # fmt: skip

    def _neighbours(self, drawn: Values, fixed: Params, rng: np.random.Generator) -> Iterator[Values]:
        """Points that differ from the draw in one field, then in more; from points that were suggested, as well.

        Where possible points are rare the draw is most likely none, and the suggested ones lie among them. A range of
        positive numbers is drawn in its logarithm every other time: small numbers make few bits.
        """
        free = [name for name in self._search.space.axes if name not in fixed]
        bases = [drawn, *({**values, **self._rectangle.encoded_some(fixed)} for values in self._suggested)]
        random = (draws(self._search.space, rng), draws(_in_logarithms(self._search.space), rng))
        for place in range(NEIGHBOURS):
            fresh = self._rectangle.encoded_some(next(random[place % 2]))
            count = min(1 + place * len(free) // NEIGHBOURS, len(free))
            changed = rng.choice(len(free), size=count, replace=False) if free else ()
            base = bases[int(rng.integers(len(bases)))] if place % 3 else drawn
            yield {**base, **{free[each]: fresh[free[each]] for each in changed}}

    @property
    def _suggested(self) -> list[Values]:
        """The last suggestions, as samplers see them."""
        return [trial.params for trial in self._study.get_trials(deepcopy=False)[-_BASES:] if trial.params]

    @cached_property
    def _listed(self) -> Mapping[str, Params] | None:
        """All points by id, of a space that is small enough."""
        if not self._is_small:
            return None
        found: dict[str, Params] = {}
        for params in self._combinations():
            if (point_id := self._points.id_of(params)) is not None:
                found.setdefault(point_id, params)
        return found

    @property
    def _is_small(self) -> bool:
        size = self._search.space.size()
        return size is not None and size <= MOST_LISTED

    def _combinations(self) -> Iterator[Params]:
        """Those of a finite space, possible or not, with the fields that their quantizer has."""
        for combination in self._search.space.combinations():
            yield {name: combination[name] for name in self._search.active(combination)}

    def _distance(self, one: Values, other: Values) -> float:
        """Between two points of the rectangle: 1 for each field that is as far off as it can be."""
        total = 0.0
        for name, kind in self._rectangle.distributions.items():
            if isinstance(kind, IntDistribution | FloatDistribution):
                ends = (kind.low, kind.high, one[name], other[name])
                low, high, a, b = (math.log(each) if kind.log else float(each) for each in ends)
                total += abs(a - b) / ((high - low) or 1.0)
            else:
                total += one[name] != other[name]
        return total


class _Recording(InMemoryStorage):
    """Remembers what a sampler writes down about trials."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[tuple[int, str, Any]] = []

    def begin(self) -> None:
        """Forgets what was written so far."""
        self.written.clear()

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        """Keeps nothing: NSGA-II notes the parents of a generation, in another order than it finds them."""
        if "parent" not in key:
            super().set_study_system_attr(study_id, key, value)

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        super().set_trial_system_attr(trial_id, key, value)
        self.written.append((trial_id, key, value))


def _in_logarithms(space: Space) -> Space:
    """The space with every range of positive numbers on a log scale."""
    return Space({
        name: replace(axis, log=True) if isinstance(axis, Range) and axis.low > 0 and axis.step is None else axis
        for name, axis in space.axes.items()
    })  # fmt: skip


def draws(space: Space, rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    """Combinations at random without end, uniform on each axis (in the logarithm where it has a log scale)."""
    while True:
        yield _draw(space, rng)


def _draw(space: Space, rng: np.random.Generator) -> dict[str, Any]:
    drawn = dict[str, Any]()
    for name, axis in space.axes.items():
        if not isinstance(axis, Choices) and axis.log:
            value = float(np.clip(np.exp(rng.uniform(np.log(axis.low), np.log(axis.high))), axis.low, axis.high))
            drawn[name] = round(value) if axis.whole else value
        elif (values := axis.values()) is not None:
            drawn[name] = values[int(rng.integers(len(values)))]
        elif not isinstance(axis, Choices):
            drawn[name] = float(rng.uniform(axis.low, axis.high))
    return drawn
