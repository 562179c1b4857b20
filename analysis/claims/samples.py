"""From stored rows to the numbers of a claim: every cell of the protocol is looked up by its id.

An id stands for the experiment, its revision, every setting and the seed. So nothing else that a store holds, not other
trainings, other seeds or other revisions, can be taken for what a claim is about.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from dvq_ray.experiment.registry import find_experiment
from dvq_ray.experiments.learned_prior import image_metrics
from dvq_ray.sweep.cells import Point

from ..data.points import floats, unusable_rows
from ..data.rows import Rows
from ..naming import seeds_text
from .claim import Array, Claim, Fields, Member, Test

IMAGES = image_metrics.FILE


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A statistic in one cell of a test."""

    seeds: tuple[int, ...]
    """Seeds of which all points of the cell have a usable row, in order."""
    values: Array
    """[seeds]"""
    image_error: float = 0.0
    """Standard error of the mean that is due to which images are in the test set; 0 where they are not resampled."""
    lost: Mapping[str, tuple[int, ...]]
    """Seeds of the protocol that are not among `seeds`, by what is wrong with them."""
    best_priors: Mapping[str, int] = field(default_factory=dict)
    """Where a test takes the best prior: how often each was that of a point and seed."""


class Stored:
    """The rows of one trainable, found by cell id: those that some claims are about, or without claims all."""

    def __init__(self, rows: Rows, trainable: str, claims: Sequence[Claim] = ()) -> None:
        self.experiment = find_experiment(trainable)
        self._store = rows
        self._points: dict[tuple[tuple[str, Any], ...], Point] = {}
        here = (rows.frame["trainable"] == trainable).to_numpy(bool, copy=True)
        if claims:
            here &= rows.frame["cell_id"].isin(self._wanted(claims)).to_numpy(bool)
        self._frame = rows.frame[here]
        self._places: dict[tuple[str, range], npt.NDArray[np.int64]] = {}
        self._unusable: dict[tuple[str, ...], Mapping[int, str]] = {}
        self._columns: dict[str, Array] = {}

    def _wanted(self, claims: Sequence[Claim]) -> set[str]:
        """Ids of the cells of all their readings."""
        readings = [reading for claim in claims for reading in claim.readings]
        points = {(self.point(fields), reading.seeds) for reading in readings for fields in reading.points()}
        return {point.cell_id(seed) for point, seeds in points for seed in seeds}

    @cached_property
    def _index(self) -> Any:
        return pd.Index(self._frame["cell_id"])

    def point(self, fields: Fields) -> Point:
        """The point with these settings. Raises a pydantic `ValidationError` where they are wrong."""
        key = tuple(sorted(fields.items()))
        if key not in self._points:
            self._points[key] = Point(experiment=self.experiment, settings=self.experiment.settings(fields))
        return self._points[key]

    def places(self, fields: Fields, seeds: range) -> npt.NDArray[np.int64]:
        """The row of each seed; -1 where there is none."""
        point = self.point(fields)
        key = (point.point_id, seeds)
        if key not in self._places:
            self._places[key] = self._index.get_indexer(pd.Index([point.cell_id(seed) for seed in seeds]))
        return self._places[key]

    def sample(self, test: Test, cell: Sequence[Fields], seeds: range) -> Sample:
        """The statistic in a cell. Seeds that are not usable in every point of the cell are left out, and listed.

        Raises `MissingError` where there is none, `StoreError` where curves or artifacts are unreadable.
        """
        places = np.stack([self.places(fields, seeds) for fields in cell])
        lost = self.lost(cell, places, seeds, test.metrics)
        used = used_of(seeds, lost, places)
        self.check_equal(places[:, used])
        return sampled(test, [self._member(test, its) for its in places[:, used]], np.array(seeds)[used], lost)

    def lost(
        self, cell: Sequence[Fields], places: npt.NDArray[np.int64], seeds: range, metrics: tuple[str, ...]
    ) -> Mapping[str, tuple[int, ...]]:
        """Seeds of which some point of a cell has no usable row, by what is wrong; `places` are those of the rows."""
        unusable = self._unusable_rows(metrics)
        found: dict[str, list[int]] = {}
        for fields, its in zip(cell, places.tolist(), strict=True):
            for seed, place in zip(seeds, its, strict=True):
                state = "missing" if place < 0 else unusable.get(place)
                if state:
                    found.setdefault(f"{fields['quantizer']} {state}", []).append(seed)
        return {state: tuple(sorted({*some})) for state, some in found.items()}

    def _unusable_rows(self, metrics: tuple[str, ...]) -> Mapping[int, str]:
        if metrics not in self._unusable:
            held = [metric for metric in metrics if metric in self._frame]
            found = unusable_rows(self._frame, held)
            if missing := [metric for metric in metrics if metric not in self._frame]:
                found = dict.fromkeys(range(len(self._frame)), f"without {', '.join(missing)}") | found
            self._unusable[metrics] = found
        return self._unusable[metrics]

    def check_equal(self, places: npt.NDArray[np.int64]) -> None:
        """Raises `MissingError` where these rows are not of equal data, or were not computed alike: ids do not say so.

        Data of which nothing is recorded are not equal to others.
        """
        digest = self.experiment.digest_column
        measured = [name for name, metric in self.experiment.measures().items() if metric.is_condition]
        for column in dict.fromkeys([digest, *measured] if digest else measured):
            values = self._frame[column].iloc[places.ravel()] if column in self._frame else pd.Series([None])
            if column == digest and values.isna().any():
                raise MissingError("data whose content is not recorded")
            if values.nunique(dropna=False) > 1:
                what = "data of unequal content under one name" if column == digest else f"unequal {column}"
                raise MissingError(f"{what}: {', '.join(sorted(map(str, values.unique())))}")

    def _member(self, test: Test, places: npt.NDArray[np.int64]) -> Member:
        ids = self.cell_ids(places) if test.curve or test.images else []
        return Member(
            metrics={name: self.column(name)[places] for name in test.metrics},
            curves=self._curves(ids, test.curve) if test.curve else (),
            images=self.images(ids, test.images) if test.images else {},
        )

    def cell_ids(self, places: npt.NDArray[np.int64]) -> list[str]:
        """The ids of these rows."""
        return self._frame["cell_id"].iloc[places].tolist()

    def values(self, column: str, places: npt.NDArray[np.int64]) -> set[str]:
        """What these rows have in a column, as text."""
        return {*map(str, self._frame[column].iloc[places.ravel()])} if column in self._frame else set()

    def column(self, name: str) -> Array:
        """All values of a metric."""
        if name not in self._columns:
            self._columns[name] = floats(self._frame[name])
        return self._columns[name]

    def _curves(self, ids: Sequence[str], column: str) -> list[tuple[npt.NDArray[np.int64], Array]]:
        logged = self._store.load_curves(ids, [column])
        logged = logged[np.isfinite(logged[column].astype(float))]
        found = []
        for cell_id in ids:
            own = logged[logged["cell_id"] == cell_id]
            if own.empty:
                raise MissingError("a curve is missing")
            found.append((own["step"].to_numpy(np.int64), own[column].to_numpy(np.float64)))
        return found

    def images(self, ids: Sequence[str], columns: Sequence[str]) -> dict[str, Array]:
        """Metrics of each test image of these cells: [cells, images]. Raises `MissingError` where they are not kept."""
        tables = []
        for cell_id in ids:
            content = self._store.read_artifact(cell_id, IMAGES)
            if content is None:
                raise MissingError(f"without {IMAGES}, over which test images are resampled")
            try:
                tables.append(pq.read_table(io.BytesIO(content), columns=[*columns], use_threads=False))
            except (pa.ArrowException, OSError) as error:
                raise MissingError(f"{IMAGES} of cell {cell_id} cannot be read: {error}") from None
        if len({len(table) for table in tables}) > 1:
            raise MissingError(f"{IMAGES} of unequal length")
        return {name: np.stack([table[name].to_numpy().astype(np.float64) for table in tables]) for name in columns}


