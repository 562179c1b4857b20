"""What in a journal cannot be: trials that are not of the search, and values that its store contradicts.

A record can be changed without becoming unreadable. The store is the truth, so that what does not agree with it is cut
off, with all that follows.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence

import optuna
import pandas as pd
from optuna.distributions import BaseDistribution, check_distribution_compatibility
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from dvq_ray.search.drawing import Drawing
from dvq_ray.search.journal import Journal, Record
from dvq_ray.search.points import Points, params_of, point_of
from dvq_ray.search.rectangle import distributions_of
from dvq_ray.search.verdict import Row, rows_by_cell, verdict
from dvq_ray.sweep.samplers import STATEFUL
from dvq_ray.sweep.search import Search

SEEDS, CELLS, REPEATS = "seeds", "cell_ids", "repeats"
"""Attributes of a trial: the repetitions of its suggestion, the ids of their cells, and whether it adds repetitions to
a point for the contest of the best ones."""
FIXED = "fixed_params"
"""Optuna's own, of a trial that was enqueued."""
_NOTE = "dashboard:"
"""What the names of attributes begin with that `optuna-dashboard` keeps."""
_CREATE_STUDY, _DELETE_STUDY, _SET_STUDY_ATTRIBUTE, _CREATE_TRIAL, _SET_TRIAL_ATTRIBUTE = 0, 1, 3, 4, 9
"""Optuna's numbers for what a record does; those of attributes are for its own ones."""
_TOLERANCE = 1e-9
"""Between a value in the journal and the mean of its rows, which are computed alike."""
_FOREIGN, _REFUTED = "is not one of this search", "contradicts its cells in the store"
_UNLIKE = "has other cells than its values say"


def without_contradictions(journal: Journal, study_name: str, search: Search, rows: pd.DataFrame) -> Journal:
    """The records before the first one that cannot be of this search, or that the store contradicts."""
    orphan = _first_orphan(journal.records)
    if orphan is not None:
        journal = journal.cut(orphan, "is about a trial that no line before it creates")
    by_cell = rows_by_cell(search, rows, study_name)
    while (study := _study(journal, study_name)) is not None:
        wanted = [StudyDirection.MINIMIZE if way == "minimize" else StudyDirection.MAXIMIZE
                  for way in search.objectives.values()]  # fmt: skip
        if study.directions != wanted:
            place = next(i for i, record in enumerate(journal.records) if record.get("study_name") == study_name)
            journal = journal.cut(place, "is of a search in another direction")
            continue
        trials = study.get_trials(deepcopy=False)
        kinds = distributions_of(search.space, trials)
        wrong = {trial.number: why for trial in trials
                 if (why := _contradiction(trial, search, kinds, by_cell))}  # fmt: skip
        if not wrong:
            break
        place, number = _first_record_of(wrong, study_name, journal)
        journal = journal.cut(place, f"is wrong: suggestion {number} {wrong[number]}")
    return journal


def without_broken_state(journal: Journal, study_name: str, search: Search) -> Journal:
    """The records from which the sampler can draw. It keeps what it has learnt in attributes, CMA-ES as a pickle."""
    if search.sampler not in STATEFUL:
        return journal
    while (study := _study(journal, study_name)) is not None:
        try:
            _draw(study.get_trials(deepcopy=False), search)
            break
        except Exception:  # whatever its state makes it run into
            states = [i for i, record in enumerate(journal.records) if is_state(record)]
            if not states:
                raise
            last = journal.records[states[-1]].get("trial_id")  # a state may take several records of a trial
            first = next(i for i in states if journal.records[i].get("trial_id") == last)
            journal = journal.cut(first, f"is wrong: {search.sampler} cannot resume from that state")
    return journal


def _draw(trials: Sequence[FrozenTrial], search: Search) -> None:
    """Draws the next point, in memory."""
    points = Points(search)
    drawing = Drawing(search, points)
    for trial in trials:
        if (params := params_of(trial, search)) is not None and trial.state is not TrialState.WAITING:
            drawing.add(trial.number, params, points.id_of(params) or "", trial.system_attrs)
            if trial.state.is_finished():
                drawing.told(trial.number, trial.state, trial.values, trial.intermediate_values)
    drawing.draw(len(trials), {})


def is_state(record: Record) -> bool:
    """Whether it holds what a sampler has learnt, of a study or of a trial."""
    named = record.get("system_attr")
    is_attribute = record["op_code"] in (_SET_STUDY_ATTRIBUTE, _SET_TRIAL_ATTRIBUTE) and isinstance(named, dict)
    return is_attribute and not any(name.startswith((FIXED, _NOTE)) for name in named or ())


