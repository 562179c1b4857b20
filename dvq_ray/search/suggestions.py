"""The suggestions of a search: Optuna's study, its journal beside the store, and what is done about repeats.

Optuna is asked and told here and nowhere else. Ray's own adapter for it would start a study over when a search is
taken up again, ask for points that cannot be, and pay for points that the store holds, so it is not used.

The rule for repeats: a point is suggested once. Where the sampler insists on points that were suggested before, the
suggestion becomes one more repetition of the best point (of the front's least repeated one, where there are two
objectives), and is told with the mean of all its repetitions.

The journal is all the state there is. Samplers are made anew for each suggestion, seeded by the search's seed and the
suggestion's number, so that a search that was cut off goes on as it would have.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
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
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from dvq_ray.cells import Point
from dvq_ray.search.space import Axis, Choices, Params, Space
from dvq_ray.search.spec import Sampler, Search, SearchError
from dvq_ray.store import Store
from dvq_ray.streams import stream

DRAWS = 10
"""How often a sampler may come back with a point that cannot be, or was suggested before."""
BLIND_STARTS = 5
"""Suggestions before TPE begins to learn: searches of quantizers are tens of suggestions long."""
BLIND_DRAWS = 10_000
"""How often a new point is drawn at random from a space that is a continuum, before it is given up."""
MOST_LISTED = 200_000
"""Combinations of a finite space that are listed; larger ones are drawn from."""
_SEEDS = "seeds"
_COUNTED = (TrialState.RUNNING, TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)

Verdict = Literal["new", "known", "impossible"]


@dataclass(frozen=True, kw_only=True)
class Suggestion:
    """A point that was suggested, and the repetitions whose mean is its value."""

    number: int
    """From 0, in the order in which they were asked for."""
    params: Params
    point: Point
    seeds: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Best:
    """A point that no other is better than."""

    params: Params
    values: tuple[float, ...]
    """Of the objectives."""
    repetitions: int


def journal_path(store: Store) -> Path:
    """Where the journal of a store's searches is. Raises `SearchError` for a store that is no folder."""
    if "://" in store.absolute_location:
        raise SearchError(f"{store.location}: a search keeps its journal in a folder; allowed: --results with a path")
    return Path(store.absolute_location) / "search" / "journal.log"


def study_name(name: str, search: Search) -> str:
    """Name of the study in the journal: a search for something else is another study, more suggestions are not."""
    plain = {
        "trainable": search.experiment.name,
        "revision": search.experiment.revision,
        "fixed": dict(search.fixed),
        "space": {field: repr(axis) for field, axis in search.space.axes.items()},
        "objectives": dict(search.objectives),
        "seeds": list(search.seeds),
        "max_bits": search.max_bits,
        "stop_early": search.stop_early.model_dump() if search.stop_early else None,
    }
    digest = hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()
    return f"{name}-{digest[:8]}"


