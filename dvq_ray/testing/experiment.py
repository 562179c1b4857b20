"""What every experiment must do, whoever runs it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import fields, replace
from typing import Any, ClassVar

from dvq_ray.execution.pack import run_cell
from dvq_ray.experiment.experiment import Experiment, Outcome, Underway
from dvq_ray.experiment.registry import find_experiment
from dvq_ray.experiment.surroundings import NoFiles, Surroundings
from dvq_ray.models.files import FILES
from dvq_ray.store.columns import cell_schema, cell_table, curve_table
from dvq_ray.store.provenance import Run
from dvq_ray.sweep.cells import Cell, Point


class _Names(NoFiles):
    """The names of the files that a cell keeps."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def write_artifact(self, name: str, content: bytes) -> None:
        self.names.add(name)

    def write_model(self, parts: Mapping[str, Any], arrays: Mapping[str, Any], data_digest: str) -> None:
        self.names.update(FILES)


class ExperimentContract:
    """Tests of one experiment at some settings that take seconds. Subclass it, and set what is declared here."""

    experiment: ClassVar[str]
    """As a sweep file's `trainable` names it."""
    fields: ClassVar[Mapping[str, Any]]
    """Of one point, `quantizer` among them."""
    data: ClassVar[Mapping[str, Any]] = {}
    """Sources of data sets by name, for an experiment that reads any."""
    not_results: ClassVar[frozenset[str]] = frozenset()
    """Metrics that differ between equal cells, such as speed and memory."""

    def found(self) -> Experiment:
        """The experiment under test."""
        return find_experiment(self.experiment)

    def point(self) -> Point:
        """The point under test."""
        return Point(experiment=self.found(), settings=self.found().settings(self.fields))

    def surroundings(self) -> Surroundings:
        """Where cells are computed: on the CPU, with the data sets at hand."""
        data_sets = self.found().data_sets
        return Surroundings(data={**(data_sets.built_in if data_sets else {}), **self.data})

    def outcomes(self, *seeds: int) -> list[Outcome]:
        """What its repetitions come to."""
        return list(self._outcomes(seeds))

    def _outcomes(self, seeds: tuple[int, ...]) -> Iterator[Outcome]:
        compute = self.found().load_run()
        with closing(compute(self.point().settings, seeds, self.surroundings())) as events:
            for event in events:
                if isinstance(event, Underway):
                    assert 0 <= event.share <= 1
                else:
                    yield event

    def test_each_repetition_has_one_outcome_with_the_declared_columns(self) -> None:
        outcomes = self.outcomes(0, 1)
        assert len(outcomes) == 2
        metrics = {column.name for column in fields(self.found().metrics)}
        logged = {column.name for column in fields(self.found().curve)}
        for outcome in outcomes:
            assert outcome.metrics.keys() == metrics
            assert all(step.keys() <= logged for step in outcome.curve)
            assert math.isfinite(outcome.metrics[self.found().main_metric])

    def test_the_main_metric_says_which_way_is_better(self) -> None:
        assert self.found().measures()[self.found().main_metric].better in ("lower", "higher")

    def test_the_same_seed_gives_the_same_result_in_whatever_company(self) -> None:
        alone, (first, _) = self.outcomes(3)[0], self.outcomes(3, 0)
        assert self._results(alone) == self._results(first)
        assert list(alone.curve) == list(first.curve) or self.found().elapsed_column

    def test_another_seed_gives_another_result(self) -> None:
        first, second = self.outcomes(0, 1)
        assert self._results(first) != self._results(second)

    def test_a_row_and_its_curve_can_be_stored(self) -> None:
        point = self.point()
        cell = Cell(cell_id=point.cell_id(0), point=point, seed=0)
        run = Run(run_id="contract", sweep="contract", commit="contract")
        row, curve = run_cell(cell, run, self.surroundings())
        assert row["status"] == "ok", row.get("error")
        table = cell_table(self.found(), [row])
        assert table.schema.names == cell_schema(self.found(), frozenset({row["quantizer"]})).names
        assert curve_table(self.found(), [(row, curve)]).num_rows == len(curve)

    def test_a_cell_keeps_the_files_that_are_declared(self) -> None:
        files, keeps = _Names(), self.found().keeps
        surroundings = replace(self.surroundings(), keep=frozenset(keeps), files={0: files})
        (*_, outcome) = self.found().load_run()(self.point().settings, [0], surroundings)
        assert isinstance(outcome, Outcome)
        assert files.names >= self.found().files_of(frozenset(keeps))
        assert bool(self.found().model) == ("model" in keeps)

    def test_its_settings_say_how_long_a_cell_takes_and_what_its_codes_cost(self) -> None:
        settings = self.point().settings
        assert 0 < settings.nominal_seconds() < math.inf
        assert 0 <= settings.code_bits() < math.inf

    def _results(self, outcome: Outcome) -> dict[str, Any]:
        return {name: value for name, value in outcome.metrics.items() if name not in self.not_results}
