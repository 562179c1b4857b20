"""The points of an experiment, whatever they are: each quantizer's, with what was set, its rate and its size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from textwrap import wrap
from typing import Any, Self

import pandas as pd

from ...data.curves_and_artifacts import CurvesAndArtifacts
from ...data.declared import declared
from ...data.differences import NOT_RECORDED
from ...data.needs import Grid, Needs
from ...data.rows import Rows
from ...data.selection import Selection
from ...draw.looks import look_of
from ...draw.style import Look
from ...naming import listed
from ...output.numbers import long_form, number_of
from ...output.words import sentences, stopping

NUMBERS = ["n", "wanted", "mean", "deviation", "low", "high"]
_LABEL_LETTERS = 30
BITS = "code_bits"
"""The column of the rate: bits of the codes of one vector or image, all codes being equally likely."""


@dataclass(frozen=True, kw_only=True)
class AllPoints(Selection):
    """All points of one experiment, a grid for each quantizer."""

    points: pd.DataFrame
    """A row for each: `point_id`, `quantizer`, its settings, the digest of its data where it has one, `BITS`."""

    @classmethod
    def of(cls, rows: Rows, needs: Needs) -> Self | None:
        """All points of the needs' trainable; None where there are none.

        Raises `ProviderError` where it is not found.
        """
        every = rows.points(needs.trainable)
        if every.rows.empty:
            return None
        names = every.rows["quantizer"]
        found = declared(needs.trainable, [str(name) for name in names.dropna().unique()])
        left_out = [f"{int((names == name).sum()):,} cells of {name} ({why})" for name, why in found.unknown.items()]
        if without := int(names.isna().sum()):
            left_out.append(f"{without:,} cells without a quantizer")
        needs = replace(needs, others=(*(needs.others or ()), found.experiment.size_column))
        frame = needs.narrow(every.rows, found.axes)
        if left_out:
            frame = frame[names.isin([*found.quantizers])]
        frame = frame.reset_index(drop=True)
        for metric in needs.metrics:
            if callable(number := number_of(frame, metric)):
                held = frame[metric].notna() & found.is_whole(frame, metric)
                frame = frame.assign(**{metric: number(frame[held]).reindex(frame.index)})
        heads = every.heads[every.heads["quantizer"].isin([*found.quantizers])].drop_duplicates("point_id")
        heads = heads.astype({"quantizer": str, "point_id": str})
        if heads.empty:
            return None
        grids = [
            Grid(quantizer=name, axes={"point_id": tuple(sorted(heads.loc[heads["quantizer"] == name, "point_id"]))})
            for name in found.quantizers
        ]
        points = heads[["point_id", "quantizer", *(name for name in found.axes if name in heads)]].reset_index(
            drop=True
        )
        finished = frame[frame["status"] == "ok"]
        for name in [name for name in found.conditions if name in found.metrics]:  # which failed cells do not have
            ids = finished["point_id"].astype(str)
            # Data of which nothing is known are not equal to others.
            unknown = NOT_RECORDED + ", " + ids if name == found.digest else NOT_RECORDED
            known = finished[name].astype(object).where(finished[name].notna(), unknown)
            points[name] = points["point_id"].map(known.groupby(ids).first())
        seeds = {str(point): tuple(sorted(its)) for point, its in frame.groupby("point_id", observed=True)["seed"]}
        return cls(
            needs=needs, declared=found, placed=[(grid, grid.find(frame)) for grid in grids], rows=frame,
            seeds={(point,): its for point, its in seeds.items()}, left_out=tuple(left_out),
            curves_and_artifacts=CurvesAndArtifacts(), levels=rows.levels,
            points=points.assign(**{BITS: found.bits(points)}),
        )  # fmt: skip

    @property
    def metric(self) -> str:
        """The metric that the item shows."""
        return self.needs.metrics[0]

    @cached_property
    def varied(self) -> list[str]:
        """Fields with several values among the points of some quantizer, or of all that have them."""
        return [name for name in self.declared.axes if name in self.points and self.points[name].nunique() > 1]

    @cached_property
    def data_fields(self) -> list[str]:
        """Columns that decide what is quantized, without any that follows from those before it."""
        named = {*self.declared.experiment.seeds_by}
        deciding = [name for name in self.varied if self.declared.axes[name].role == "data" or name in named]
        return telling_apart(self.points, deciding)

    def means(self, metric: str = "") -> pd.DataFrame:
        """The points with `NUMBERS` of a metric, in the order of `points`."""
        numbers = pd.concat([grid.means(metric or self.metric) for grid in self.grids], ignore_index=True)
        return self.points.merge(numbers[["point_id", *NUMBERS]], on="point_id")

    def y_label(self) -> str:
        """The metric along an axis, its unit on a line of its own."""
        metric = self.declared.metrics[self.metric]
        return "\n".join(
            [*wrap(metric.label, _LABEL_LETTERS), *wrap(f"({metric.unit})" if metric.unit else "", _LABEL_LETTERS)]
        )

    def look(self, quantizer: str, value: Any = None) -> Look:
        """How a quantizer is drawn where its shade has this value."""
        return look_of(quantizer, self.declared.quantizers[quantizer], value)

    def name(self, quantizer: str, value: Any = None) -> str:
        """`DVQ, L = 4`."""
        label, shade = self.declared.label(quantizer), self.declared.shade(quantizer)
        return label if value is None or not shade else f"{label}, {self.declared.value(shade, value)}"

    def settings_text(self, fields: Sequence[str], values: Sequence[Any]) -> str:
        """`D = 64, F = 1024`."""
        pairs = zip(fields, values, strict=True)
        return ", ".join(self.declared.value(name, value) for name, value in pairs if not pd.isna(value))

    def holes(self) -> list[str]:
        """A line for each quantizer and each fault of its cells."""
        lines = []
        for grid in self.grids:
            states = list(grid.lost.values())
            lines += [f"{grid.name}: {states.count(state):,} cells {state}" for state in sorted(set(states))]
        return lines

    def shown(self) -> str:
        """Quantizers and how many points each has."""
        return "; ".join(self.listing())

    def listing(self) -> list[str]:
        """A line for each quantizer."""
        return [f"{grid.name}: {len(grid.table):,} points" for grid in self.grids]

    def repetitions_text(self) -> str:
        """How many there are, and what the intervals are."""
        counts = sorted({n for counts in self.repetitions() for n in counts}) or [0]
        return f"Means of n = {_range(counts)} repetitions with 95% t-intervals (none of one repetition)."

    def note(self, *parts: str) -> str:
        """A footnote: what the item says, repetitions, and every cell that it leaves out."""
        lines = [*self.holes(), *self.left_out]
        left = f"Not used: {'; '.join(lines)}." if lines else ""
        return sentences(*parts, self.repetitions_text(), stopping(self), left)


def telling_apart(points: pd.DataFrame, columns: Sequence[str], *, beside: Sequence[str] = ()) -> list[str]:
    """Of these columns, those that tell points apart which the ones `beside` them, and those before, do not."""
    found, count = list[str](), points.groupby([*beside], dropna=False, observed=True).ngroups if beside else 1
    for name in columns:
        groups = points.groupby([*beside, *found, name], dropna=False, observed=True).ngroups
        if groups > count:
            found, count = [*found, name], groups
    return found


def needs_of(trainable: str, metric: str) -> Needs:
    """Needs of an item that is made of whatever cells there are."""
    return Needs(
        trainable=trainable, metrics=(metric,), grids=("every point, of every quantizer",), choose=_no_grids,
        sweeps=(), seeds_by=("point_id",), apart=("point_id",), least_repetitions=1, tolerates_holes=True,
    )  # fmt: skip


def _no_grids(frame: pd.DataFrame) -> Sequence[Grid]:
    return ()  # `AllPoints.of` finds them


def points_of(selection: Selection) -> AllPoints:
    """The selection that an item of this folder is always given."""
    assert isinstance(selection, AllPoints)
    return selection


def numbers(selection: Selection) -> pd.DataFrame:
    """Every point with its settings, its rate and the numbers of the metric."""
    points = points_of(selection)
    return long_form([points.means().assign(metric=points.metric)])


def _range(counts: Sequence[int]) -> str:
    return listed(counts) if len(counts) <= 3 else f"{counts[0]} to {counts[-1]}"
