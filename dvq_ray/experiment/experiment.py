"""An experiment: what `trainable:` names. Its fields, its columns, the data it reads and the code that computes a cell.

Importing this costs nothing heavy: the code that computes is named by a path and imported where cells run.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, Protocol, cast

from dvq_ray.declarations.field import Axis, axes_of
from dvq_ray.declarations.metric import Metric, metrics_of
from dvq_ray.declarations.settings import Settings
from dvq_ray.experiment.data_sets import DataSets
from dvq_ray.experiment.named import named
from dvq_ray.experiment.parents import Parents
from dvq_ray.experiment.surroundings import Surroundings
from dvq_ray.providers import Provided, ProviderError
from dvq_ray.quantizer.base import Quantizer
from dvq_ray.quantizer.registry import QUANTIZERS


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one cell."""

    metrics: Mapping[str, Any] = field(default_factory=dict)
    curve: Sequence[Mapping[str, Any]] = ()
    diverged_at_step: int | None = None
    """The step at which the loss was no longer finite; the metrics are then left out."""
    duration_seconds: float | None = None
    """How long the cell took, where that is not simply the time since the one before: of a batch, of a cell that was
    resumed."""


@dataclass(frozen=True, kw_only=True)
class Underway:
    """A cell that takes long is still being computed."""

    share: float
    """Of its work that is done, 0 to 1."""
    logged: Sequence[Mapping[str, Any]] = ()
    """Rows of its curve so far, of an experiment that can be watched."""


