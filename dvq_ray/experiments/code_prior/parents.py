"""The cells whose codes are learned: a store of another sweep that kept them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal

import pandas as pd
import pyarrow.compute as pc
from pydantic import Field, ValidationError

from dvq_ray.declarations.settings import Settings
from dvq_ray.experiment.data_sets import DataSource
from dvq_ray.experiment.experiment import Experiment
from dvq_ray.experiment.parents import ParentPoint, ParentsError
from dvq_ray.experiment.registry import find_experiment
from dvq_ray.experiments.code_prior import NAME
from dvq_ray.experiments.code_prior.layout import Codes, Layout, arranged
from dvq_ray.experiments.code_prior.registry import find_prior, ladder
from dvq_ray.experiments.code_prior.settings import CodePriorSettings
from dvq_ray.providers import ProviderError
from dvq_ray.quantizer import kept_codes
from dvq_ray.quantizer.base import Quantizer
from dvq_ray.store import FINISHED, Store, StoreError
from dvq_ray.store.rows import python_value
from dvq_ray.sweep.cells import Point

KEPT = "codes"
"""What parents keep."""
_LISTED = 12
"""Seeds in a message."""


class CodesSource(DataSource):
    """The store whose cells kept their codes."""

    format: Literal["codes"] = "codes"
    store: Annotated[str, Field(min_length=1)]
    locations: ClassVar[tuple[str, ...]] = ("store",)


def problems(settings: Iterable[CodePriorSettings], data: Mapping[str, CodesSource], note: Any) -> list[str]:
    """Priors over positions need codes that have some. What else is wrong with parents is found with the sweep file."""
    wanted: dict[tuple[str, str], set[str]] = {}
    for one in settings:
        if find_prior(one.prior).needs_positions:
            wanted.setdefault((data[one.parent_point_id].expanded().store, one.prior), set()).add(one.parent_point_id)
    found = []
    for (location, prior), points in sorted(wanted.items()):
        rows = Store(location).load(["trainable", "point_id"])
        trainables = sorted({*rows.loc[rows["point_id"].isin(points), "trainable"]})
        without = [name for name in trainables if "positions" not in find_experiment(name).provides]
        others = ", ".join(name for name in ladder() if not find_prior(name).needs_positions)
        found += [f"{prior} needs codes at several positions; those of {name} have one; allowed: {others}"
                  for name in without]  # fmt: skip
    return found


def quantizer_fields(settings: Settings) -> Mapping[str, Any]:
    """The fields of a parent that the cells of its codes have too: which quantizer it is, and its own."""
    own = find_experiment(NAME).variant(settings.quantizer).model_fields.keys() - CodePriorSettings.model_fields
    return {name: getattr(settings, name) for name in ("quantizer", *sorted(own)) if hasattr(settings, name)}


class StoreOfCodes:
    """All points of a store, and what is wrong with those that are chosen."""

    def __init__(self, location: str) -> None:
        """Raises `ParentsError` if the location is not a store of cells that can keep codes."""
        self.source = CodesSource(store=location)
        self._store = Store(self.source.expanded().store)
        self._rows = _rows(self._store, location)
        trainables = sorted({str(name) for name in self._rows["trainable"].dropna()})
        self._experiments = {name: _experiment(name, location) for name in trainables}
        self._where = location
        self.points = sorted(
            (self._point(rows) for _, rows in self._rows.groupby("point_id", sort=False)),
            key=lambda point: str([point.columns.get("quantizer"), sorted(point.columns.items(), key=str)]),
        )

    def problems(self, point: ParentPoint, seeds: Sequence[int]) -> Iterator[str]:
        """What is wrong with these repetitions of a point."""
        rows = self._rows[self._rows["point_id"] == point.name]
        there = {int(row["seed"]): row for row in rows.to_dict("records")}
        if missing := [seed for seed in seeds if seed not in there]:
            named = f"seed {missing[0]}" if len(missing) == 1 else f"seeds {_listed(missing)}"
            yield (
                f"{self._where} has no cell of {self._text(point)} with {named}, only with {_listed(there)}; "
                "run its sweep with more seeds, or choose others here"
            )
        for seed in seeds:
            if seed in there and (problem := self._problem(there[seed])):
                yield f"{self._where}: the cell {there[seed]['cell_id']} of {self._text(point)}, seed {seed}, {problem}"

    def _problem(self, row: Mapping[Any, Any]) -> str | None:
        experiment = self._experiments[row["trainable"]]
        if row["revision"] != experiment.revision:
            return (
                f"is of revision {row['revision']} of {experiment.name}, and this version computes revision "
                f"{experiment.revision}; run its sweep again, which computes it anew, or choose others here"
            )
        if row["status"] not in FINISHED:
            said = f" ({row['error'].partition(chr(10))[0]:.100})" if isinstance(row["error"], str) else ""
            return f"has the status {row['status']}{said}; run its sweep with --retry-failed"
        if problem := _problem_of_identity(experiment, row):
            return problem
        if row["cell_id"] in self._without_codes:
            return f"has kept no codes; write keep: [{KEPT}] into its sweep file and run it again"
        return None

    @cached_property
    def _without_codes(self) -> set[str]:
        return self._store.missing_artifacts({kept_codes.FILE})

    def _point(self, rows: pd.DataFrame) -> ParentPoint:
        row = {str(name): value for name, value in rows.iloc[0].to_dict().items() if _is_there(value)}
        settings = _settings(self._experiments[row["trainable"]], row)
        fields = {"quantizer": row["quantizer"], "parent_point_id": row["point_id"]}
        if settings is not None:
            fields |= quantizer_fields(settings)
            row |= settings.model_dump()
        known = {"sweep", "trainable", "revision", *(type(settings).model_fields if settings else ()), "quantizer"}
        columns = {name: value for name, value in row.items() if name in known}
        return ParentPoint(name=row["point_id"], fields=fields, columns=columns)

    @cached_property
    def _varying(self) -> list[str]:
        names = dict.fromkeys(name for point in self.points for name in point.columns)
        return [name for name in names if len({str(point.columns.get(name)) for point in self.points}) > 1]

    def _text(self, point: ParentPoint) -> str:
        words = [f"{name} = {point.columns[name]}" for name in self._varying if name in point.columns]
        others = [word for word in words if not word.startswith("quantizer = ")]
        return ", ".join([str(point.columns["quantizer"]), *others])


def _rows(store: Store, location: str) -> pd.DataFrame:
    try:
        frame = store.load()
    except (StoreError, OSError) as error:
        raise ParentsError(f"{location} cannot be read: {error}") from error
    if not len(frame):
        raise ParentsError(f"{location} is not a store with cells; allowed: RESULTS/NAME of a sweep that has run")
    return frame[frame["point_id"].notna() & frame["seed"].notna()]


def _experiment(name: str, location: str) -> Experiment:
    try:
        experiment = find_experiment(name)
    except ProviderError as error:
        raise ParentsError(f"{location} holds cells of {name}, which is not found: {error}") from error
    if KEPT not in experiment.keeps:
        raise ParentsError(f"{location} holds cells of {name}, which keeps no codes; allowed: stores of cells that do")
    return experiment


def _settings(experiment: Experiment, held: Mapping[Any, Any]) -> Settings | None:
    """None where they are not valid in this version; `_problem_of_identity` says so."""
    row = {name: python_value(value) for name, value in held.items() if _is_there(value)}
    try:
        fields = experiment.variant(row["quantizer"]).model_fields
        whole = {name: int(row[name]) for name, info in fields.items() if info.annotation is int and name in row}
        return experiment.settings_of_row({**row, **whole})  # pandas has fractions where other rows have no value
    except (ProviderError, ValidationError):
        return None


def _problem_of_identity(experiment: Experiment, row: Mapping[Any, Any]) -> str | None:
    settings = _settings(experiment, row)
    if settings is None or Point(experiment=experiment, settings=settings).cell_id(row["seed"]) != row["cell_id"]:
        return "has other fields or defaults than this version computes; run its sweep again, or choose others here"
    return None


def _is_there(value: Any) -> bool:
    return isinstance(value, list) or hasattr(value, "__len__") or not pd.isna(value)


def _listed(seeds: Iterable[int]) -> str:
    numbers = sorted(seeds)
    more = f" and {len(numbers) - _LISTED} more" if len(numbers) > _LISTED else ""
    return ", ".join(map(str, numbers[:_LISTED])) + more


@dataclass(frozen=True, kw_only=True)
class Parent:
    """A cell with its codes."""

    row: Mapping[str, Any]
    settings: Settings
    experiment: Experiment
    train: Codes
    test: Codes
    layout: Layout
    vectors: bool
    """Whether samples are vectors, and not images."""
    joint_positions: int
    """For which a code stands."""
    codes_sha256: str

    @property
    def loss(self) -> float:
        """Its main metric."""
        return float(self.row[self.experiment.main_metric])

    @property
    def numbers(self) -> int:
        """In a sample: colours of all pixels, or dimensions."""
        return int(getattr(self.settings, "sub_pixels", 0) or self.dimension)

    @property
    def dimension(self) -> int:
        """Features of what is quantized."""
        return int(self.row["dimension"])

    @property
    def reconstruction_bits_per_dim(self) -> float | None:
        """None where it has no decoder whose output is a distribution."""
        value = self.row.get("reconstruction_bits_per_dim")
        return None if value is None or pd.isna(value) else float(value)


def parent_of(source: CodesSource, settings: CodePriorSettings, seed: int) -> Parent:
    """The cell whose codes the repetition `seed` is of. Raises `ParentsError` where it has gone, or was changed."""
    assert isinstance(settings, Quantizer)
    store = Store(source.expanded().store)
    where = (pc.field("point_id") == settings.parent_point_id) & (pc.field("seed") == seed)
    found = store.load(where=where).to_dict("records")
    if not found:
        raise ParentsError(f"{source.store} has no cell of the point {settings.parent_point_id} with seed {seed}")
    row = {str(name): value for name, value in found[0].items() if _is_there(value)}
    content = store.read_artifact(row["cell_id"], kept_codes.FILE)
    if row["status"] not in FINISHED or content is None:
        raise ParentsError(f"{source.store}: the cell {row['cell_id']} is not finished, or has kept no codes")
    experiment = find_experiment(row["trainable"])
    known = _settings(experiment, row)
    if known is None:
        raise ParentsError(f"{source.store}: the cell {row['cell_id']} has other fields than this version knows")
    splits = kept_codes.read_codes(content)
    joint = int(getattr(settings, "joint_positions", 1))
    (train, layout), (test, _) = (
        arranged(splits[split], settings.codebook_sizes(), positionwise=settings.positionwise, joint_positions=joint)
        for split in ("train", "test")
    )
    return Parent(
        row=row, settings=known, experiment=experiment, train=train, test=test, layout=layout,
        vectors=splits["train"].ndim == 2, joint_positions=joint, codes_sha256=hashlib.sha256(content).hexdigest(),
    )  # fmt: skip