class Suggestions:
    """The suggestions of one search. One process at a time may hold them."""

    def __init__(self, name: str, search: Search, path: Path) -> None:
        self.search = search
        self._distributions = {field: _distribution(axis) for field, axis in search.space.axes.items()}
        storage = JournalStorage(JournalFileBackend(str(path)))
        self._study = optuna.create_study(
            storage=storage,
            study_name=study_name(name, search),
            directions=list(search.objectives.values()),
            load_if_exists=True,
        )
        self._points: dict[int, Point | None] = {}
        for params in search.start_from:
            self._study.enqueue_trial(dict(params), skip_if_exists=True)

    @staticmethod
    @contextmanager
    def held(name: str, search: Search, store: Store) -> Iterator[Suggestions]:
        """Those of the journal beside `store`. Raises `SearchError` where another process holds them."""
        path = journal_path(store)
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path.with_name("lock"), "w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # goes with the process, however that ends
            except OSError:
                raise SearchError(f"{store.location}: another search runs on this store; wait for it to end") from None
            with quiet():
                yield Suggestions(name, search, path)

    def underway(self) -> list[Suggestion]:
        """Those that were asked for and never told: their search was cut off. They are to be taken up again."""
        found = []
        for trial in self._trials(TrialState.RUNNING):
            if self._point_if_any(trial) is not None:
                found.append(self._suggestion(trial))
            else:  # cut off while it was being drawn; nothing was run for it
                self._study.tell(trial.number, state=TrialState.FAIL)
        return found

    def told(self) -> list[Suggestion]:
        """Those that are not underway."""
        return [self._suggestion(trial) for trial in self._drawn() if trial.state is not TrialState.RUNNING]

    def ask(self) -> Suggestion | None:
        """The next one; None where there is nothing left to suggest until one of those underway is told."""
        known = {self._point(trial).point_id for trial in self._drawn()}
        best = self.best()
        chooser = _Chooser(self.search, known, best)
        if not chooser.any_left():
            return None
        number = len(self._study.get_trials(deepcopy=False))
        self._study.sampler = _Choosing(_sampler(self.search, number), chooser)
        trial = self._study.ask(self._distributions)
        frozen = self._study.get_trials(deepcopy=False)[trial.number]
        if self._point_if_any(frozen) is None:  # an unfinished point of start_from, completed in vain
            self._study.tell(trial, state=TrialState.FAIL)
            return self.ask()
        suggestion = self._suggestion(frozen)
        trial.set_user_attr(_SEEDS, list(suggestion.seeds))
        return suggestion

    def tell(self, suggestion: Suggestion, state: TrialState, values: Sequence[float] | None = None) -> None:
        """What became of it: complete with `values`, pruned (a repetition was stopped early) or failed."""
        self._study.tell(suggestion.number, values, state)

    def try_failed_again(self) -> None:
        """Queues the points whose suggestion failed, as suggestions of their own."""
        for trial in self._trials(TrialState.FAIL):
            if self._point_if_any(trial) is not None:
                later = [t for t in self._drawn() if t.number > trial.number and t.params == trial.params]
                if not later:
                    self._study.enqueue_trial(trial.params)

    def count(self, *, failed: bool = True) -> int:
        """Suggestions so far, told or underway; those that failed may be left out."""
        return sum(failed or trial.state is not TrialState.FAIL for trial in self._drawn())

    def states(self) -> dict[str, int]:
        """Number of suggestions by what became of them: `complete`, `pruned`, `fail`, `running`."""
        names = [trial.state.name.lower() for trial in self._drawn()]
        return {name: names.count(name) for name in sorted(set(names))}

    def best(self) -> list[Best]:
        """Points that no other is better than: one, or the Pareto front of two objectives; none before the first."""
        latest = dict[str, FrozenTrial]()
        for trial in self._trials(TrialState.COMPLETE):
            latest[self._point(trial).point_id] = trial  # a later one of a point has more repetitions
        signs = np.array([1.0 if way == "minimize" else -1.0 for way in self.search.objectives.values()])
        trials = list(latest.values())
        costs = [np.asarray(trial.values) * signs for trial in trials]
        front = [
            trial for trial, cost in zip(trials, costs, strict=True)
            if not any((other <= cost).all() and (other < cost).any() for other in costs)
        ]  # fmt: skip
        if len(signs) == 1:
            front = front[:1]
        return [Best(params=t.params, values=tuple(t.values), repetitions=len(self._seeds(t))) for t in front]

    def _trials(self, *states: TrialState) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False, states=states)

    def _drawn(self) -> list[FrozenTrial]:
        """All that count as suggestions."""
        return [trial for trial in self._trials(*_COUNTED) if self._point_if_any(trial) is not None]

    def _point(self, trial: FrozenTrial) -> Point:
        point = self._point_if_any(trial)
        assert point is not None
        return point

    def _point_if_any(self, trial: FrozenTrial) -> Point | None:
        """None for one that was cut off while it was being drawn, or that cannot be."""
        if trial.params.keys() != self._distributions.keys():
            return None
        if trial.number not in self._points:
            possible = self.search.possible(trial.params)
            self._points[trial.number] = _point(self.search, trial.params) if possible else None
        return self._points[trial.number]

    def _suggestion(self, trial: FrozenTrial) -> Suggestion:
        return Suggestion(number=trial.number, params=trial.params, point=self._point(trial), seeds=self._seeds(trial))

    def _seeds(self, trial: FrozenTrial) -> tuple[int, ...]:
        """The search's own, and one more for each time that the point was suggested before and did not fail."""
        if _SEEDS in trial.user_attrs:
            return tuple(trial.user_attrs[_SEEDS])
        point_id = self._point(trial).point_id
        earlier = [t for t in self._drawn() if t.number < trial.number and t.state is not TrialState.FAIL]
        times = sum(self._point(t).point_id == point_id for t in earlier)
        first = max(self.search.seeds) + 1
        return (*self.search.seeds, *range(first, first + times))


