"""Cells: fully resolved configurations with their seeds, their ids, and the packs that Tune trials carry."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np

from dvq_ray.declarations.settings import Settings
from dvq_ray.experiment.experiment import Experiment
from dvq_ray.experiment.registry import EXPERIMENTS, find_experiment
from dvq_ray.process.garbage import no_garbage_collection
from dvq_ray.providers import Provided, Providers, of_group
from dvq_ray.quantizer.registry import QUANTIZERS
from dvq_ray.sweep.grids import Grid
from dvq_ray.sweep.spec import SweepSpec

_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True, eq=False)
class Point:
    """A configuration without its seed. Its Monte-Carlo repetitions are its cells."""

    experiment: Experiment
    settings: Settings

    @cached_property
    def canonical(self) -> str:
        """JSON of the settings with sorted keys: equal text, equal settings."""
        return _CANONICAL.encode(self.settings.identity())

    @cached_property
    def point_id(self) -> str:
        """Hash of the text without a seed: the same for all repetitions."""
        name, revision = self.experiment.name, self.experiment.revision
        return _digest(f'{{"revision":{revision},"settings":{self.canonical},"trainable":"{name}"}}')

    @cached_property
    def nominal_seconds(self) -> float:
        """About how long each of its cells takes on one core."""
        return self.settings.nominal_seconds()

    def cell_id(self, seed: int) -> str:
        """First 16 hex digits of the SHA-256 of the cell's canonical JSON.

        The text holds the trainable, its revision, every scientific field after defaults were filled in, and the
        seed, so that a changed default is a new cell and a changed path is not.
        """
        name, revision = self.experiment.name, self.experiment.revision
        text = f'{{"revision":{revision},"seed":{seed},"settings":{self.canonical},"trainable":"{name}"}}'
        return _digest(text)

    def providers(self) -> list[Provided[Any]]:
        """Whatever of its experiment, its quantizer and what other fields name is not built in."""
        return [provided for found in self.providers_by_group().values() for provided in found if provided.version]

    def providers_by_group(self) -> Mapping[str, Sequence[Provided[Any]]]:
        """All of them by their group, the experiment first: the others may need it to be found."""
        named: list[tuple[Providers[Any], str]] = [
            (EXPERIMENTS, self.experiment.name), (QUANTIZERS, self.settings.quantizer),
            *((kind, getattr(self.settings, field)) for field, kind in self.settings.provided.items()),
        ]  # fmt: skip
        found: dict[str, list[Provided[Any]]] = {}
        for kind, name in named:
            found.setdefault(kind.group, []).append(kind.find(name))
        return found

    def cell(self, seed: int) -> Cell:
        """Its repetition `seed`."""
        return Cell(cell_id=self.cell_id(seed), point=self, seed=seed)


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class Cell:
    """One configuration with its seed: the unit of identity, of storage, of failure and of re-running."""

    cell_id: str
    point: Point
    seed: int

    @property
    def quantizer(self) -> str:
        """Which of the trainable's quantizers it fits."""
        return str(self.point.settings.quantizer)

    def nominal_seconds(self) -> float:
        """About how long it takes on one core."""
        return self.point.nominal_seconds


def points_of(spec: SweepSpec) -> list[tuple[Grid, Point]]:
    """The points of each grid, in the order of the file; a point that several grids name is there for each."""
    with no_garbage_collection():
        return [
            (grid, Point(experiment=spec.experiment, settings=settings))
            for grid in spec.grids
            for settings in grid.points()
        ]


def cells_of(
    points: Iterable[tuple[Grid, Point]], seeds: Callable[[Grid, Point], Sequence[int]]
) -> tuple[list[Cell], dict[str, list[str]]]:
    """The repetitions of points of grids as cells, each once, and the ids that each grid names.

    Cells come point by point, the repetitions of a point side by side.
    """
    cells: dict[str, Cell] = {}
    by_grid: dict[str, list[str]] = {}
    with no_garbage_collection():
        for grid, point in points:
            ids = by_grid.setdefault(grid.name, [])
            for seed in seeds(grid, point):
                cell = point.cell(seed)
                ids.append(cell.cell_id)
                cells.setdefault(cell.cell_id, cell)
    return list(cells.values()), by_grid


def expand(spec: SweepSpec) -> tuple[list[Cell], dict[str, list[str]]]:
    """All cells that a sweep wants before any has run, as `cells_of`."""
    return cells_of(points_of(spec), lambda grid, point: grid.seeds)


