"""A search that ran, whose journal tests damage, and what must hold once it has been resumed."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
from click.testing import CliRunner, Result
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from dvq_ray.cli.sweep import main as sweep
from dvq_ray.search.identity import study_name
from dvq_ray.search.suggestions import Suggestions, quiet
from dvq_ray.store import SUGGESTION, Store
from dvq_ray.sweep.search import Search
from dvq_ray.sweep.spec import load_sweep
from tests.sweep_files import write

_HEAD = """\
name: found
trainable: static_prior
seeds: 2
fixed: {dimension: 8, factors: 16, train_samples: 256, steps: 20FIXED}
search:
  sampler: SAMPLER
  suggestions: WANTED
"""
_FINITE = """\
  objective: {test_mse: minimize}
  max_bits: 20
  space:
    slices: {choices: [1, 2, 3, 4]}
    codebook_size: {choices: [4, 8, 16, 32]}
"""
"""Only 12 of 16 combinations are possible."""
_SPACES = {
    "random": _FINITE,
    "tpe": _FINITE
    + """\
    init_bound: {low: 0.1, high: 10.0, log: true}
  start_from: [{slices: 4}, {slices: 1, codebook_size: 16, init_bound: 1.0}]
""",
    "nsga2": """\
  objective: {test_mse: minimize, bits_per_vector: maximize}
  space:
    quantizer: {choices: [vq, dvq]}
    slices: {choices: [1, 2, 4]}
    codebook_size: {low: 2, high: 40, log: true}
    init_bound: {low: 0.1, high: 1.0, step: 0.1}
""",
    "cmaes": """\
  objective: {test_mse: minimize}
  space:
    init_bound: {low: 0.1, high: 10.0, log: true}
    learning_rate: {low: 0.01, high: 0.5}
""",
}
_FIXED = {"cmaes": ", slices: 2, codebook_size: 4"}


@dataclass(frozen=True)
class Ran:
    """The search of a sampler, in a folder of its own."""

    folder: Path
    sampler: str
    wanted: int

    def begin(self) -> Ran:
        """Writes the sweep file, and runs it."""
        self.folder.mkdir()
        self.want(self.wanted)
        assert self.run().exit_code == 0
        return self

    def copy(self, folder: Path) -> Ran:
        """The same in another folder."""
        shutil.copytree(self.folder, folder)
        return Ran(folder, self.sampler, self.wanted)

    def want(self, suggestions: int) -> None:
        """Changes the number of suggestions in the sweep file."""
        text = _HEAD.replace("SAMPLER", self.sampler).replace("FIXED", _FIXED.get(self.sampler, ""))
        write(self.folder, text.replace("WANTED", str(suggestions)) + _SPACES[self.sampler])

    def run(self, *arguments: str) -> Result:
        """Runs the sweep as a user does; a warning of a library is an error."""
        command = [str(self.folder / "sweep.yaml"), "--results", str(self.folder / "results"), "--in-process"]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            result = CliRunner().invoke(sweep, [*command, *arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    @property
    def store(self) -> Store:
        """Its results."""
        return Store(self.folder / "results" / "found")

    @property
    def journal(self) -> Path:
        """Its journal."""
        return self.folder / "results" / "found" / "search" / "journal.log"

    @property
    def set_aside(self) -> list[Path]:
        """What was taken out of its journal."""
        return sorted((self.folder / "results" / "found" / "set_aside" / "search").glob("*"))

    @cached_property
    def content(self) -> bytes:
        """Content of its journal when this was first read."""
        return self.journal.read_bytes()

    @property
    def lines(self) -> list[bytes]:
        """Lines of `content`."""
        return self.content.splitlines(keepends=True)

    @property
    def search(self) -> Search:
        """What its sweep file says."""
        search = load_sweep(self.folder / "sweep.yaml").search
        assert search is not None
        return search

    def study(self) -> optuna.Study:
        """The study that Optuna itself reads."""
        storage = JournalStorage(JournalFileBackend(str(self.journal)))
        return optuna.load_study(study_name=study_name("found", self.search), storage=storage)

    def looked_at(self, warn: Callable[[str], None] = lambda text: None) -> Suggestions | None:
        """Its suggestions, as a dry run and `status` see them."""
        with quiet():
            return Suggestions.looked_at("found", self.search, self.store, warn)

    def problems(self, wanted: int, suggestions: Suggestions | None = None, *, all_numbers: bool) -> list[str]:
        """What is wrong with the search, which should have come to `wanted` suggestions.

        With `all_numbers`, every row must belong to the suggestion that it names.
        """
        search = self.search
        suggestions = suggestions or Suggestions(search, self.study())
        found = [] if suggestions.states() == {"complete": wanted} else [f"states: {suggestions.states()}"]
        rows = self.store.load()
        values = {(row["point_id"], row["seed"]): row for row in rows.to_dict("records")}
        drawn = [*suggestions.told(), *suggestions.underway()]
        points = {each.number: each.point.point_id for each in drawn}
        for told in suggestions.told():
            cells = [values[told.point.point_id, seed] for seed in told.seeds]
            means = [np.mean([cell[metric] for cell in cells]) for metric in search.objectives]
            if not np.allclose(suggestions._study.trials[told.number].values, means, rtol=1e-9):
                found.append(f"value of {told.number}")
        if all_numbers:
            found += [f"rows of {number}" for number, point_id in _suggested(rows) if points.get(number) != point_id]
        return found


def _suggested(rows: pd.DataFrame) -> set[tuple[Any, Any]]:
    here = rows[rows[SUGGESTION].notna()]
    return set(zip(here[SUGGESTION].astype(int), here["point_id"], strict=True))
