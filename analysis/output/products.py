"""What an item comes out as, and the files that it becomes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from ..data.selection import Selection
from ..draw import style
from .numbers import as_csv, declared_numbers
from .tables import Table, latex, markdown


class UnfitError(ValueError):
    """What the stores hold is all there, and yet the item cannot be made of it; says why."""


@dataclass(frozen=True, kw_only=True)
class Product:
    """An item, made."""

    files: Mapping[str, bytes]
    """Contents by suffix, such as `.svg`."""
    caption: str
    table: Table | None = None
    """What a table says, to be set again elsewhere; None for a figure."""


def figure_product(
    draw: Callable[[Selection], tuple[Figure, str]], numbers: Callable[[Selection], pd.DataFrame] = declared_numbers
) -> Callable[[Selection], Product]:
    """Makes a product of what draws a figure and says its caption, with a `.csv` of the numbers drawn.

    These are the declared metrics and curves, unless the figure draws others and brings what says them.
    """

    def make(selection: Selection) -> Product:
        with style.printed():
            figure, caption = draw(selection)
            files = {**style.rendered(figure), ".csv": as_csv(numbers(selection))}
            return Product(files=files, caption=caption)

    return make


def table_product(table: Table, numbers: pd.DataFrame, label: str, caption: str = "") -> Product:
    """The table as Markdown and, under that label, as LaTeX, with a `.csv` of its numbers in full.

    The caption is its title and its notes where none is given.
    """
    files = {
        ".csv": as_csv(numbers),
        ".md": markdown(table).encode(),
        ".tex": latex(table, label).encode(),
    }
    return Product(files=files, caption=caption or " ".join([table.title, *table.notes]), table=table)


def write_files(folder: Path, name: str, files: Mapping[str, bytes]) -> list[Path]:
    """Writes `<name><suffix>` for each suffix."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for suffix, content in files.items():
        path = folder / f"{name}{suffix}"
        path.write_bytes(content)
        written.append(path)
    return written