class MissingError(Exception):
    """Something that a statistic takes is not there; says what."""


def used_of(
    seeds: range, lost: Mapping[str, Sequence[int]], places: npt.NDArray[np.int64]
) -> npt.NDArray[np.bool_]:  # fmt: skip
    """Which of the seeds are not lost. Raises `MissingError` where all are; `places` are those of their rows."""
    of_lost = {seed for some in lost.values() for seed in some}
    used = np.array([seed not in of_lost for seed in seeds])
    if not used.any():  # such as `dvq missing: seeds 1 and 2; vq failed (error): seed 3`
        by_state = "; ".join(f"{state}: {seeds_text(some)}" for state, some in lost.items())
        raise MissingError("never run" if (places < 0).all() else by_state)
    return used


def sampled(
    test: Test, members: Sequence[Member], seeds: npt.NDArray[np.int64], lost: Mapping[str, tuple[int, ...]],
    best_priors: Mapping[str, int] | None = None,
) -> Sample:  # fmt: skip
    """The statistic of the points of a cell. Raises `MissingError` where there is none."""
    if len({values.shape for member in members for values in member.images.values()}) > 1:
        raise MissingError(f"{IMAGES} of unequal length")
    values = np.asarray(test.statistic(members), np.float64)
    defined = np.isfinite(values)
    if not defined.all():
        raise MissingError(f"the statistic is not defined for {seeds_text(seeds[~defined].tolist())}")
    return Sample(
        seeds=tuple(seeds.tolist()), values=values, image_error=_image_error(test, members), lost=lost,
        best_priors=best_priors or {},
    )  # fmt: skip


_BLOCKS = 50
"""Parts of the test images that are left out in turn."""


def _image_error(test: Test, members: Sequence[Member]) -> float:
    """Standard error of the statistic's mean over seeds, by the delete-a-group jackknife over test images.

    Shao and Tu 1995, "The Jackknife and Bootstrap", section 2.3. All members saw the same images in the same order.
    """
    if not test.images:
        return 0.0
    count = next(iter(members[0].images.values())).shape[1]
    groups = min(_BLOCKS, count)
    group_of = np.arange(count) % groups
    means = []
    for group in range(groups):
        kept = group_of != group
        some = [
            Member(metrics={**m.metrics, **{name: values[:, kept].mean(axis=1) for name, values in m.images.items()}})
            for m in members
        ]
        means.append(float(np.mean(test.statistic(some))))
    return float(np.sqrt((groups - 1) / groups * np.square(np.array(means) - np.mean(means)).sum()))