class Run(Protocol):
    """Computes the repetitions of one point, yielding an `Outcome` for each seed, in their order.

    Before a seed's outcome it may yield any number of `Underway`. At each of these it can be stopped (the generator is
    closed); it must then keep, as a checkpoint, what it wants to resume from.
    """

    def __call__(
        self, settings: Any, seeds: Sequence[int], surroundings: Surroundings
    ) -> Generator[Outcome | Underway]:
        """Raises whatever goes wrong; it becomes the error of the cell at hand."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Experiment:
    """One kind of trainable.

    `fields_for` takes a quantizer class and returns the settings classes whose fields a cell has beside the
    quantizer's own, or None for a quantizer that the experiment cannot use. The first of them must implement
    `nominal_seconds` and `code_bits`.
    """

    name: str
    """As it is hashed and stored; the registry sets the full name of one that is not built in."""
    label: str = ""
    """What a reader calls it, such as `static prior`."""
    revision: int
    """Part of every cell id. Raised whenever equal settings begin to give other numbers."""
    fields_for: Callable[[type[Quantizer]], Sequence[type[Settings]] | None]
    provides: Set[str] = frozenset()
    """What quantizers may need: `positions`, `decoder`."""
    metrics: type
    """Dataclass whose fields are the metric columns, each an `Annotated` with a `Metric`."""
    main_metric: str
    """The metric column that a reader looks at first, and that progress shows. Lower is better."""
    curve: type
    """Dataclass whose fields are the columns of the curves; the first is `step`."""
    run: Run | str
    """The function that computes cells, or `module:function`, which is imported where cells run."""
    batches_on_gpu: bool = False
    """Whether the repetitions of a point are computed together on a GPU."""
    depends_on_processor: bool = False
    """Whether CPUs of two makes may compute different numbers for the same cell, because they round differently.
    Otherwise all CPUs give the same bytes."""
    logs_curve: bool = True
    """Whether every finished cell of a quantizer that learns by gradient has logged steps."""
    data_sets: DataSets | None = None
    """None for an experiment that reads no files."""
    parents: Parents | None = None
    """Cells of another store that its cells are computed from; None where there are none."""
    watched: Mapping[str, str] = field(default_factory=dict)
    """By metric, the curve column that predicts it while a cell is computed; none where that is one step."""
    steps_field: str = ""
    """The field that says at which step a training ends; empty where a cell is computed in one step."""
    usual_quantizer: str = ""
    """The quantizer of a search that names none."""
    seeds_by: Sequence[str] = ()
    """Fields that, with the seed, decide a cell's data: cells that agree in them are paired by seed."""
    keeps: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """What a finished cell can keep besides its row, where the sweep file requests it under `keep`: the names of its
    files."""
    model: str = ""
    """`module:class` of the `dvq_ray.models.model.Model` that is made of a kept model; empty where none is kept."""
    comparison: str = ""
    """`module:NAME` of the `dvq_ray.comparison.declared.Comparison` with which `dvq-ray compare` runs it on a file;
    empty for an experiment that it does not run."""
    elapsed_column: str = ""
    """The curve column that holds the seconds of training so far; empty where a curve has none."""

    def files_of(self, keep: Set[str]) -> Set[str]:
        """Names of the files that a finished cell has, where a sweep file requests these under `keep`."""
        return {name for what in keep for name in self.keeps[what]}

    def load_run(self) -> Run:
        """The function that computes cells, imported now."""
        return cast(Run, named(self.run)) if isinstance(self.run, str) else self.run

    @cached_property
    def variants(self) -> Mapping[str, type[Settings]]:
        """Settings classes by the value of the field `quantizer`: iterates over the built-in ones, looks up any.

        Looking one up raises `KeyError` where there is none; `variant` says why.
        """
        return _Variants(self)

    def variant(self, quantizer: str) -> type[Settings]:
        """The settings class of a quantizer. Raises `ProviderError` where it is not found or cannot be used here."""
        if quantizer not in self._composed:
            found = QUANTIZERS.find(quantizer, self.quantizers)
            self._composed[quantizer] = self._compose(found)
            self._composed[found.name] = self._composed[quantizer]
        return self._composed[quantizer]

    @cached_property
    def _composed(self) -> dict[str, type[Settings]]:
        return {}

    @cached_property
    def quantizers(self) -> Sequence[str]:
        """The built-in quantizers that it can use."""
        return [name for name in QUANTIZERS.built_in() if self._bases(QUANTIZERS.find(name).value) is not None]

    def _bases(self, quantizer: type[Quantizer]) -> tuple[type[Settings], ...] | None:
        variant = quantizer.variant(self.provides)
        fields = None if variant is None else self.fields_for(variant)
        return None if variant is None or fields is None else (*fields, variant)

    def _compose(self, provided: Provided[type[Quantizer]]) -> type[Settings]:
        bases = self._bases(provided.value)
        if bases is None:
            needs = provided.value.needs - self.provides
            reason = f"it needs {' and '.join(sorted(needs))}" if needs else "the experiment has no way to compute it"
            raise ProviderError(
                f"{provided.name} cannot be used by {self.name}: {reason}; allowed: {', '.join(self.quantizers)}"
            )
        fields = {name for base in bases for name in base.model_fields}
        columns = {*metrics_of(self.metrics), *metrics_of(self.curve), "seed", "status", "error"}
        if taken := sorted(provided.value.model_fields.keys() & columns):
            raise ProviderError(f"{provided.name}: its field {taken[0]} has the name of a column of {self.name}")
        rules = dict.fromkeys(rule for base in reversed(bases) for rule in base.rules)
        namespace = {
            "__module__": bases[-1].__module__,
            "__doc__": bases[-1].__doc__,
            "__annotations__": {"quantizer": Literal[provided.name]},
            "rules": tuple(rule for rule in rules if fields.issuperset(rule.fields)),
            "added": {name: value for base in reversed(bases) for name, value in base.added.items()},
            "provided": {name: kind for base in reversed(bases) for name, kind in base.provided.items()},
            "neutral": self._neutral,
            "logs_curve": self.logs_curve and provided.value.learns_by_gradient(),
        }
        return cast(type[Settings], type(bases[-1].__name__, bases, namespace))

    @cached_property
    def _neutral(self) -> Mapping[str, Any]:
        bases = (self._bases(QUANTIZERS.find(name).value) or () for name in self.quantizers)
        axes = [axis for classes in bases for each in classes for axis in axes_of(each).items()]
        return {name: axis.neutral for name, axis in axes if axis.neutral is not None}

    def main_value(self, row: Mapping[str, Any]) -> float | None:
        """The main metric in a row; None unless it is finite."""
        return _finite(row.get(self.main_metric))

    def main_value_so_far(self, curve: Sequence[Mapping[str, Any]]) -> float | None:
        """The main metric's last value in the curve of an unfinished cell; None if the curve does not have it."""
        column = self.watched.get(self.main_metric)
        return _finite(curve[-1].get(column)) if curve and column else None

    def settings(self, fields: Mapping[str, Any]) -> Settings:
        """Resolved settings from their fields. Raises a pydantic `ValidationError` where they are wrong."""
        return self.variant(fields["quantizer"]).model_validate(dict(fields))

    @property
    def digest_column(self) -> str:
        """The column that tells unequal data of one name apart; empty where none does."""
        return self.data_sets.digest_column if self.data_sets else ""

    def settings_of_row(self, row: Mapping[str, Any]) -> Settings:
        """Resolved settings from the columns of a row, None where it has no value.

        Raises `ProviderError` where its quantizer is not found, a pydantic `ValidationError` where they are not valid.
        """
        known = self.variant(row["quantizer"]).model_fields
        return self.settings({name: row[name] for name in known if row.get(name) is not None})

    def axes(self, quantizers: Iterable[str] = ()) -> Mapping[str, Axis]:
        """Declarations of the fields of the built-in quantizers, and of these."""
        names = dict.fromkeys([*self.quantizers, *quantizers])
        return {name: axis for each in names for name, axis in axes_of(self.variant(each)).items()}

    def measures(self) -> Mapping[str, Metric]:
        """Declarations of the metric columns."""
        return metrics_of(self.metrics)

    @property
    def size_column(self) -> str:
        """The metric column that counts a model's parameters; empty where none does."""
        return next((name for name, metric in self.measures().items() if metric.is_size), "")

    @property
    def rate_column(self) -> str:
        """The metric column of what codes take in bits; empty where only their nominal bits are known."""
        return next((name for name, metric in self.measures().items() if metric.is_rate), "")


class _Variants(Mapping[str, type[Settings]]):
    def __init__(self, experiment: Experiment) -> None:
        self._experiment = experiment

    def __getitem__(self, name: str) -> type[Settings]:
        try:
            return self._experiment.variant(name)
        except ProviderError as error:
            raise KeyError(name) from error

    def __iter__(self) -> Iterator[str]:
        return iter(self._experiment.quantizers)

    def __len__(self) -> int:
        return len(self._experiment.quantizers)


def _finite(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
