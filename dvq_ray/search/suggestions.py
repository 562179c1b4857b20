"""The suggestions of a search: Optuna's study in the journal beside the store, and what is drawn next.

Optuna is asked and told here and nowhere else. Ray's own adapter for it would start a study over when a search is
resumed, would suggest impossible points, and would compute points again that the store holds, so it is not used.

A point is suggested once. Further repetitions of a point are suggestions too, of the same point with more seeds, and
are told with the mean of all of them; only `stop_when.winner_clear` requests these.

The journal is all the state there is, and Optuna's own tools read it: a trial has the fields that its point has, the
ids of its cells, the name of its sampler, and the watched values of a training.
"""

from __future__ import annotations

import hashlib
import math
import warnings
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import optuna
from optuna.pruners import BasePruner
from optuna.storages import JournalStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from dvq_ray.search import journal as journals
from dvq_ray.search.audit import CELLS, REPEATS, SEEDS, without_broken_state, without_contradictions
from dvq_ray.search.drawing import Drawing, Learned
from dvq_ray.search.identity import DESCRIPTION, described, differences, study_name
from dvq_ray.search.journal import Journal, JournalFile
from dvq_ray.search.learning import learned_from
from dvq_ray.search.points import Points, params_of, point_of
from dvq_ray.search.rectangle import distributions_of
from dvq_ray.search.restoring import load_rows, with_suggestions_of_rows
from dvq_ray.store import Store
from dvq_ray.sweep.cells import Point
from dvq_ray.sweep.samplers import STATEFUL
from dvq_ray.sweep.search import Search, SearchError
from dvq_ray.sweep.space import Params

_RESUMES = "resumes from the lines before that and the rows of the store"
SAMPLER, START = "sampler", "start_from"
"""Attributes of a trial: who drew it, and the starting point that it completes."""
REGRET = "regret"
"""The attribute of a study that holds the last bound on the regret."""
LEARNED = "learned"
"""The attribute of a study that holds the points that it learns from, and where they are from."""


@dataclass(frozen=True, kw_only=True)
class Suggestion:
    """A point that was suggested, and the repetitions whose mean is its value."""

    number: int
    """Counts suggestions from 0, in the order in which they were requested."""
    params: Params
    """Values of the searched fields that the point has."""
    point: Point
    seeds: tuple[int, ...]
    sampler: str = ""
    """Who drew it; empty for those of earlier versions, and for starting points."""
    start: Params | None = None
    """The starting point that it completes."""
    repeats: bool = False
    """Whether it adds repetitions for the contest of the best points, and so is not counted."""

    def cell_ids(self) -> list[str]:
        """Of its repetitions."""
        return [self.point.cell_id(seed) for seed in self.seeds]


@dataclass(frozen=True, kw_only=True)
class Best:
    """A point that no other is better than."""

    params: Params
    values: tuple[float, ...]
    """Values of the objectives."""
    repetitions: int
    point_id: str

    @staticmethod
    def of(entry: Entry) -> Best:
        """The point of a complete suggestion."""
        return Best(
            params=entry.suggestion.params,
            values=entry.values or (),
            repetitions=len(entry.suggestion.seeds),
            point_id=entry.suggestion.point.point_id,
        )

    def in_words(self, search: Search) -> str:
        """Its values, what they are the mean of, and where it is."""
        values = ", ".join(
            f"{metric} {value:.4g}" for metric, value in zip(search.objectives, self.values, strict=True)
        )
        at = " ".join(
            f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}"
            for name, value in self.params.items()
        )
        return f"{values} (n = {self.repetitions}) at {at}"


@dataclass(kw_only=True)
class Entry:
    """A suggestion and what became of it."""

    suggestion: Suggestion
    state: TrialState
    values: tuple[float, ...] | None = None
    reported: dict[int, float] = field(default_factory=dict)
    """Watched values by training step."""


def journal_path(store: Store) -> Path:
    """Where the journal of a store's searches is. Raises `SearchError` for a store that is no folder."""
    if "://" in store.absolute_location:
        raise SearchError(f"{store.location}: a search keeps its journal in a folder; allowed: --results with a path")
    return Path(store.absolute_location) / "search" / "journal.log"


def _warn(text: str) -> None:
    click.echo(f"warning: {text}", err=True)


STATES_IN_WORDS = {"complete": "complete", "pruned": "stopped early", "fail": "failed", "running": "underway"}
"""States of Optuna's trials as those of suggestions."""