@dataclass(frozen=True, kw_only=True)
class SuggestedAs:
    """What a search wants to know of the cells of a suggestion."""

    number: int
    """The number of the suggestion."""
    study: str
    """The name of its study."""
    objective: str
    """Metric column; its value becomes the column `search_objective` too."""
    watched: str | None
    """Curve column by which the cell may be stopped early; None for one that runs to its end."""


@dataclass(frozen=True, kw_only=True)
class Pack:
    """Cells that one Tune trial carries, so that a trial costs more than its scheduling."""

    cells: Sequence[Cell]
    suggested: SuggestedAs | None = None
    """None for cells of a grid."""

    def nominal_seconds(self) -> float:
        """About how long all cells take on one core."""
        return sum(cell.nominal_seconds() for cell in self.cells)

    def by_point(self) -> list[tuple[Point, list[Cell]]]:
        """The cells grouped by their point, in order."""
        groups: dict[int, tuple[Point, list[Cell]]] = {}
        for cell in self.cells:
            groups.setdefault(id(cell.point), (cell.point, []))[1].append(cell)
        return list(groups.values())

    def to_plain(self) -> dict[str, Any]:
        """Gives plain data for a Tune configuration: each point's settings once, with its seeds."""
        groups = self.by_point()
        return {
            "trainable": groups[0][0].experiment.name,
            "providers": _providers(point for point, _ in groups),
            "points": [
                {"settings": point.settings.model_dump(), "seeds": [cell.seed for cell in cells]}
                for point, cells in groups
            ],
            "suggested": asdict(self.suggested) if self.suggested else None,
        }

    @staticmethod
    def from_plain(plain: Mapping[str, Any]) -> Pack:
        """The pack that `to_plain` wrote."""
        for group, name, path, version in plain["providers"]:
            of_group(group).learn(name, path, version)
            find_experiment(plain["trainable"])  # which declares what else can be provided
        experiment = find_experiment(plain["trainable"])
        cells = []
        for group in plain["points"]:
            point = Point(experiment=experiment, settings=experiment.settings(group["settings"]))
            cells += [point.cell(seed) for seed in group["seeds"]]
        suggested = plain["suggested"]
        return Pack(cells=cells, suggested=SuggestedAs(**suggested) if suggested else None)


def _providers(points: Iterable[Point]) -> list[tuple[str, str, str, str]]:
    """Group, name, path and version of whatever is not built in, each once."""
    found = {
        (group, each.name, each.path, each.version): None
        for point in points
        for group, some in point.providers_by_group().items()
        for each in some
        if each.version
    }
    return list(found)


def run_order(cells: Sequence[Cell], *, together: bool, repetitions: Sequence[int] | None = None) -> list[Cell]:
    """The order in which wanted cells are run: first repetitions, then second ones, each time the longest first.

    `repetitions` says which of its point each cell is; without it they are there from the first to the last. A sweep
    that is cut short so has every point at fewer repetitions, and not half of its points. With `together`, for
    repetitions of a point that are computed in one batch, points come one after the other, the longest first.
    """
    by_point: dict[str, list[int]] = {}
    for place, cell in enumerate(cells):
        by_point.setdefault(cell.point.canonical, []).append(place)
    longest_first = sorted(by_point.values(), key=lambda places: -cells[places[0]].nominal_seconds())
    places = np.array([place for its in longest_first for place in its], np.int64)
    if not together:
        count = (repetition for its in longest_first for repetition in range(len(its)))
        which = np.fromiter(count, np.int64) if repetitions is None else np.asarray(repetitions)[places]
        places = places[np.argsort(which, kind="stable")]
    return [cells[place] for place in places.tolist()]


LONGEST_PACK_SECONDS = 5.0
"""Nominal length of a full pack: long against Tune's cost of a trial (some 15 ms), short against a sweep."""
PACKS_PER_SLOT = 8
"""At least so many packs for each trial that can run at once, so that all of them end at about the same time."""


def pack_cells(cells: Sequence[Cell], slots: int) -> list[Pack]:
    """Fills packs with neighbouring cells, in their order, for `slots` packs that run at once."""
    total = sum(cell.nominal_seconds() for cell in cells)
    pack_seconds = min(LONGEST_PACK_SECONDS, total / (PACKS_PER_SLOT * slots))
    packs: list[Pack] = []
    filling: list[Cell] = []
    filled = 0.0
    for cell in cells:
        seconds = cell.nominal_seconds()
        if filling and filled + seconds > pack_seconds:
            packs.append(Pack(cells=filling))
            filling, filled = [], 0.0
        filling.append(cell)
        filled += seconds
    if filling:
        packs.append(Pack(cells=filling))
    return packs