@dataclass(frozen=True)
class _Chooser:
    """Which of the points that a sampler draws is taken."""

    search: Search
    known: set[str]
    """Ids of the points that were suggested."""
    best: Sequence[Best]

    def verdict(self, params: Params) -> Verdict:
        """What a point is."""
        try:
            point = _point(self.search, params)
        except ValueError:
            return "impossible"
        return "known" if point.point_id in self.known else "new"

    def any_left(self) -> bool:
        """Whether there is a point to suggest."""
        return bool(self.best) or self.unseen(np.random.default_rng(0)) is not None

    def in_place_of(self, verdicts: Sequence[Verdict], rng: np.random.Generator) -> Params | None:
        """What to suggest where all draws were in vain."""
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


class _Choosing(BaseSampler):
    """Draws with another sampler, and takes what its chooser takes: impossible points are never suggested."""

    def __init__(self, inner: BaseSampler, chooser: _Chooser) -> None:
        self._inner = inner
        self._chooser = chooser

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """All fields: they are judged together."""
        return {field: _distribution(axis) for field, axis in self._chooser.search.space.axes.items()}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """A value for every field."""
        fixed = trial.system_attrs.get("fixed_params", {})
        drawn, verdicts = dict[str, Any](), list[Verdict]()
        for _ in range(DRAWS):
            joint = self._inner.infer_relative_search_space(study, trial)
            drawn = self._inner.sample_relative(study, trial, joint) if joint else {}
            for field, distribution in search_space.items():
                if field not in drawn:
                    drawn[field] = self._inner.sample_independent(study, trial, field, distribution)
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
        return {field: _distribution(axis) for field, axis in self._space.axes.items()}

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


_SAMPLERS: Mapping[Sampler, Callable[[int], BaseSampler]] = {
    "gp": lambda seed: GPSampler(seed=seed, warn_independent_sampling=False),
    "cmaes": lambda seed: CmaEsSampler(seed=seed, warn_independent_sampling=False),
    "random": lambda seed: RandomSampler(seed=seed),
    "nsga2": lambda seed: NSGAIISampler(seed=seed),
    "nsga3": lambda seed: NSGAIIISampler(seed=seed),
}


def _point(search: Search, params: Params) -> Point:
    return Point(experiment=search.experiment, settings=search.settings(params))


def _sampler(search: Search, number: int) -> BaseSampler:
    seed = int(stream(search.sampler_seed, f"sampler of suggestion {number}").integers(2**31))
    return _Ranking(seed, search.space) if search.sampler == "tpe" else _SAMPLERS[search.sampler](seed)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _distribution(axis: Axis) -> BaseDistribution:
    if isinstance(axis, Choices):
        return CategoricalDistribution(axis.choices)
    if axis.whole:
        return IntDistribution(int(axis.low), int(axis.high), log=axis.log, step=int(axis.step or 1))
    return FloatDistribution(axis.low, axis.high, log=axis.log, step=axis.step)


def draws(space: Space, rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    """Combinations at random without end, uniform on each axis (in the logarithm where it has a log scale)."""
    while True:
        yield _draw(space, rng)


def _draw(space: Space, rng: np.random.Generator) -> dict[str, Any]:
    drawn = dict[str, Any]()
    for field, axis in space.axes.items():
        if not isinstance(axis, Choices) and axis.log:
            value = float(np.exp(rng.uniform(np.log(axis.low), np.log(axis.high))))
            drawn[field] = round(value) if axis.whole else value
        elif (values := axis.values()) is not None:
            drawn[field] = values[rng.integers(len(values))]
        elif not isinstance(axis, Choices):
            drawn[field] = float(rng.uniform(axis.low, axis.high))
    return drawn


@contextmanager
def quiet() -> Iterator[None]:
    """Without Optuna's line for each trial, and its notes that a part of it is experimental."""
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", category=optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(level)
