"""From suggestions to packs and back: which cells a suggestion needs, and what it is told once they have rows."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

from optuna.pruners import BasePruner
from optuna.study import StudyDirection
from optuna.terminator import RegretBoundEvaluator
from optuna.trial import TrialState

from dvq_ray.execution.executor import Death
from dvq_ray.execution.measured import Measured
from dvq_ray.execution.pack import failed_row
from dvq_ray.search.contest import Contest, contest_of
from dvq_ray.search.stopping import pruner_of
from dvq_ray.search.suggestions import Entry, Suggestion, Suggestions
from dvq_ray.search.verdict import Row, columns_of, rows_by_cell, verdict
from dvq_ray.store import FINISHED, STOPPED, STUDY, SUGGESTION, Store
from dvq_ray.store.provenance import Run
from dvq_ray.sweep.cells import LONGEST_PACK_SECONDS, Cell, Pack, SuggestedAs
from dvq_ray.sweep.search import Search

LEAST_FOR_REGRET = 20
"""Complete suggestions before the regret is bounded: with fewer the model knows too little to be believed."""


class Supply:
    """Hands out packs as long as the search wants suggestions, and tells Optuna what became of them.

    What counts is the store: a suggestion whose cells all have rows is told from these, whoever computed them.
    """

    learns = True

    def __init__(
        self,
        search: Search,
        suggestions: Suggestions,
        store: Store,
        run: Run,
        *,
        retry_failed: bool,
        on_result: Callable[[TrialState], None],
    ) -> None:
        self.search = search
        self.suggestions = suggestions
        self._store = store
        self._run = run
        self._retry_failed = retry_failed
        self._on_result = on_result
        self._open: dict[int, Suggestion] = {}
        self._underway: set[str] = set()
        self._packs: deque[Pack] = deque()
        self._files: set[str] = set()
        """Of the store, that were read."""
        self._rows: dict[str, Row] = {}
        self._look()
        if retry_failed:
            suggestions.try_failed_again()
            kept = (*FINISHED, STOPPED)
            self._rows = {cell_id: row for cell_id, row in self._rows.items() if row["status"] in kept}
        self._left_over = deque(suggestions.underway())
        self._repeats: deque[tuple[Entry, tuple[int, ...]]] = deque()
        self._is_exhausted = False
        self._bound_regret()

    @property
    def finished(self) -> bool:
        """Whether all that was wanted is told, or nothing is left to suggest."""
        if self._open or self._packs or self._left_over or self._repeats:
            return False
        if self._wants_more():
            return False
        found = self.contest
        return not (found and found.wanted)

    @property
    def contest(self) -> Contest | None:
        """How the contest for the best point stands; None where the search has none, or not two points yet."""
        return contest_of(self.suggestions, self._rows)

    def next(self) -> Pack | None:
        """The next pack; None where there is none now, or any more."""
        while not self._packs:
            suggestion = self._next_suggestion()
            if suggestion is None:
                return None
            self._open[suggestion.number] = suggestion
            self._settle()
        pack = self._packs.popleft()
        self._underway |= {cell.cell_id for cell in pack.cells}
        return pack

    def counted(self, done: int, failed: int, nominal_seconds: float, values: Sequence[Measured]) -> None:
        """Does nothing: suggestions are counted, and not their cells."""

    def stops(self, pack: Pack, logged: Sequence[Mapping[str, Any]]) -> bool:
        """Whether the first repetition of a suggestion is stopped early, by its curve so far.

        At its last step it has nothing left to save, and all its metrics to lose.
        """
        if pack.suggested is None or pack.suggested.watched is None or not logged:
            return False
        number = pack.suggested.number
        self._report(number, logged)
        last = self._last_step(pack.cells[0])
        if last is not None and int(logged[-1]["step"]) >= last:
            return False
        return self.suggestions.is_pruned(number, self._pruner)

    def ended(
        self, pack: Pack, *, death: Death | None = None, stopped: Sequence[Mapping[str, Any]] | None = None
    ) -> None:
        """Takes note that nothing computes the cells of `pack` any more.

        Cells without a row get one: of what their worker died of, or of where they were stopped early. Those that did
        not cause the death of their worker are handed out again.
        """
        self._underway -= {cell.cell_id for cell in pack.cells}
        self._look()
        missing = [cell for cell in pack.cells if cell.cell_id not in self._rows]
        if death is not None and not death.its_own:
            death = None
        if missing and (death is not None or stopped is not None):
            for cell in missing:
                self._write_row_of(cell, pack.suggested, death, stopped)
            self._look()
        self._settle()

    def _look(self) -> None:
        """Takes note of the rows in files that were not read yet."""
        frame = self._store.load_new(columns_of(self.search), self._files)
        for cell_id, row in rows_by_cell(self.search, frame, self.suggestions.name).items():
            if cell_id not in self._rows or self._rows[cell_id]["status"] not in FINISHED:
                self._rows[cell_id] = row

    def _report(self, number: int, logged: Sequence[Mapping[str, Any]]) -> None:
        """Writes the watched values of a curve down."""
        assert self.search.watched is not None
        for row in logged:
            value = row.get(self.search.watched)
            if value is not None and math.isfinite(value):
                self.suggestions.report(number, int(row["step"]), float(value))

    @cached_property
    def _pruner(self) -> BasePruner:
        assert self.search.stop_early is not None
        name = self.search.experiment.steps_field
        last = self.search.fixed.get(name) if name else None
        return pruner_of(self.search.stop_early, last if isinstance(last, int) else None)

    def _report_stored(self, suggestion: Suggestion) -> None:
        """Writes the curve of a first repetition down that was computed before it was suggested: others are held
        against it too.
        """  # fmt: skip
        is_known = self.suggestions.is_reported(suggestion.number) or suggestion.repeats
        if self.search.stop_early is None or is_known:
            return
        for row in self._stored_curves.get(suggestion.cell_ids()[0], ()):
            self._report(suggestion.number, [row])
            self.suggestions.is_pruned(suggestion.number, self._pruner)  # notes the rungs that it came to

    @cached_property
    def _stored_curves(self) -> Mapping[str, Sequence[Mapping[str, Any]]]:
        """The curves that the store holds when one is first asked for, by cell."""
        curves = self._store.load_curves().reindex(columns=["cell_id", "step", self.search.watched])
        return {
            str(cell_id): [{str(key): value for key, value in row.items()} for row in curve.to_dict("records")]
            for cell_id, curve in curves.groupby("cell_id")
        }

    def _last_step(self, cell: Cell) -> int | None:
        """The step at which the training of a cell ends, where its experiment says so."""
        name = self.search.experiment.steps_field
        return int(getattr(cell.point.settings, name)) if name else None

    def _write_row_of(
        self,
        cell: Cell,
        suggested: SuggestedAs | None,
        death: Death | None,
        stopped: Sequence[Mapping[str, Any]] | None,
    ) -> None:
        assert suggested is not None
        experiment, its_own = cell.point.experiment, {SUGGESTION: suggested.number, STUDY: suggested.study}
        if death is not None:
            row = failed_row(cell, self._run, death.status, death.error)
            self._store.write_cell(experiment, {**row, **its_own}, ())
            return
        assert stopped is not None
        step = int(stopped[-1]["step"]) if stopped else 0
        row = failed_row(cell, self._run, "stopped", f"stopped early, at step {step}")
        self._store.write_cell(experiment, {**row, **its_own, "search_stopped_at_step": step}, stopped)
        self._store.drop_checkpoint(cell.cell_id)

    def _next_suggestion(self) -> Suggestion | None:
        if self._left_over:
            return self._left_over.popleft()
        if self._wants_more():
            more = self._wants_points()
            suggestion = self.suggestions.ask(more=more)
            # Telling those underway frees no point of the space.
            self._is_exhausted = suggestion is None and more
            return suggestion
        if not self._open and not self._repeats and (found := self.contest):
            entries = self.suggestions.contested()
            self._repeats.extend((entries[point_id], seeds) for point_id, seeds in found.wanted.items())
        return self.suggestions.repeat(*self._repeats.popleft()) if self._repeats else None

    def _wants_more(self) -> bool:
        """Whether points are still to be suggested. Starting points and retries are, whatever else there was."""
        if self.suggestions.retries or self.suggestions.next_start() is not None:
            return True
        return not self._is_exhausted and self._wants_points()

    def _wants_points(self) -> bool:
        """Whether further points are wanted of the sampler."""
        if self.suggestions.regret_is_small:
            return False
        return self.suggestions.count(failed=not self._retry_failed) < self.search.suggestions

    def _settle(self) -> None:
        """Tells the suggestions whose cells are all there, and queues what others still need."""
        for suggestion in list(self._open.values()):
            cells = [suggestion.point.cell(seed) for seed in suggestion.seeds]
            found = verdict(self.search, [cell.cell_id for cell in cells], self._rows)
            if found is not None:
                del self._open[suggestion.number]
                if found[0] is TrialState.COMPLETE:
                    self._report_stored(suggestion)
                self.suggestions.tell(suggestion, *found)
                self._bound_regret()
                self._on_result(found[0])
            else:
                self._queue(suggestion, [cell for cell in cells if cell.cell_id not in self._rows])

    def _bound_regret(self) -> None:
        rule = self.search.stop_when
        if rule is None or rule.regret_below is None:
            return
        trials = self.suggestions.complete_trials()
        if len(trials) >= LEAST_FOR_REGRET:
            way = next(iter(self.search.objectives.values()))
            direction = StudyDirection.MINIMIZE if way == "minimize" else StudyDirection.MAXIMIZE
            evaluator = RegretBoundEvaluator(seed=self.search.sampler_seed % 2**31)
            self.suggestions.regret = float(evaluator.evaluate(trials, direction))

    def _queue(self, suggestion: Suggestion, missing: Sequence[Cell]) -> None:
        queued = {cell.cell_id for pack in self._packs for cell in pack.cells}
        free = [cell for cell in missing if cell.cell_id not in queued | self._underway]
        first = suggestion.seeds[0]
        scouts = self.search.stop_early is not None and first in {cell.seed for cell in missing}
        if scouts:  # the others begin when the first has come through
            free = [cell for cell in free if cell.seed == first]
        if not free:
            return
        together = sum(cell.nominal_seconds() for cell in free) <= LONGEST_PACK_SECONDS
        suggested = SuggestedAs(
            number=suggestion.number,
            study=self.suggestions.name,
            objective=next(iter(self.search.objectives)),
            watched=self.search.watched if scouts else None,
        )
        for cells in [free] if together else [[cell] for cell in free]:
            self._packs.append(Pack(cells=cells, suggested=suggested))
