"""The suggestions of a search: Optuna's study, its journal beside the store, and what is done about repeats.

Optuna is asked and told here and nowhere else. Ray's own adapter for it would start a study over when a search is
resumed, would suggest impossible points, and would compute points again that the store holds, so it is not used.

The rule for repeats: a point is suggested once. Where the sampler insists on points that were suggested before, the
suggestion becomes one more repetition of the best point (of the front's least repeated one, where there are two
objectives), and is told with the mean of all its repetitions.

The journal is all the state there is. Samplers are made anew for each suggestion, seeded by the search's seed and the
suggestion's number, so that a search that was cut off resumes as it would have continued.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import optuna
from optuna.storages import JournalStorage
from optuna.trial import FrozenTrial, TrialState

from dvq_ray.search import journal as journals
from dvq_ray.search.audit import SEEDS, without_broken_state, without_contradictions
from dvq_ray.search.journal import Journal, JournalFile
from dvq_ray.search.restoring import load_rows, with_suggestions_of_rows
from dvq_ray.search.sampling import Best, Chooser, Choosing, distributions_of, point_of, sampler_of
from dvq_ray.store import Store
from dvq_ray.sweep.cells import Point
from dvq_ray.sweep.search import Search, SearchError
from dvq_ray.sweep.space import Params

_RESUMES = "resumes from the lines before that and the rows of the store"
_COUNTED = (TrialState.RUNNING, TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


@dataclass(frozen=True, kw_only=True)
class Suggestion:
    """A point that was suggested, and the repetitions whose mean is its value."""

    number: int
    """Counts suggestions from 0, in the order in which they were requested."""
    params: Params
    point: Point
    seeds: tuple[int, ...]


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


def _warn(text: str) -> None:
    click.echo(f"warning: {text}", err=True)


STATES_IN_WORDS = {"complete": "complete", "pruned": "stopped early", "fail": "failed", "running": "underway"}
"""States of Optuna's trials as those of suggestions."""


