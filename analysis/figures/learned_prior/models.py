"""The models of the learned prior: what one is, what it is called, how it looks; and the images it is trained on."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import asdict, astuple, dataclass
from typing import Any

import pandas as pd

from ...data.needs import Grid
from ...draw.style import Look, dvq_look, joint_vq_look, svq_look, told_apart, wide_vq_look
from ...known import DATA_SETS, MODEL, QUANTIZERS


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
        """As figures and tables call it: `DVQ, D = 2550, L = 10`; D and K only where they are among `varying`."""
        symbols = {
            "D": self.dimension if "dimension" in varying else None,
            "K": self.codebook_size if "codebook_size" in varying else None,
            "L": None if self.quantizer == "vq" else self.slices,
            "J": self.joint_codebooks if self.joint_codebooks > 1 else None,
            "P": self.joint_positions if self.joint_positions > 1 else None,
        }
        parts = [f"{symbol} = {value}" for symbol, value in symbols.items() if value is not None]
        return ", ".join([QUANTIZERS.get(self.quantizer, self.quantizer), *parts])

    def look(self) -> Look:
        """Follows from the model alone, so that it is the same in every figure of every store."""
        if self.quantizer == "dvq":
            return dvq_look(self.slices)
        if self.quantizer == "svq":
            return svq_look(self.joint_positions)
        return wide_vq_look(self.dimension) if self.joint_codebooks == 1 else joint_vq_look(self.joint_codebooks)


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """Images of one name and size."""

    dataset: str
    image_size: int

    @property
    def title(self) -> str:
        """`CIFAR-10 32×32`."""
        return f"{DATA_SETS.get(self.dataset, self.dataset)} {self.image_size}×{self.image_size}"


def models_in(frame: pd.DataFrame) -> list[Model]:
    """The models that have a row, in the order in which they are listed."""
    known = frame[frame["quantizer"].isin(list(QUANTIZERS))].drop_duplicates(list(MODEL))
    found = [
        Model(**{column: _plain(value) for column, value in zip(MODEL, row, strict=True)})
        for row in known[list(MODEL)].itertuples(index=False, name=None)
    ]
    families = list(QUANTIZERS)
    return sorted(found, key=lambda m: (families.index(m.quantizer), m.joint_codebooks > 1, astuple(m)))


def varying_in(models: Iterable[Model]) -> frozenset[str]:
    """Columns in which the models do not all agree."""
    values = [asdict(model) for model in models]
    return frozenset(column for column in MODEL if len({value[column] for value in values}) > 1)


def model_of(grid: Grid) -> Model:
    """The model of a grid that `needs` chose."""
    return Model(**{column: grid.axes[column][0] for column in MODEL[1:]}, quantizer=grid.quantizer)


def data_sets_of(grids: Iterable[Grid]) -> list[DataSet]:
    """Those that any of the grids has points of."""
    points = [point for grid in grids for point in grid.points]
    found = {DataSet(dataset=point["dataset"], image_size=point["image_size"]) for point in points}
    return sorted(found, key=lambda images: (images.image_size, images.dataset))


def looks_of(models: Iterable[Model]) -> list[Look]:
    """Their looks; models of equal colour, which differ in a lesser field, get different lines."""
    return told_apart([model.look() for model in models])


def _plain(value: Any) -> Any:
    return value if isinstance(value, str) else int(value)
