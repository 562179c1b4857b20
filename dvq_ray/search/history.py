"""What became of the suggestions of a search: from its journal, and from rows alone where there is none.

A suggestion that the store of a grid had the answer to has no row of its own, and rows do not say who drew what, or
which value was last seen of a training that was stopped. The journal does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from optuna.trial import TrialState

from dvq_ray.search.suggestions import STATES_IN_WORDS, Entry, Suggestions, quiet
from dvq_ray.store import Store
from dvq_ray.sweep.search import Search
from dvq_ray.sweep.space import Params

STATES = tuple(STATES_IN_WORDS.values())


@dataclass(frozen=True, kw_only=True)
class Suggested:
    """A suggestion and what became of it."""

    number: int
    """Counts suggestions from 0, in the order in which they were requested."""
    point_id: str
    params: Params
    state: str
    """One of `STATES`."""
    repeats: bool
    """Whether its point had been suggested before: it adds repetitions."""
    cell_ids: tuple[str, ...]
    """The cells whose mean is its value, those of earlier suggestions of its point among them."""
    sampler: str
    """Who drew it; empty where nobody did, or nothing says so."""
    monitored: tuple[int, float] | None
    """The last step that was reported while it was computed, and the watched value at it."""


@dataclass(frozen=True, kw_only=True)
class SearchCoverage:
    """A store held against its own sweep file, which describes a search."""

    sweep_text: str
    """The resolved sweep file, as run last."""
    wanted: int
    """Suggestions that the sweep file requests."""
    repetitions: int
    """Cells of each suggestion."""
    suggestions: Mapping[str, int]
    """How many there are by their state, of every state; without those that repeat a point for the contest."""
    unwanted: int
    """Cells with a row that are of no suggestion of this search."""


def suggested(
    name: str, search: Search, store: Store, warn: Callable[[str], None] = lambda text: None
) -> list[Suggested]:
    """The suggestions of a store's search, by number; `name` is that of the sweep.

    Raises `SearchError` where the journal cannot be read. `warn` is given a line where it is damaged.
    """
    with quiet():
        found = Suggestions.looked_at(name, search, store, warn)
    seen, made = set[str](), list[Suggested]()
    for entry in found.entries() if found else ():
        point_id = entry.suggestion.point.point_id
        made.append(_suggested(entry, repeats=point_id in seen))
        if entry.state is TrialState.COMPLETE:
            seen.add(point_id)
    return made


def search_coverage(name: str, search: Search, store: Store, sweep_text: str) -> SearchCoverage:
    """How far a store has come with its search. Raises `SearchError` where the journal cannot be read."""
    with quiet():
        found = Suggestions.looked_at(name, search, store, lambda text: None)
    states = Counter({} if found is None else {STATES_IN_WORDS[state]: n for state, n in found.states().items()})
    own = {cell_id for entry in found.entries() for cell_id in entry.suggestion.cell_ids()} if found else set[str]()
    return SearchCoverage(
        sweep_text=sweep_text,
        wanted=search.suggestions,
        repetitions=len(search.seeds),
        suggestions={state: states[state] for state in STATES},
        unwanted=len(store.statuses().keys() - own),
    )


def _suggested(entry: Entry, *, repeats: bool) -> Suggested:
    suggestion, state = entry.suggestion, STATES_IN_WORDS[entry.state.name.lower()]
    last = max(entry.reported, default=None)
    return Suggested(
        number=suggestion.number,
        point_id=suggestion.point.point_id,
        params=suggestion.params,
        state=state,
        repeats=repeats,
        cell_ids=tuple(suggestion.cell_ids()),
        sampler=suggestion.sampler,
        monitored=None if last is None else (last, entry.reported[last]),
    )
