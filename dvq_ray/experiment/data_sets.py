"""Data sets that an experiment reads: where they are, and how a sweep file describes them.

A name is part of a cell's identity, its source is not: the same data may lie elsewhere on another machine.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict

from dvq_ray.declarations.settings import Settings
from dvq_ray.experiment.named import named


class DataSource(BaseModel):
    """Where one data set is. Decides nothing about a result as long as the data are the same.

    A subclass narrows `format` to its own name, which is also its default, and adds the keys that it takes.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)
    format: str
    locations: ClassVar[tuple[str, ...]] = ()
    """Fields that hold a path or URI."""

    def expanded(self) -> Self:
        """The same source with the home folder in place of `~` in local paths."""
        return self.model_copy(update={field: os.path.expanduser(path) for field, path in self._local().items()})

    def absolute(self) -> Self:
        """The same source with local paths as they are from any working folder; URIs stay."""
        paths = self.expanded()._local()
        return self.model_copy(update={field: str(Path(path).absolute()) for field, path in paths.items()})

    def _local(self) -> Mapping[str, str]:
        paths = {field: getattr(self, field) for field in self.locations}
        return {field: path for field, path in paths.items() if path is not None and "://" not in path}


@dataclass(frozen=True, kw_only=True)
class DataSets:
    """How an experiment finds the data sets that its settings name."""

    field: str
    """The settings' field that names one."""
    built_in: Mapping[str, DataSource]
    """Those that a sweep file need not describe."""
    sources: Sequence[type[DataSource]]
    """What a sweep file may describe under `data`, each by its `format`."""
    problems_path: str
    """`module:function` of a quick look at data sets."""
    digest_column: str = ""
    """The metric column that identifies the data that a cell read; empty where there is none."""

    @cached_property
    def formats(self) -> Mapping[str, type[DataSource]]:
        """The sources by their format."""
        return {source.model_fields["format"].default: source for source in self.sources}

    def problems(
        self, settings: Iterable[Settings], data: Mapping[str, Any], note: Callable[[str], None] = lambda _: None
    ) -> list[str]:
        """What is wrong with the files that cells of these settings would read, as far as a quick look shows.

        `note` is called with what is not a problem, but would surprise a user.
        """
        return list(named(self.problems_path)(settings, data, note))
