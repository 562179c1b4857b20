"""Suggestions whose records are lost, put back from the rows of the store.

Each comes back under its number and at its point, with the value that its rows have. Where cells have no row yet it is
underway, and the search computes them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import optuna
import pandas as pd
from optuna.distributions import BaseDistribution
from optuna.storages import JournalStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from dvq_ray.search.audit import CELLS, FIXED, REPEATS, SEEDS, is_state
from dvq_ray.search.journal import InMemory, Journal, Record
from dvq_ray.search.points import params_of_row, point_of
from dvq_ray.search.rectangle import distributions_of
from dvq_ray.search.verdict import rows_by_cell, verdict
from dvq_ray.store import STUDY, SUGGESTION, Store
from dvq_ray.sweep.cells import Point
from dvq_ray.sweep.coverage import searched_rows
from dvq_ray.sweep.search import Search
from dvq_ray.sweep.space import Params


@dataclass(frozen=True)
class _Lost:
    """A suggestion that rows tell of."""

    number: int
    params: Params
    point: Point
    seeds: tuple[int, ...]
    repeats: bool
    """Whether it adds repetitions for the contest of the best points; earlier versions had none."""

    @property
    def cell_ids(self) -> list[str]:
        """Of its repetitions."""
        return [self.point.cell_id(seed) for seed in self.seeds]

    def trial(self, kinds: Mapping[str, BaseDistribution]) -> FrozenTrial:
        """It as Optuna has it."""
        return create_trial(
            state=TrialState.RUNNING,
            params=dict(self.params),
            distributions={name: kinds[name] for name in self.params},
            user_attrs={
                SEEDS: list(self.seeds),
                CELLS: self.cell_ids,
                **({REPEATS: True} if self.repeats else {}),
            },
        )


def load_rows(search: Search, store: Store) -> pd.DataFrame:
    """All rows of the store, with every column that bears on a search."""
    frame = store.load()
    fields = {field for variant in search.experiment.variants.values() for field in variant.model_fields}
    wanted = ["cell_id", "point_id", "trainable", "revision", "status", "seed", "run_started_at", SUGGESTION, STUDY]
    return frame.reindex(columns=[*wanted, *sorted(fields), *search.objectives])  # a store of a grid does not have all


def with_suggestions_of_rows(journal: Journal, study_name: str, search: Search, rows: pd.DataFrame) -> Journal:
    """The records, and new ones for the suggestions that only rows tell of."""
    names = journal.studies()
    others = [trial for name in names if name != study_name for trial in _trials(journal.view, name)]
    trials = _trials(journal.view, study_name) if study_name in names else []
    lost = {
        each.number: each
        for each in _suggestions_of(rows, search, _latest_moment(journal), others)
        if each.number >= len(trials) or _could_become(trials[each.number], each, search)
    }
    if not lost:
        return journal
    backend = InMemory(_without_half_a_state(journal.records))
    storage = JournalStorage(backend)
    study = optuna.create_study(
        storage=storage, study_name=study_name, directions=list(search.objectives.values()), load_if_exists=True
    )
    kinds, study_id = distributions_of(search.space, trials), storage.get_study_id_from_name(study_name)
    by_cell = rows_by_cell(search, rows, study_name)
    for number in range(max(lost) + 1):
        each = lost.get(number)
        if number >= len(trials):
            # One of no row keeps the place of its number.
            study.add_trial(each.trial(kinds) if each else create_trial(state=TrialState.FAIL))
        elif each:
            _finish_drawing(storage, study_id, trials[number], each, kinds)
        if each and (found := verdict(search, each.cell_ids, by_cell)):
            study.tell(number, found[1], found[0])
    reason = journal.reason or (": ends before the store does" if journal.records else ": is empty")
    return replace(journal, records=tuple(backend.records), reason=reason, tidy=False)


def _without_half_a_state(records: Sequence[Record]) -> Sequence[Record]:
    """Without what the sampler was writing down at the end: the trial that it was drawing may be completed."""
    end = len(records)
    while end and is_state(records[end - 1]):
        end -= 1
    return records[:end]


def _trials(storage: JournalStorage, study_name: str) -> list[FrozenTrial]:
    return optuna.load_study(study_name=study_name, storage=storage).get_trials(deepcopy=False)


def _latest_moment(journal: Journal) -> datetime | None:
    """When the last record was written that says so. What is lost was suggested later."""
    for record in reversed(journal.records):
        text = record.get("datetime_complete") or record.get("datetime_start")
        if isinstance(text, str):
            with contextlib.suppress(ValueError):
                return datetime.fromisoformat(text).astimezone(UTC)
    return None


def _suggestions_of(
    rows: pd.DataFrame, search: Search, since: datetime | None, others: Sequence[FrozenTrial]
) -> Iterator[_Lost]:
    """The suggestions of the search whose cells were computed after a moment, and that are none of `others`.

    A number that two points have is left out: one of them belongs to another search in the same store.
    """
    rows = searched_rows(rows, search)
    if rows.empty:
        return
    rows = rows[rows[SUGGESTION].notna()]
    if since is not None:
        rows = rows[pd.to_datetime(rows["run_started_at"], utc=True) >= since]
    for number, here in rows.groupby(rows[SUGGESTION].astype(int)):
        points, first = here["point_id"].unique(), here.iloc[0]
        if len(points) > 1 or any(_is_at(other, number, first, search) for other in others):
            continue
        params = params_of_row(first, search)
        if search.possible(params) and (point := point_of(search, params)).point_id == points[0]:
            more = range(max(search.seeds) + 1, int(here["seed"].max()) + 1)
            repeats = bool(more) and bool(here[STUDY].notna().any())
            seeds = (*search.seeds, *more)
            yield _Lost(number=int(number), params=params, point=point, seeds=seeds, repeats=repeats)


def _is_at(trial: FrozenTrial, number: Any, row: pd.Series[Any], search: Search) -> bool:
    """Whether the row may be of that trial."""
    fields = search.experiment.variants[row["quantizer"]].model_fields
    params = {field: value for field, value in trial.params.items() if field in fields}
    return trial.number == number and bool(params) and all(row[field] == value for field, value in params.items())


def _could_become(trial: FrozenTrial, lost: _Lost, search: Search) -> bool:
    """Whether it was cut off while it was drawn, or before, and nothing of it contradicts the rows."""
    if trial.state not in (TrialState.WAITING, TrialState.RUNNING) or trial.params.keys() >= lost.params.keys():
        return False
    params = {**lost.params, **_known(trial)}
    return search.possible(params) and point_of(search, params).point_id == lost.point.point_id


def _known(trial: FrozenTrial) -> dict[str, Any]:
    return {**trial.system_attrs.get(FIXED, {}), **trial.params}


def _finish_drawing(
    storage: JournalStorage, study_id: int, trial: FrozenTrial, lost: _Lost, kinds: Mapping[str, BaseDistribution]
) -> None:
    trial_id = storage.get_trial_id_from_study_id_trial_number(study_id, trial.number)
    if trial.state is TrialState.WAITING:
        storage.set_trial_state_values(trial_id, TrialState.RUNNING)
    params = {**lost.params, **_known(trial)}
    for field in params.keys() - trial.params.keys():
        storage.set_trial_param(trial_id, field, kinds[field].to_internal_repr(params[field]), kinds[field])
    storage.set_trial_user_attr(trial_id, SEEDS, list(lost.seeds))
