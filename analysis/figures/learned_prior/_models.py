"""The models of the learned prior: what one is, what it is called, how it looks; and the images it is trained on."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import asdict, astuple, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.lines import Line2D

from dvq_ray.experiment.registry import find_experiment

from ...data.declared import label_of
from ...data.needs import Grid, at
from ...data.selection import Metric, SelectedGrid, Selection
from ...draw.looks import known_look
from ...draw.sheet import handle
from ...draw.style import FAMILIES, Look
from ...naming import number
from ...output.product import UnfitError
from ._columns import MODEL, QUANTIZERS

_MARKERS = "so^vD<>ph*"
"""Markers of models whose own one is taken by another of their colour."""


@dataclass(frozen=True, kw_only=True)
class Model:
    """One line of a figure, one row of a table. Models that are compared differ in nothing else."""

    quantizer: str
    dimension: int
    """Features of the latent at a position."""
    slices: int
    joint_codebooks: int
    joint_positions: int
    codebook_size: int

    def name(self, varying: Collection[str]) -> str:
        """By columns, as cells are named: `svq slices=8 joint_positions=8`, with those of `varying`."""
        words = [self.quantizer]
        for column, value in list(asdict(self).items())[1:]:
            if column in varying if column in ("dimension", "codebook_size") else value > 1:
                words.append(f"{column}={value}")
        return " ".join(words)

    def label(self, varying: Collection[str]) -> str:
        """Name in figures and tables: `DVQ, D = 2550, L = 10`; D and K only where they are among `varying`."""
        symbols = {
            "D": self.dimension if "dimension" in varying else None,
            "K": self.codebook_size if "codebook_size" in varying else None,
            "L": None if self.quantizer == "vq" else self.slices,
            "J": self.joint_codebooks if self.joint_codebooks > 1 else None,
            "P": self.joint_positions if self.joint_positions > 1 else None,
        }
        parts = [f"{symbol} = {value}" for symbol, value in symbols.items() if value is not None]
        return ", ".join([label_of(self.quantizer), *parts])

    def look(self) -> Look:
        """Follows from the model alone, so that it is the same in every figure of every store."""
        if self.joint_codebooks > 1:
            return FAMILIES["olive"].look(self.joint_codebooks)
        # Plain VQ by its dimension: its codebooks usually have one size.
        field = {"dvq": "slices", "svq": "joint_positions"}.get(self.quantizer, "dimension")
        return known_look(self.quantizer, getattr(self, field))


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """Images of one name and size."""

    dataset: str
    image_size: int

    @property
    def title(self) -> str:
        """`CIFAR-10 32×32`."""
        size = number(self.image_size)
        name = find_experiment("learned_prior").axes()["dataset"].value(self.dataset)
        return f"{name} {size}×{size}"

    def of(self, table: pd.DataFrame) -> pd.DataFrame:
        """The rows of these images."""
        return at(table, dataset=self.dataset, image_size=self.image_size)


@dataclass(frozen=True, kw_only=True, eq=False)
class Entry:
    """A model at a data set, as figures and tables list it."""

    grid: SelectedGrid
    images: DataSet
    model: Model
    label: str
    look: Look
    """Without a line: a model is one dot here. No two models of an item share colour and marker."""

    def point(self, metric: Metric) -> pd.DataFrame:
        """Its row of `SelectedGrid.means`."""
        return self.images.of(self.grid.means(metric))

    def numbers(self, metric: Metric) -> dict[Any, Any]:
        """The same, by column; each NaN where it has too few repetitions."""
        return dict(self.point(metric).iloc[0])

    @property
    def missing(self) -> str:
        """`n = 2 of 3`; empty where no repetition is missing."""
        found = self.numbers(self.grid.selection.needs.metrics[0])
        return f"n = {int(found['n'])} of {int(found['wanted'])}" if found["n"] < found["wanted"] else ""

    @property
    def name(self) -> str:
        """The label, with what is missing."""
        return ", ".join(filter(None, (self.label, self.missing)))


def models_in(frame: pd.DataFrame) -> list[Model]:
    """The models that have a row, in the order in which they are listed."""
    known = at(frame, quantizer=QUANTIZERS).drop_duplicates([*MODEL])
    values: list[list[Any]] = [[value if isinstance(value, str) else int(value) for value in row]
              for row in known[[*MODEL]].itertuples(index=False, name=None)]  # fmt: skip
    found = [Model(**dict(zip(MODEL, row, strict=True))) for row in values]
    return sorted(found, key=lambda m: (QUANTIZERS.index(m.quantizer), m.joint_codebooks > 1, astuple(m)))


def varying_in(models: Iterable[Model]) -> frozenset[str]:
    """Columns in which the models do not all agree."""
    values = [asdict(model) for model in models]
    return frozenset(column for column in MODEL if len({value[column] for value in values}) > 1)


def model_of(grid: Grid) -> Model:
    """The model of a grid."""
    return Model(**{column: grid.axes[column][0] for column in MODEL[1:]}, quantizer=grid.quantizer)


def labels_of(grids: Iterable[Grid]) -> list[str]:
    """What the models of the grids are called among each other."""
    models = [model_of(grid) for grid in grids]
    return [model.label(varying_in(models)) for model in models]


def data_sets_of(grids: Iterable[Grid]) -> list[DataSet]:
    """Data sets of which any of the grids has points."""
    points = [point for grid in grids for point in grid.points]
    found = {DataSet(dataset=point["dataset"], image_size=point["image_size"]) for point in points}
    return sorted(found, key=lambda images: (images.image_size, images.dataset))


def models_of(selection: Selection) -> list[dict[DataSet, Entry]]:
    """For each grid its model at each of its data sets."""
    models, found = [model_of(grid) for grid in selection.grids], []
    for grid, model, label, look in zip(
        selection.grids, models, labels_of(selection.grids), _dots(models), strict=True
    ):
        points = {DataSet(dataset=point["dataset"], image_size=point["image_size"]): point for point in grid.points}
        found.append({
            images: Entry(grid=grid, images=images, model=model, label=label, look=look) for images in points
        })  # fmt: skip
    return found


def entries_of(selection: Selection) -> dict[DataSet, list[Entry]]:
    """By data set, in the order in which models are listed."""
    models = models_of(selection)
    return {
        images: [entries[images] for entries in models if images in entries] for images in data_sets_of(selection.grids)
    }


def legend_of(entries: dict[DataSet, list[Entry]]) -> list[Line2D]:
    """A dot for each model, with what is missing."""
    missing: dict[tuple[str, Look], dict[str, None]] = {}
    for entry in (entry for here in entries.values() for entry in here):
        missing.setdefault((entry.label, entry.look), {})[entry.missing] = None
    return [handle(look, ", ".join([label, *filter(None, texts)])) for (label, look), texts in missing.items()]


def of_each(
    column: str, number_of: Callable[[npt.NDArray[np.float64]], float]
) -> Callable[[pd.DataFrame], pd.Series[float]]:
    """A number of each row from a column that may be empty: a list with an entry for each codebook, or a number.

    Raises `UnfitError` for a row that has none.
    """

    def numbers(rows: pd.DataFrame) -> pd.Series[float]:
        values = []
        for cell_id, held in zip(rows["cell_id"], rows[column], strict=True):
            entries = np.asarray(np.nan if held is None else held, dtype=np.float64)
            if not np.isfinite(entries).all() or not entries.size:
                raise UnfitError(f"cell {cell_id} finished without {column}")
            values.append(number_of(entries))
        return pd.Series(values, index=rows.index, dtype=float)

    return numbers


def _dots(models: list[Model]) -> list[Look]:
    taken: set[tuple[str, str]] = set()
    looks = []
    for look in (model.look() for model in models):
        free = (m for m in (look.marker, *_MARKERS) if (look.colour, m) not in taken)
        dot = replace(look, marker=next(free, look.marker), width=0.0)
        taken.add((dot.colour, dot.marker))
        looks.append(dot)
    return looks