class Suggestions:
    """The suggestions of one search. One process at a time may hold them."""

    def __init__(self, search: Search, study: optuna.Study) -> None:
        self.search = search
        self._study = study
        self._study.sampler = optuna.samplers.RandomSampler(seed=0)  # what is drawn here is drawn elsewhere
        self._distributions = distributions_of(search.space, study.get_trials(deepcopy=False))
        self._entries: dict[int, Entry] = {}
        self._last: dict[str, int] = {}
        """The number of the last suggestion of each point."""
        self._again: deque[Suggestion] = deque()
        """Those that failed, to be suggested again."""
        self.skipped: list[Params] = []
        """Starting points that no point completes any more."""
        self._trials = 0
        """In the study; some may be no suggestions: of earlier versions that were cut off while they were drawn."""
        self._drawing: Drawing | None = None
        for trial in study.get_trials(deepcopy=False):
            self._trials += 1
            if (entry := self._entry(trial)) is not None:
                self._enter(entry)

    @staticmethod
    def kept(
        name: str, search: Search, path: Path, learned: Callable[[Collection[str]], Mapping[str, Any]] | None = None
    ) -> Suggestions:
        """Those of the journal at `path`, which comes into being where it is not there.

        `learned` gives the points that a new study learns from, besides those with these ids.
        """
        storage = JournalStorage(JournalFile(path))
        existing = optuna.get_all_study_names(storage)
        study = optuna.create_study(
            storage=storage,
            study_name=study_name(name, search, existing),
            directions=list(search.objectives.values()),
            load_if_exists=True,
        )
        if DESCRIPTION not in study.user_attrs:
            study.set_metric_names([*search.objectives])
            study.set_user_attr(DESCRIPTION, described(search))
        found = Suggestions(search, study)
        if learned is not None and (not found.learned or found.learned["stores"] != [*search.learn_from]):
            study.set_user_attr(LEARNED, learned(found._last.keys()))
        return found

    @staticmethod
    def looked_at(name: str, search: Search, store: Store, warn: Callable[[str], None] = _warn) -> Suggestions | None:
        """Those of the journal beside `store`, to read; None where there are none. Writes nothing.

        Where the journal is damaged they are those that `held` would find; `warn` is given a line that says so. Where
        there is no journal they are those that the rows tell of.
        """
        is_local = "://" not in store.absolute_location  # a copy elsewhere has rows alone
        path = journal_path(store) if is_local else Path()
        is_locked = is_local and journals.is_locked(path)  # another process may be in the middle of a line
        journal = journals.read(path) if is_local else None
        is_there = journal is not None
        if not is_there or not is_locked:
            rows = load_rows(search, store)
            journal = journal or Journal(records=())
            name_of_study = study_name(name, search, journal.studies())
            journal = without_contradictions(journal, name_of_study, search, rows)
            journal = with_suggestions_of_rows(journal, name_of_study, search, rows)
            if journal.reason and is_there:
                warn(f"{path}{journal.reason}; the next run {_RESUMES}")
        assert journal is not None
        try:
            storage = journal.view
            found = study_name(name, search, optuna.get_all_study_names(storage))
            return Suggestions(search, optuna.load_study(study_name=found, storage=storage))
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
            yield Suggestions.kept(name, search, path, lambda known: learned_from(search, store, known))

    @property
    def name(self) -> str:
        """Of the study."""
        return self._study.study_name

    @property
    def learned(self) -> Mapping[str, Any]:
        """What the study learns from: `points`, each with `params` and `values`; `stores`; `counts` by store."""
        found: Mapping[str, Any] = self._study.user_attrs.get(LEARNED, {})
        return found if {"points", "stores", "counts"} <= found.keys() else {}

    def underway(self) -> list[Suggestion]:
        """Gives those that were requested and never reported: their search was cut off. They are to be resumed."""
        return [entry.suggestion for entry in self._entries.values() if entry.state is TrialState.RUNNING]

    def told(self) -> list[Suggestion]:
        """Those that are not underway."""
        return [entry.suggestion for entry in self._entries.values() if entry.state is not TrialState.RUNNING]

    def entries(self) -> list[Entry]:
        """All, by number; those that failed and were tried again are left out."""
        return [entry for entry in self._entries.values() if not self._was_retried(entry)]

    def ask(self, *, more: bool = True) -> Suggestion | None:
        """The next one; None where there is nothing left to suggest.

        Without `more` only what failed, and starting points.
        """
        number = self._trials
        if self._again:
            failed = self._again.popleft()
            return self._ask_for(replace(failed, number=number))
        while (start := self.next_start()) is not None:
            whole = self._whole(start)
            if whole is not None and self._drawn.is_new(whole):
                return self._ask_for(self._made(whole, start=start))
            params = None if whole is not None else self._drawn.draw(number, start)
            if params is not None:
                return self._ask_for(self._made(params, sampler=self.search.sampler, start=start))
            self.skipped.append(start)
        params = self._drawn.draw(number, {}) if more else None
        return None if params is None else self._ask_for(self._made(params, sampler=self.search.sampler))

    def _whole(self, start: Params) -> dict[str, Any] | None:
        """The point that a starting point leaves nothing open of; None of any other."""
        try:
            active = self.search.active(start)
        except KeyError:
            return None
        params = {name: start[name] for name in active if name in start}
        return params if len(params) == len(active) and self.search.possible(params) else None

    def _made(self, params: Params, sampler: str = "", start: Params | None = None) -> Suggestion:
        point = point_of(self.search, params)
        return Suggestion(
            number=self._trials, params=params, point=point, seeds=self.search.seeds, sampler=sampler, start=start
        )

    def repeat(self, entry: Entry, seeds: Sequence[int]) -> Suggestion:
        """Suggests a point again, with these repetitions."""
        old = entry.suggestion
        return self._ask_for(
            Suggestion(number=self._trials, params=old.params, point=old.point, seeds=tuple(seeds), repeats=True)
        )

    def next_start(self) -> Params | None:
        """The first starting point that was not suggested yet; None where all were."""
        return next((start for start in self.search.start_from if not self._is_suggested(start)), None)

    def open_starts(self) -> int:
        """How many starting points were not suggested yet."""
        return sum(not self._is_suggested(start) for start in self.search.start_from)

    def _is_suggested(self, start: Params) -> bool:
        return start in self.skipped or any(
            entry.suggestion.start == start or _completes(entry.suggestion, start) for entry in self._entries.values()
        )

    def _ask_for(self, made: Suggestion) -> Suggestion:
        """Writes down a new suggestion."""
        number, params = made.number, made.params
        attributes: dict[str, Any] = {SEEDS: list(made.seeds), CELLS: made.cell_ids()}
        attributes |= {SAMPLER: made.sampler} if made.sampler else {}
        attributes |= {START: dict(made.start)} if made.start is not None else {}
        attributes |= {REPEATS: True} if made.repeats else {}
        is_drawn = self._drawn.has(number)
        states = self._drawn.states() if is_drawn else []
        self._study.add_trial(
            create_trial(
                state=TrialState.RUNNING,
                params=dict(params),
                distributions={name: self._distributions[name] for name in params},
                user_attrs=attributes,
            )
        )
        for where, name, value in states:
            self._storage.set_trial_system_attr(self._trial_id(where), name, value)
        self._trials += 1
        self._enter(Entry(suggestion=made, state=TrialState.RUNNING))
        if not is_drawn:
            self._drawn.add(number, params, made.point.point_id, {})
        return made

    def tell(self, suggestion: Suggestion, state: TrialState, values: Sequence[float] | None = None) -> None:
        """What became of it: complete with `values`, pruned (a repetition was stopped early) or failed."""
        entry, drawing = self._entries[suggestion.number], self._drawn
        self._study.tell(suggestion.number, values, state)
        entry.state, entry.values = state, None if values is None else tuple(values)
        drawing.told(suggestion.number, state, values, entry.reported)

    def report(self, number: int, step: int, value: float) -> None:
        """Takes note of the watched value of a suggestion at a training step, once."""
        reported = self._entries[number].reported
        if step not in reported:
            reported[step] = value
            self._storage.set_trial_intermediate_value(self._trial_id(number), step, value)

    def is_reported(self, number: int) -> bool:
        """Whether watched values of a suggestion are known."""
        return bool(self._entries[number].reported)

    def is_pruned(self, number: int, pruner: BasePruner) -> bool:
        """Whether a pruner would stop a suggestion, by all that was reported."""
        return pruner.prune(self._study, self._storage.get_trial(self._trial_id(number)))

    def try_failed_again(self) -> None:
        """Queues what failed, as suggestions of their own with the same repetitions."""
        for entry in self._entries.values():
            if entry.state is TrialState.FAIL and not self._was_retried(entry):
                self._again.append(entry.suggestion)

    @property
    def retries(self) -> int:
        """Failed points that are still to be suggested again."""
        return len(self._again)

    def count(self, *, failed: bool = True) -> int:
        """Suggestions so far, told or underway; those that failed may be left out, and repeats are."""
        return sum(failed or entry.state is not TrialState.FAIL for entry in self._counted())

    def failed(self) -> int:
        """Suggestions that failed, repeats among them, and were not tried again."""
        return sum(entry.state is TrialState.FAIL for entry in self.entries())

    def states(self) -> dict[str, int]:
        """Number of suggestions by what became of them: `complete`, `pruned`, `fail`, `running`; without repeats."""
        names = [entry.state.name.lower() for entry in self._counted()]
        return {name: names.count(name) for name in sorted(set(names))}

    def _counted(self) -> list[Entry]:
        return [entry for entry in self.entries() if not entry.suggestion.repeats]

    def samplers(self) -> dict[str, int]:
        """How many suggestions each sampler drew."""
        names = [entry.suggestion.sampler for entry in self.entries() if entry.suggestion.sampler]
        return {name: names.count(name) for name in dict.fromkeys(names)}

    def latest(self) -> dict[str, Entry]:
        """The last complete suggestion of each point, which has the most repetitions, by the point's id."""
        return {entry.suggestion.point.point_id: entry for entry in self._entries.values()
                if entry.state is TrialState.COMPLETE}  # fmt: skip

    def best(self) -> list[Best]:
        """Points that no other is better than: one, or the Pareto front of two objectives; none before the first."""
        latest = self.latest()
        signs = np.array([*self.search.signs.values()])
        if not latest:
            return []
        entries = [*latest.values()]
        costs = np.array([entry.values for entry in entries], np.float64) * signs
        order = np.lexsort(costs.T[::-1])  # by the first objective, then by the second
        front, least = list[int](), np.inf
        for place in order if costs.shape[1] > 1 else order[:1]:
            if costs[place, -1] < least:
                least = costs[place, -1]
                front.append(int(place))
        if costs.shape[1] > 1:  # equals of a point on the front are not beaten by it
            on_front = {tuple(costs[place]) for place in front}
            front = [place for place in range(len(entries)) if tuple(costs[place]) in on_front]
        return [Best.of(entries[place]) for place in front]

    def best_of_optuna(self) -> Suggestion | None:
        """Optuna's `best_trial`, where it is of another point than `best`; None where they agree, or of two objectives.

        Optuna keeps each value that it was told, and so also the mean of fewer repetitions that a later one replaces.
        """
        complete = [entry for entry in self._entries.values() if entry.state is TrialState.COMPLETE and entry.values]
        if len(self.search.objectives) > 1 or not complete:
            return None
        (sign,) = self.search.signs.values()
        first, best = min(complete, key=lambda entry: sign * _first(entry)), self.best()[0]
        is_replaced = first is not self.latest()[first.suggestion.point.point_id]
        is_other = is_replaced and first.suggestion.point.point_id != best.point_id
        return first.suggestion if is_other else None

    def contested(self) -> dict[str, Entry]:
        """`latest` without the points of which a later repetition failed, or was stopped."""
        return {
            point_id: entry
            for point_id, entry in self.latest().items()
            if self._entries[self._last[point_id]].state in (TrialState.COMPLETE, TrialState.RUNNING)
        }

    def missing(self, *, retry_failed: bool = False) -> int:
        """How many suggestions a run would make or resume, as far as the space has points for them.

        Repetitions for the contest of the best points are not among them.
        """
        counts = self.states()
        running, failed = counts.get("running", 0), self.failed() if retry_failed else 0
        told = sum(counts.values()) - running - (counts.get("fail", 0) if retry_failed else 0)
        due = running + max(self.open_starts(), failed)
        wanted = self.search.suggestions - told
        if wanted <= due or self.regret_is_small or self._drawn.is_exhausted:
            return due
        return wanted

    @property
    def regret(self) -> float:
        """The last bound on the regret; infinite before the first."""
        found = self._study.user_attrs.get(REGRET)
        return float(found) if isinstance(found, int | float) else math.inf

    @regret.setter
    def regret(self, bound: float) -> None:
        if bound != self.regret:
            self._study.set_user_attr(REGRET, bound)

    @property
    def regret_is_small(self) -> bool:
        """Whether the bound on the regret ends the search."""
        rule = self.search.stop_when
        return bool(rule and rule.regret_below is not None and self.regret < rule.regret_below)

    def complete_trials(self) -> list[FrozenTrial]:
        """The complete suggestions as samplers see them: every field has a number or a name."""
        return self._drawn.complete()

    @property
    def _drawn(self) -> Drawing:
        """What draws, made when it is first needed: who only looks at suggestions draws none."""
        if self._drawing is None:
            learned = [Learned(params=each["params"], values=tuple(each["values"]))
                       for each in self.learned.get("points", ())]  # fmt: skip
            self._drawing = Drawing(self.search, Points(self.search), learned)
            of_sampler = self.search.sampler in STATEFUL
            for number, entry in self._entries.items():
                suggestion = entry.suggestion
                state = self._storage.get_trial(self._trial_id(number)).system_attrs if of_sampler else {}
                self._drawing.add(number, suggestion.params, suggestion.point.point_id, state)
                if entry.state is not TrialState.RUNNING:
                    self._drawing.told(number, entry.state, entry.values, entry.reported)
        return self._drawing

    @property
    def _storage(self) -> Any:
        return self._study._storage

    def _enter(self, entry: Entry) -> None:
        suggestion = entry.suggestion
        self._entries[suggestion.number] = entry
        self._last[suggestion.point.point_id] = suggestion.number

    def _trial_id(self, number: int) -> int:
        found: int = self._storage.get_trial_id_from_study_id_trial_number(self._study._study_id, number)
        return found

    def _was_retried(self, entry: Entry) -> bool:
        """Whether it failed, and a later suggestion of its point took its place."""
        if entry.state is not TrialState.FAIL:
            return False
        suggestion = entry.suggestion
        return self._last[suggestion.point.point_id] > suggestion.number

    def _entry(self, trial: FrozenTrial) -> Entry | None:
        """A trial of the journal; None for one that is no suggestion."""
        params = params_of(trial, self.search)
        if params is None or trial.state is TrialState.WAITING:
            return None
        suggestion = Suggestion(
            number=trial.number,
            params=params,
            point=point_of(self.search, params),
            seeds=tuple(trial.user_attrs.get(SEEDS, self.search.seeds)),
            sampler=trial.user_attrs.get(SAMPLER, ""),
            start=trial.user_attrs.get(START, trial.system_attrs.get("fixed_params")),
            repeats=trial.user_attrs.get(REPEATS, False),
        )
        # Optuna gives one that was pruned its last watched value; here it has none.
        values = tuple(trial.values) if trial.state is TrialState.COMPLETE else None
        return Entry(suggestion=suggestion, state=trial.state, values=values, reported=dict(trial.intermediate_values))


