"""What every data source must do, whoever runs it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from dvq_ray.experiment.data_sets import DataSets, DataSource
from dvq_ray.experiment.registry import find_experiment


class SourceContract:
    """Tests of one data source. Subclass it, and say how data are written, described and read."""

    experiment: ClassVar[str]
    """The experiment that reads the source, as a sweep file's `trainable` names it."""
    fields: ClassVar[Mapping[str, Any]]
    """Of a point that reads it, without the field that names the data set."""

    def describe(self, folder: Path) -> Mapping[str, Any]:
        """Writes a data set into the folder, the same each time. Gives its description, as in a sweep file's `data`."""
        raise NotImplementedError

    def read(self, source: DataSource) -> tuple[Any, Any, str]:
        """Training data, test data and their digest, as the experiment reads them."""
        raise NotImplementedError

    def data_sets(self) -> DataSets:
        """The experiment's."""
        found = find_experiment(self.experiment).data_sets
        assert found is not None
        return found

    def source(self, folder: Path) -> DataSource:
        """A data set in the folder."""
        folder.mkdir(exist_ok=True)
        description = self.describe(folder)
        return self.data_sets().formats[description["format"]].model_validate(description)

    def problems(self, source: DataSource) -> list[str]:
        """What a quick look finds, where the data set is called `mine`."""
        settings = find_experiment(self.experiment).settings({**self.fields, self.data_sets().field: "mine"})
        return self.data_sets().problems([settings], {"mine": source})

    def test_its_description_says_all_of_it(self, tmp_path: Path) -> None:
        source = self.source(tmp_path)
        assert type(source).model_validate(source.model_dump()) == source
        assert source.format == type(source).model_fields["format"].default

    def test_its_absolute_form_does_not_depend_on_the_working_folder(self, tmp_path: Path) -> None:
        with _working_in(tmp_path):
            source = self.source(Path("here"))
            absolute = source.absolute()
            _, _, digest = self.read(absolute)
        assert absolute.absolute() == absolute
        with _working_in(tmp_path / "here"):
            assert self.problems(absolute) == []
            assert self.read(absolute)[2] == digest

    def test_a_quick_look_finds_nothing_wrong_with_data_that_can_be_read(self, tmp_path: Path) -> None:
        source = self.source(tmp_path)
        assert self.problems(source) == []
        train, test, _ = self.read(source)
        assert len(train) > 0
        assert len(test) > 0

    def test_a_quick_look_names_the_data_set_whose_files_are_missing(self, tmp_path: Path) -> None:
        source = self.source(tmp_path / "gone")
        shutil.rmtree(tmp_path / "gone")
        found = self.problems(source)
        assert bool(found) == bool(source.locations)
        assert all(problem.startswith("mine: ") for problem in found)

    def test_the_same_data_elsewhere_have_the_same_digest(self, tmp_path: Path) -> None:
        _, _, here = self.read(self.source(tmp_path / "here"))
        _, _, there = self.read(self.source(tmp_path / "there"))
        assert here == there


@contextmanager
def _working_in(folder: Path) -> Iterator[None]:
    before = os.getcwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
