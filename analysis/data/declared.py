"""What the experiment and the quantizers of some rows declare of themselves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from dvq_ray.declarations.field import Axis, axes_of
from dvq_ray.declarations.metric import Metric
from dvq_ray.declarations.settings import Settings
from dvq_ray.experiment.experiment import Experiment
from dvq_ray.experiment.registry import find_experiment
from dvq_ray.providers import ProviderError
from dvq_ray.quantizer.base import Quantizer
from dvq_ray.quantizer.registry import QUANTIZERS
from dvq_ray.store.rows import python_value

from ..naming import number
from .points import kinds_of, plain


@dataclass(frozen=True, kw_only=True)
class Declared:
    """The declarations that one trainable's rows are read with."""

    experiment: Experiment
    quantizers: Mapping[str, type[Quantizer]]
    """By the name that rows have: built-in ones first."""
    unknown: Mapping[str, str]
    """Quantizers of rows that are not found, and why."""

    @cached_property
    def axes(self) -> Mapping[str, Axis]:
        """By field of these quantizers, and by each other column in which points that are compared must agree.

        All columns that are not here are harmless: metrics, the machine, the time, the sweep that named a cell.
        """
        variants = [self.experiment.variant(name) for name in self.quantizers or self.experiment.quantizers]
        fields = {name: axis for each in variants for name, axis in axes_of(each).items() if name != "quantizer"}
        return {**fields, **{name: Axis(label=label, role="data") for name, label in self.conditions.items()}}

    @cached_property
    def conditions(self) -> Mapping[str, str]:
        """Labels of columns that are no fields, and say on what or how a cell was computed."""
        measured = {name: metric.label for name, metric in self.metrics.items() if metric.is_condition}
        return {"revision": "revision", **measured}

    def has(self, quantizer: str, column: str) -> bool:
        """Whether a quantizer has a field; every quantizer has the conditions."""
        return column in self.conditions or column in self.experiment.variant(quantizer).model_fields

    def axis(self, quantizer: str, column: str) -> Axis:
        """How a quantizer declares a column that it has."""
        return axes_of(self.experiment.variant(quantizer)).get(column) or self.axes[column]

    def follows(self, quantizer: str, column: str, points: pd.DataFrame) -> npt.NDArray[np.bool_]:
        """For each point, whether it has the default of a field whose default follows from other fields."""
        info = self.experiment.variant(quantizer).model_fields.get(column)
        if info is None or not info.default_factory_takes_validated_data:
            return np.zeros(len(points), bool)
        records: list[dict[Any, Any]] = points.to_dict("records")
        defaults = [info.get_default(call_default_factory=True, validated_data=dict(each)) for each in records]
        return np.asarray(points[column] == defaults, bool)

    @cached_property
    def metrics(self) -> Mapping[str, Metric]:
        """By column."""
        return self.experiment.measures()

    @property
    def digest(self) -> str:
        """The column that tells unequal data of one name apart; empty where no data are read."""
        return self.experiment.digest_column

    def label(self, quantizer: str) -> str:
        """What a quantizer is called."""
        return label_of(quantizer)

    def shade(self, quantizer: str) -> str:
        """The field along which looks of a quantizer differ; empty where it has none."""
        return self.quantizers[quantizer].shade

    def value(self, field: str, value: Any) -> str:
        """A field and its value in few words: `K = 16`."""
        axis = self.axes[field]
        if field == self.digest or axis.is_id:
            return f"{axis.symbol or axis.label if axis.is_id else field} = {str(value)[:8]}"
        return setting(axis, value)

    def bits(self, points: pd.DataFrame) -> npt.NDArray[np.float64]:
        """Bits of the codes of one vector or image, all codes being equally likely, for each point: [points]."""
        return self._of_each(points, lambda settings: settings.code_bits())

    def is_whole(self, rows: pd.DataFrame, metric: str) -> npt.NDArray[np.bool_]:
        """For each row, whether a metric that has an entry for each codebook has as many; of others always."""
        is_list = metric in self.metrics and not pd.api.types.is_numeric_dtype(rows[metric])
        if not is_list or not self.metrics[metric].is_per_codebook:
            return np.ones(len(rows), bool)
        firsts, kinds = kinds_of(rows, ["point_id"])
        wanted = self._of_each(rows.iloc[firsts], lambda settings: len(settings.codebook_sizes()))[kinds]
        lengths = np.array([np.nan if each is None or each is pd.NA else np.size(each) for each in rows[metric]])
        return np.asarray((lengths == wanted) | np.isnan(lengths) | np.isnan(wanted), bool)

    def _of_each(self, points: pd.DataFrame, number: Callable[[Any], float]) -> npt.NDArray[np.float64]:
        deciding = [
            name for name, axis in self.axes.items() if axis.role not in ("training", "measurement") and name in points
        ]
        kinds = points.groupby(["quantizer", *deciding], dropna=False, observed=True, sort=False).ngroup().to_numpy()
        _, firsts = np.unique(kinds, return_index=True)
        records = plain(points.iloc[firsts]).to_dict("records")
        return np.array([self._number(row, number) for row in records])[kinds]

    def _number(self, row: Mapping[Any, Any], number: Callable[[Any], float]) -> float:
        try:
            settings = self.experiment.settings_of_row({str(name): _whole(value) for name, value in row.items()})
        except ValueError:  # of an earlier revision, whose settings are no longer valid
            return np.nan
        return number(settings)


def setting(axis: Axis, value: Any) -> str:
    """A value and what it is of: `K = 16`."""
    shown = axis.value(number(value))
    return shown if axis.stands_alone else f"{axis.symbol or axis.label} = {shown}"


@cache
def settings_of(trainable: str) -> tuple[str, ...]:
    """The columns that tell points apart: the fields of all built-in quantizers by their role, and the revision."""
    experiment = find_experiment(trainable)
    classes = (its for name in experiment.quantizers for its in experiment.variant(name).__mro__[1:])
    fields = {name: axis for its in classes if issubclass(its, Settings) for name, axis in axes_of(its).items()}
    order = ("data", "model", "network", "training", "measurement")
    named = sorted(fields, key=lambda name: (name != "quantizer", order.index(fields[name].role)))
    return (*named, "revision")


def conditions_of(frame: pd.DataFrame) -> list[str]:
    """Columns that are no fields, and say on what or how cells were computed, of all experiments in the rows."""
    found = {"revision": None}
    for trainable in frame["trainable"].dropna().unique() if "trainable" in frame else ():
        with suppress(ProviderError):
            found |= dict.fromkeys(declared(str(trainable), ()).conditions)
    return [*found]


def label_of(quantizer: str) -> str:
    """What a quantizer is called. Raises `ProviderError` where it is not found."""
    return QUANTIZERS.find(quantizer).value.label or quantizer.rpartition(":")[2]


def declared(trainable: str, quantizers: Sequence[str]) -> Declared:
    """Declarations for these quantizers' rows of a trainable. Raises `ProviderError` where it is not found."""
    experiment = find_experiment(trainable)
    order = {name: place for place, name in enumerate(experiment.quantizers)}
    found, unknown = {}, {}
    for name in sorted(quantizers, key=lambda name: (order.get(name, len(order)), name)):
        try:
            experiment.variant(name)
            found[name] = QUANTIZERS.find(name).value
        except ProviderError as error:
            unknown[name] = str(error)
    return Declared(experiment=experiment, quantizers=found, unknown=unknown)


def _whole(value: Any) -> Any:
    """A stored value as a settings class takes it: columns with gaps make floats of counts."""
    value = python_value(value)
    return int(value) if isinstance(value, float) and value.is_integer() else value