def _first(entry: Entry) -> float:
    assert entry.values is not None
    return entry.values[0]


def _completes(suggestion: Suggestion, start: Params) -> bool:
    """Whether a suggestion is what a starting point was completed to, as far as that is known.

    One that was put back from rows does not say so; it counts where it agrees with the starting point.
    """
    params = suggestion.params
    agrees = all(params[name] == value for name, value in start.items() if name in params)
    is_whole = {*params} <= {*start}
    return agrees and not suggestion.repeats and (is_whole or (not suggestion.sampler and suggestion.start is None))


def _mend(journal: Journal, name: str, search: Search, path: Path, store: Store, warn: Callable[[str], None]) -> None:
    """Leaves in the file what is right, and what the store knows besides. What is wrong is set aside."""
    study, rows = study_name(name, search, journal.studies()), load_rows(search, store)
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


def others_in_words(name: str, search: Search, store: Store) -> list[str]:
    """A line for each other study in the journal beside a store, where this search begins a new one: what differs."""
    journal = journals.read(journal_path(store))
    if journal is None or journals.is_locked(journal_path(store)):
        return []
    storage = journal.view
    names = optuna.get_all_study_names(storage)
    own = study_name(name, search, names)
    if own in names:
        return []
    lines = []
    for other in names:
        study = optuna.load_study(study_name=other, storage=storage)
        count = len(study.get_trials(deepcopy=False))
        description = study.user_attrs.get(DESCRIPTION)
        differs = "; ".join(differences(described(search), description)) if description else "an earlier version"
        lines.append(f"another search is in this store, {other}, of {count:,} suggestions ({differs})")
    return lines


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