def _study(journal: Journal, name: str) -> optuna.Study | None:
    try:
        return optuna.load_study(study_name=name, storage=journal.view)
    except KeyError:
        return None


def _contradiction(
    trial: FrozenTrial, search: Search, kinds: Mapping[str, BaseDistribution], by_cell: Mapping[str, Row]
) -> str:
    """What is wrong with a trial of the study; empty where nothing is."""
    if not _is_suggestion(trial, search, kinds):
        return _FOREIGN
    params = params_of(trial, search)
    if params is None or SEEDS not in trial.user_attrs:  # not a point any more, in this version
        return ""
    cell_ids = [point_of(search, params).cell_id(seed) for seed in trial.user_attrs[SEEDS]]
    if trial.user_attrs.get(CELLS, cell_ids) != cell_ids:
        return _UNLIKE
    # The cell of one that was stopped early may have been computed for somebody else since.
    if trial.state is not TrialState.COMPLETE:
        return ""
    state, values = verdict(search, cell_ids, by_cell) or (TrialState.RUNNING, None)
    pairs = zip(trial.values, values, strict=True) if values else ()
    agrees = trial.state is state and all(math.isclose(*pair, rel_tol=_TOLERANCE) for pair in pairs)
    return "" if agrees else _REFUTED


def _is_suggestion(trial: FrozenTrial, search: Search, kinds: Mapping[str, BaseDistribution]) -> bool:
    axes = search.space.axes
    fixed, seeds = trial.system_attrs.get(FIXED, {}), trial.user_attrs.get(SEEDS, [*search.seeds])
    if not isinstance(fixed, dict) or not (fixed.keys() | trial.params.keys()) <= axes.keys():
        return False
    try:
        for field, value in [*fixed.items(), *trial.params.items()]:
            as_drawn = kinds[field].to_external_repr(kinds[field].to_internal_repr(value))  # 4 where 4.0 was enqueued
            if not axes[field].holds(as_drawn):
                return False
        for field, kind in trial.distributions.items():
            check_distribution_compatibility(kind, kinds[field])
    except (TypeError, ValueError):
        return False
    first = max(search.seeds) + 1
    if not isinstance(seeds, list) or seeds != [*search.seeds, *range(first, first + len(seeds) - len(search.seeds))]:
        return False
    if trial.state not in (TrialState.COMPLETE, TrialState.PRUNED):
        return True
    values = trial.values if trial.state is TrialState.COMPLETE else [0.0] * len(search.objectives)
    is_whole = _has_all(trial, search) and values is not None and len(values) == len(search.objectives)
    return is_whole and all(isinstance(value, int | float) and math.isfinite(value) for value in values)


def _has_all(trial: FrozenTrial, search: Search) -> bool:
    """Whether it has a value for every field of its point."""
    try:
        return trial.params.keys() >= {*search.active(trial.params)}
    except KeyError:
        return False


def _first_record_of(numbers: Collection[int], study_name: str, journal: Journal) -> tuple[int, int]:
    """The first record that says anything of one of those trials of the study, and the trial's number."""
    storage = journal.view
    study_id = storage.get_study_id_from_name(study_name)
    ids = {storage.get_trial_id_from_study_id_trial_number(study_id, number): number for number in numbers}
    for (place, record), count in zip(enumerate(journal.records), _trials_until(journal.records), strict=True):
        created = count - 1 if record["op_code"] == _CREATE_TRIAL and record.get("params") else None
        if (found := record.get("trial_id", created)) in ids:
            return place, ids[found]
    first = min(ids)  # it has been wrong since it was enqueued
    return next(place for place, count in enumerate(_trials_until(journal.records)) if count > first), ids[first]


def _first_orphan(records: Sequence[Record]) -> int | None:
    """The first record about a trial that is not there: one that created it is missing."""
    for place, count in enumerate(_trials_until(records)):
        trial_id = records[place].get("trial_id", 0)
        if type(trial_id) is not int or not (0 <= trial_id < count or "trial_id" not in records[place]):
            return place
    return None


def _trials_until(records: Sequence[Record]) -> Iterator[int]:
    """The number of trials once each record has been replayed: as Optuna counts."""
    studies, studies_so_far, trials = dict[int, str](), 0, 0
    for record in records:
        operation = record["op_code"]
        if operation == _CREATE_STUDY and record["study_name"] not in studies.values():
            studies[studies_so_far] = record["study_name"]
            studies_so_far += 1
        elif operation == _DELETE_STUDY:
            studies.pop(record["study_id"], None)
        trials += operation == _CREATE_TRIAL and record["study_id"] in studies
        yield trials