class Suggestions:
    """The suggestions of one search. One process at a time may hold them."""

    def __init__(self, search: Search, study: optuna.Study) -> None:
        self.search = search
        self._study = study
        self._distributions = distributions_of(search.space)
        self._points: dict[int, Point | None] = {}

    @staticmethod
    def kept(name: str, search: Search, path: Path) -> Suggestions:
        """Those of the journal at `path`, which comes into being where it is not there."""
        study = optuna.create_study(
            storage=JournalStorage(JournalFile(path)),
            study_name=study_name(name, search),
            directions=list(search.objectives.values()),
            load_if_exists=True,
        )
        for params in search.start_from:
            study.enqueue_trial(dict(params), skip_if_exists=True)
        return Suggestions(search, study)

    @staticmethod
    def looked_at(name: str, search: Search, store: Store, warn: Callable[[str], None] = _warn) -> Suggestions | None:
        """Those of the journal beside `store`, to read; None where there are none. Writes nothing.

        Where the journal is damaged they are those that `held` would find; `warn` is given a line that says so.
        """
        path = journal_path(store)
        journal = journals.read(path)
        if journal is None:
            return None
        if not journals.is_locked(path):  # else another process may be in the middle of a line
            rows = load_rows(search, store)
            journal = without_contradictions(journal, study_name(name, search), search, rows)
            journal = with_suggestions_of_rows(journal, study_name(name, search), search, rows)
            if journal.reason:
                warn(f"{path}{journal.reason}; the next run {_RESUMES}")
        try:
            return Suggestions(
                search, optuna.load_study(study_name=study_name(name, search), storage=journal.storage())
            )
        except KeyError:  # the journal is of searches for something else
            return None

    @staticmethod
    @contextmanager
    def held(name: str, search: Search, store: Store, warn: Callable[[str], None] = _warn) -> Iterator[Suggestions]:
        """Those of the journal beside `store`. Raises `SearchError` where another process holds them.

        Where the journal is damaged it is repaired first; `warn` is given a line that says how.
        """
        path = journal_path(store)
        with journals.locked(path, store.location), quiet():
            journals.remove_stale_lock(path)
            journal = journals.read(path)
            if journal is not None:
                _mend(journal, name, search, path, store, warn)
            yield Suggestions.kept(name, search, path)

    def underway(self) -> list[Suggestion]:
        """Gives those that were requested and never reported: their search was cut off. They are to be resumed."""
        found = []
        for trial in self._trials(TrialState.RUNNING):
            if self._point_if_any(trial) is not None:
                found.append(self._suggestion(trial))
            else:  # cut off while it was being drawn; nothing was run for it
                self._study.tell(trial.number, state=TrialState.FAIL)
                if fixed := trial.system_attrs.get("fixed_params"):  # a point of start_from, which is not to be lost
                    self._study.enqueue_trial(fixed)
        return found

    def told(self) -> list[Suggestion]:
        """Those that are not underway."""
        return [self._suggestion(trial) for trial in self._drawn() if trial.state is not TrialState.RUNNING]

    def ask(self) -> Suggestion | None:
        """The next one; None where there is nothing left to suggest until one of those underway is told."""
        known = {point_id for trial in self._drawn() for point_id in self._ids(trial)}
        best = self.best()
        chooser = Chooser(self.search, known, best)
        if not chooser.any_left():
            return None
        number = len(self._study.get_trials(deepcopy=False))
        self._study.sampler = Choosing(sampler_of(self.search, number), chooser)
        trial = self._study.ask(self._distributions)
        frozen = self._study.get_trials(deepcopy=False)[trial.number]
        if self._point_if_any(frozen) is None:  # an unfinished point of start_from, completed without success
            self._study.tell(trial, state=TrialState.FAIL)
            return self.ask()
        suggestion = self._suggestion(frozen)
        trial.set_user_attr(SEEDS, list(suggestion.seeds))
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
            self._points[trial.number] = point_of(self.search, trial.params) if possible else None
        return self._points[trial.number]

    def _ids(self, trial: FrozenTrial) -> set[str]:
        """Of its point, and of the nearest one of the space: earlier versions suggested 0.1 x 3, and not 0.3."""
        point = self._point(trial)
        nearest = self.search.space.snapped(trial.params)
        if nearest == trial.params or not self.search.possible(nearest):
            return {point.point_id}
        return {point.point_id, point_of(self.search, nearest).point_id}

    def _suggestion(self, trial: FrozenTrial) -> Suggestion:
        return Suggestion(number=trial.number, params=trial.params, point=self._point(trial), seeds=self._seeds(trial))

    def _seeds(self, trial: FrozenTrial) -> tuple[int, ...]:
        """The search's own, and one more for each time that the point was suggested before and did not fail."""
        if SEEDS in trial.user_attrs:
            return tuple(trial.user_attrs[SEEDS])
        point_id = self._point(trial).point_id
        earlier = [t for t in self._drawn() if t.number < trial.number and t.state is not TrialState.FAIL]
        times = sum(self._point(t).point_id == point_id for t in earlier)
        first = max(self.search.seeds) + 1
        return (*self.search.seeds, *range(first, first + times))


def _mend(journal: Journal, name: str, search: Search, path: Path, store: Store, warn: Callable[[str], None]) -> None:
    """Leaves in the file what is right, and what the store knows besides. What is wrong is set aside."""
    study, rows = study_name(name, search), load_rows(search, store)
    journal = without_contradictions(journal, study, search, rows)
    journal = without_broken_state(journal, study, search)
    journal = with_suggestions_of_rows(journal, study, search, rows)
    aside = ""
    if journal.tail:
        # Named after its content, so that doing this twice leaves one copy.
        digest = hashlib.sha256(journal.tail).hexdigest()[:8]
        place = Path(store.absolute_location) / "set_aside" / "search" / f"{path.name}-{digest}"
        journals.write(place, journal.tail)
        aside = f"{len(journal.tail):,} bytes from there on are set aside as {place}; "
    if not journal.tidy:
        journals.write(path, journal.content())
    if journal.reason:
        warn(f"{path}{journal.reason}; {aside}the search {_RESUMES}")


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
