"""The command line of a search: what is there, running what is wanted, saying what came of it."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import pandas as pd
from optuna.trial import TrialState
from rich.console import Console
from rich.table import Table

from dvq_ray.cli import commands
from dvq_ray.declarations.settings import Settings
from dvq_ray.execution.budget import BUDGET_SPENT, Budget
from dvq_ray.execution.executor import Executor
from dvq_ray.execution.progress import Progress
from dvq_ray.execution.running import running
from dvq_ray.process.interruption import INTERRUPTED
from dvq_ray.search.contest import contest_in
from dvq_ray.search.drawing import draws
from dvq_ray.search.learning import in_words, load_store
from dvq_ray.search.sampling import check_sampler
from dvq_ray.search.suggestions import STATES_IN_WORDS, Best, Suggestions, journal_path, others_in_words, quiet
from dvq_ray.search.supply import Supply
from dvq_ray.store import Store
from dvq_ray.sweep.pace import MEASURED, NOMINAL, UNKNOWN_ON_GPU, Estimate
from dvq_ray.sweep.search import Search, SearchError
from dvq_ray.sweep.space import Params
from dvq_ray.sweep.spec import Resources, SweepSpec

_LISTED = 20_000
"""Combinations of a space that are counted one by one."""
_EXAMPLES = 200
"""Points of the space that are looked at for the data sets that they name."""


def examples(search: Search) -> Iterator[Settings]:
    """Some points of the space, which name all data sets that it does."""
    data_sets = search.experiment.data_sets
    field = data_sets.field if data_sets else ""
    axis = search.space.axes.get(field)
    for name in (axis.values() if axis else None) or (None,):
        named = {} if name is None else {field: name}
        drawn: Iterator[Params] = ({**params, **named} for params in draws(search.space, np.random.default_rng(0)))
        yield from (search.settings(params) for params in islice(drawn, _EXAMPLES) if search.possible(params))


def problems(search: Search) -> list[str]:
    """Why the search cannot run here: a sampler that is not installed, a store to learn from that is not there."""
    try:
        check_sampler(search)
        for location in search.learn_from:
            load_store(location)
    except SearchError as error:
        return [str(error)]
    return []


def search_estimate(search: Search, rows: pd.DataFrame, suggestions: int, resources: Resources) -> Estimate:
    """How long suggestions will take: by the `duration_seconds` of rows, and else by examples from the whole space."""
    measured = rows["duration_seconds"].dropna()
    if len(measured):
        each = statistics.median(measured) * len(search.seeds)
        return Estimate(seconds=each * suggestions, basis=MEASURED, measured=True)
    seconds = [settings.nominal_seconds() for settings in examples(search)]
    if resources.gpu:
        return UNKNOWN_ON_GPU
    if not seconds:
        return Estimate(seconds=None, basis="nothing was measured yet", measured=False)
    each = statistics.mean(seconds) * len(search.seeds)
    return Estimate(seconds=each * suggestions, basis=NOMINAL, measured=False)


@dataclass(frozen=True, kw_only=True)
class Ahead:
    """What a run of a search would begin with."""

    left: int
    """Suggestions that are to come."""
    failed: int
    """Suggestions that failed and would be left alone."""


def print_plan(
    console: Console, spec: SweepSpec, search: Search, store: Store, slots: int, *, retry_failed: bool
) -> Ahead:
    """Prints the space, its size, what is stored and what is to come. Writes nothing."""
    table = Table(box=None, pad_edge=False)
    table.add_column("field")
    table.add_column("values", overflow="fold")
    for field, axis in search.space.axes.items():
        table.add_row(field, str(axis))
    console.print(table)
    size = search.space.size()
    if size is None:
        console.print("size: a continuum")
    elif size > _LISTED:
        console.print(f"size: {size:,} combinations")
    else:
        possible = sum(search.possible(params) for params in search.space.combinations())
        console.print(f"size: {size:,} combinations, of which {possible:,} can be")
    wanted = f"{search.suggestions:,} suggestions of {len(search.seeds)} repetitions each by {search.sampler}"
    with quiet():
        suggestions = Suggestions.looked_at(spec.name, search, store)
        console.print(f"wanted: {wanted}; so far {_states(suggestions) if suggestions else 'none'}")
        for best in suggestions.best() if suggestions else ():
            console.print(f"best:   {best.in_words(search)}")
        failed = suggestions.failed() if suggestions else 0
        left = suggestions.missing(retry_failed=retry_failed) if suggestions else search.suggestions
        repeats = open_repeats(suggestions, store) if suggestions else 0
        for line in others_in_words(spec.name, search, store):
            console.print(line)
    console.print(f"stored: {len(store.statuses()):,} cells in {store.location}")
    time = f"; expected time: {_estimate(spec, search, store, left).in_words(slots)}" if left else ""
    further = f", and repetitions of {repeats:,} points" if repeats else ""
    console.print(f"to run: {left:,} suggestions{further}{time}")
    return Ahead(left=left + repeats, failed=0 if retry_failed else failed)


def _at_hand(suggestions: Suggestions, *, retry_failed: bool) -> int:
    return suggestions.count(failed=not retry_failed) - suggestions.states().get("running", 0)


def _estimate(spec: SweepSpec, search: Search, store: Store, left: int) -> Estimate:
    return search_estimate(search, store.load(["cell_id", "duration_seconds"]), left, spec.resources)


def run_search(
    console: Console, spec: SweepSpec, search: Search, store: Store, executor: Executor, budget: Budget, *,
    retry_failed: bool, progress_type: Callable[..., Progress] = Progress,
) -> int:  # fmt: skip
    """Runs the search to its end, or to an interruption. Returns the exit code of the command line."""
    with quiet():
        others = others_in_words(spec.name, search, store)
    with Suggestions.held(spec.name, search, store) as suggestions:
        at_hand = _at_hand(suggestions, retry_failed=retry_failed)
        left = suggestions.missing(retry_failed=retry_failed)
        for line in others:
            console.print(line)
        if learned := in_words(suggestions.learned):
            console.print(f"learns from {learned}")
        repeats = open_repeats(suggestions, store) if not left else 0
        ended = _Ended()
        if left or repeats:
            what = f"{left:,} suggestions" if left else f"repetitions of {repeats:,} points"
            console.print(f"{spec.name}: {what} to come, {at_hand:,} at hand")
            ended = _run(
                console,
                spec,
                search,
                suggestions,
                store,
                executor,
                budget,
                left,
                progress_type,
                retry_failed=retry_failed,
            )
        else:
            store.write_sweep(spec.as_yaml())  # which may want fewer suggestions than the one before
        return _report(console, spec, search, suggestions, store, budget, ended)


def open_repeats(suggestions: Suggestions, store: Store) -> int:
    """How many points are to get repetitions by the contest of the best ones, once no suggestion is missing."""
    found = None if suggestions.missing() else contest_in(suggestions, store)
    return len(found.wanted) if found else 0


@dataclass(frozen=True, kw_only=True)
class _Ended:
    """How a run ended."""

    is_interrupted: bool = False
    is_finished: bool = True
    """Whether nothing is left to do."""


def _run(
    console: Console, spec: SweepSpec, search: Search, suggestions: Suggestions, store: Store, executor: Executor,
    budget: Budget, left: int, progress_type: Callable[..., Progress], *, retry_failed: bool,
) -> _Ended:  # fmt: skip
    progress = progress_type(left, float(left), console, what="suggestions")

    def show(state: TrialState) -> None:
        failed = state is TrialState.FAIL
        progress.advance(int(not failed), int(failed), 1.0)
        progress.note = "; ".join(f"best {best.in_words(search)}" for best in suggestions.best()[:1])

    with running(spec, store, executor, budget, progress) as (job, slots):
        progress.expect(_estimate(spec, search, store, left), slots)
        supply = Supply(search, suggestions, store, job.run, retry_failed=retry_failed, on_result=show)
        executor.run(supply, job)
    return _Ended(is_interrupted=job.interruption.asked, is_finished=supply.finished)


def _end(search: Search, suggestions: Suggestions, store: Store) -> list[str]:
    """What the rules of `stop_when` found, a line each."""
    rule, found = search.stop_when, list[str]()
    if rule and rule.regret_below is not None and math.isfinite(suggestions.regret):
        is_small = "ends the search" if suggestions.regret_is_small else f"wanted: below {rule.regret_below:g}"
        found.append(f"regret: at most {suggestions.regret:.3g}, with high probability ({is_small})")
    contest = None if suggestions.missing() else contest_in(suggestions, store)
    if contest is None:
        return found
    assert rule is not None
    level, count = f"{rule.winner_clear:.0%}", len(contest.contenders)
    others = f"{count:,} other point{'s' if count > 1 else ''} may be better"
    best = suggestions.latest()[contest.best]
    winner = Best.of(best).in_words(search)
    if contest.is_clear:
        found.append(f"winner: clear at {level}: {winner}")
    elif contest.wanted:
        found.append(f"winner: not clear at {level} yet, {others}")
    else:
        found.append(f"winner: not clear at {level}: {others} after {rule.most_seeds} repetitions")
    if left_out := len(suggestions.latest()) - len(suggestions.contested()):
        found.append(f"not in the contest: {left_out:,} of which a repetition failed")
    return found


def _report(
    console: Console, spec: SweepSpec, search: Search, suggestions: Suggestions, store: Store, budget: Budget,
    ended: _Ended,
) -> int:  # fmt: skip
    states, front = suggestions.states(), suggestions.best()
    console.print(f"{spec.name}: {_states(suggestions)}, of {search.suggestions:,} wanted")
    name = "best" if len(search.objectives) == 1 else "front"
    for best in front:
        console.print(f"  {name}: {best.in_words(search)}")
    for line in _end(search, suggestions, store):
        console.print(f"  {line}")
    for start in suggestions.skipped:
        console.print(
            f"  start_from: {start} was left out; all points that it leaves open were suggested, or cannot be"
        )
    if other := suggestions.best_of_optuna():
        console.print(
            f"  Optuna's best_trial is {other.number}, by its first {len(other.seeds)} repetitions; best is by all"
        )
    drawn = suggestions.samplers()
    if len(drawn) > 1:
        console.print(f"  drawn: {', '.join(f'{count:,} by {sampler}' for sampler, count in drawn.items())}")
    failed, missing = suggestions.failed(), search.suggestions - sum(states.values())
    if failed:
        console.print("  the column `error` has each exception; --retry-failed tries these again")
    stopped = "" if ended.is_interrupted or ended.is_finished else budget.spent()
    is_short = missing > 0 and not ended.is_interrupted and not stopped and not suggestions.regret_is_small
    gave_up = is_short and suggestions.missing() > 0
    if gave_up:
        console.print("  no further point was found, by thousands of draws; narrow the space to points that can be")
    elif is_short:
        console.print(f"  no point is left to suggest: the space holds no more than {sum(states.values())}")
    console.print(f"results: {store.location}   ({commands.read_cells(store.place('cells'))})")
    console.print(f"journal: {journal_path(store)}   (optuna-dashboard opens it)")
    if ended.is_interrupted:
        console.print("interrupted: the same command resumes from here")
        return INTERRUPTED
    if stopped:
        console.print(f"{stopped}: the same command resumes from here")
        return BUDGET_SPENT
    console.print(f"next:    {commands.what_next(store.location, states.get('complete', 0))}")
    return 1 if failed or gave_up else 0


def _states(suggestions: Suggestions) -> str:
    states = suggestions.states()
    return ", ".join(f"{count:,} {STATES_IN_WORDS[name]}" for name, count in states.items()) or "nothing"
