"""What an item is made into, and its files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Flag, auto
from pathlib import Path
from typing import Any

import pandas as pd

from .numbers import as_csv
from .tables import Table, latex, markdown


class UnfitError(ValueError):
    """Nothing is missing from the stores, and yet the item cannot be made of them; says why."""


class Output(Flag):
    """What an item is made for. Nothing is rendered that no output needs."""

    FILES = auto()
    """Files of its own, such as `figure3a.png`."""
    PAGE = auto()
    """A place in the report."""


def has_pixels(svg: bytes) -> bool:
    """Whether a picture holds images made of pixels."""
    return b"<image" in svg


@dataclass(frozen=True, kw_only=True)
class Marks:
    """Marks of a drawn figure: what a page says of each."""

    names: Sequence[str] = ()
    """What models, panels and axes are called."""
    points: Sequence[Sequence[Any]] = ()
    """Of each mark: its place from the left and from the top, in thousandths of the picture; the places in `names` of
    its model and of its panel; where it is along the axis, in words; mean, ends of the interval, or None, and n."""

    def below(self, share: float) -> Marks:
        """The same of a picture without this share at its top."""
        points = [[x, round((y - 1000 * share) / (1 - share), 1), *rest] for x, y, *rest in self.points]
        return replace(self, points=points)


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A figure for a page alone: no file of its own."""

    svg: bytes
    marks: Marks

    @property
    def has_photographs(self) -> bool:
        """Whether it holds images made of pixels, whose colours are not to be changed."""
        return has_pixels(self.svg)


@dataclass(frozen=True, kw_only=True)
class Product:
    """An item, made."""

    files: Mapping[str, bytes]
    """Contents by suffix, such as `.svg`."""
    caption: str
    message: str = ""
    """What a figure shows, in one sentence; empty for a table."""
    table: Table | None = None
    """None for a figure."""
    picture: Picture | None = None
    """A figure as a page shows it; None for a table, and where no page is made."""
    narrow: Picture | None = None
    """The same for narrow screens."""


def table_product(table: Table, numbers: pd.DataFrame, label: str, caption: str = "") -> Product:
    """The table as Markdown and, under that label, as LaTeX, with a `.csv` of its numbers in full.

    The caption is its title and its notes where none is given.
    """
    files = {".csv": as_csv(numbers), ".md": markdown(table).encode(), ".tex": latex(table, label).encode()}
    return Product(files=files, caption=caption or " ".join([table.title, *table.notes]), table=table)


def write_files(folder: Path, name: str, files: Mapping[str, bytes]) -> list[Path]:
    """Writes `<name><suffix>` for each suffix. A reader gets the old file or the new one, whole."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for suffix, content in files.items():
        path = folder / f"{name}{suffix}"
        part = path.with_name(f".{path.name}.part")
        part.write_bytes(content)
        part.replace(path)
        written.append(path)
    return written
