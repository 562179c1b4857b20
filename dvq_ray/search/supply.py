"""From suggestions to packs and back: which cells a suggestion needs, and what it is told once they have rows."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow.compute as pc
from optuna.trial import TrialState

from dvq_ray.execution.executor import Death, Halving
from dvq_ray.execution.pack import failed_row
from dvq_ray.search.suggestions import Suggestion, Suggestions
from dvq_ray.search.verdict import Row, rows_by_cell, verdict
from dvq_ray.store import FINISHED, SUGGESTION, Store, StoreError
from dvq_ray.store.provenance import Run
from dvq_ray.sweep.cells import LONGEST_PACK_SECONDS, Cell, Pack, SuggestedAs
from dvq_ray.sweep.search import Search


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
        self._rows = self._load(None)
        if retry_failed:
            suggestions.try_failed_again()
            self._rows = {cell_id: row for cell_id, row in self._rows.items() if row["status"] in FINISHED}
        self._left_over = deque(suggestions.underway())
        self._is_exhausted = False

    @property
    def finished(self) -> bool:
        """Whether all that was wanted is told, or nothing is left to suggest."""
        idle = not self._open and not self._packs and not self._left_over
        return idle and (self._is_exhausted or not self._wants_more())

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

    def counted(self, done: int, failed: int, nominal_seconds: float, values: Sequence[float]) -> None:
        """Does nothing: suggestions are counted, and not their cells."""

    def ended(
        self, pack: Pack, *, death: Death | None = None, stopped: Sequence[Mapping[str, Any]] | None = None
    ) -> None:
        """Takes note that nothing computes the cells of `pack` any more.

        Cells without a row get one: of what their worker died of, or of where they were stopped early. Those that did
        not cause the death of their worker are handed out again.
        """
        ids = [cell.cell_id for cell in pack.cells]
        self._underway -= set(ids)
        there = self._load(ids)
        missing = [cell for cell in pack.cells if cell.cell_id not in there]
        if death is not None and not death.its_own:
            death = None
        if missing and (death is not None or stopped is not None):
            for cell in missing:
                self._write_row_of(cell, pack.suggested, death, stopped)
            there = self._load(ids)
        self._rows |= there
        self._settle()

    @property
    def halving(self) -> Halving | None:
        """Successive halving of the first repetitions, where the search requests it."""
        stop_early = self.search.stop_early
        if stop_early is None:
            return None
        direction = next(iter(self.search.objectives.values()))
        return Halving(
            mode="min" if direction == "minimize" else "max",
            grace_steps=stop_early.grace_steps,
            reduction=stop_early.reduction,
            curves=self._earlier_scouts,
        )

    def _earlier_scouts(self) -> Iterator[tuple[str, Sequence[tuple[int, float]]]]:
        """Cell id and watched curve of every first repetition that the store holds."""
        assert self.search.watched is not None
        curves = self._store.load_curves(["cell_id", "step", self.search.watched])
        scouts = {told.point.cell_id(told.seeds[0]) for told in self.suggestions.told()}
        for cell_id, curve in curves[curves["cell_id"].isin(scouts)].groupby("cell_id"):
            logged = curve[["step", self.search.watched]].dropna()
            yield str(cell_id), [(int(step), float(value)) for step, value in logged.itertuples(index=False, name=None)]

    def _write_row_of(
        self,
        cell: Cell,
        suggested: SuggestedAs | None,
        death: Death | None,
        stopped: Sequence[Mapping[str, Any]] | None,
    ) -> None:
        assert suggested is not None
        experiment, number = cell.point.experiment, {SUGGESTION: suggested.number}
        if death is not None:
            row = failed_row(cell, self._run, death.status, death.error)
            self._store.write_cell(experiment, {**row, **number}, ())
            return
        assert stopped is not None
        step = int(stopped[-1]["step"]) if stopped else 0
        row = failed_row(cell, self._run, "stopped", f"stopped early, at step {step}")
        self._store.write_cell(experiment, {**row, **number, "search_stopped_at_step": step}, stopped)
        self._store.drop_checkpoint(cell.cell_id)

    def _next_suggestion(self) -> Suggestion | None:
        if self._left_over:
            return self._left_over.popleft()
        if not self._wants_more():
            return None
        suggestion = self.suggestions.ask()
        # With others underway there may be a best point to repeat later.
        self._is_exhausted = suggestion is None and not self._open
        return suggestion

    def _wants_more(self) -> bool:
        return self.suggestions.count(failed=not self._retry_failed) < self.search.suggestions

    def _settle(self) -> None:
        """Tells the suggestions whose cells are all there, and queues what others still need."""
        for suggestion in list(self._open.values()):
            cells = [suggestion.point.cell(seed) for seed in suggestion.seeds]
            found = verdict(self.search, [cell.cell_id for cell in cells], self._rows)
            if found is not None:
                del self._open[suggestion.number]
                self.suggestions.tell(suggestion, *found)
                self._on_result(found[0])
            else:
                self._queue(suggestion, [cell for cell in cells if cell.cell_id not in self._rows])

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
            objective=next(iter(self.search.objectives)),
            watched=self.search.watched if scouts else None,
        )
        for cells in [free] if together else [[cell] for cell in free]:
            self._packs.append(Pack(cells=cells, suggested=suggested))

    def _load(self, cell_ids: Sequence[str] | None) -> dict[str, Row]:
        """What the store holds of these cells, or of all, by id."""
        columns = ["cell_id", "status", *self.search.objectives]
        where = None if cell_ids is None else pc.field("cell_id").isin(list(cell_ids))
        try:
            frame = self._store.load(columns=columns, where=where)
        except StoreError:  # perhaps of an objective that no file has, in a store of another trainable
            frame = self._store.load(where=where).reindex(columns=columns)
        return rows_by_cell(self.search, frame)
