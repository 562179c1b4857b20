"""`python -m analysis` in this process, with the catalogue or with items of it that cost no drawing."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from analysis.__main__ import main
from analysis.data.selection import Selection
from analysis.draw import style
from analysis.figures import ITEMS
from analysis.items import Item
from analysis.output.numbers import as_csv, declared_numbers
from analysis.output.product import Product
from analysis.output.words import holes

ALWAYS = {"claims.md", "claims.csv", "claims.json", "report.html"}
"""Written whatever a store holds."""


def analysis(*arguments: str | Path, items: Mapping[str, Item] = ITEMS, dpi: int = style.PNG_DPI) -> Result:
    """What the command line says and does with these items; few dots to an inch are quickly drawn."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(style._SETTINGS, "savefig.dpi", dpi)
        patch.setattr("analysis.figures.ITEMS", items)
        if items is not ITEMS:
            patch.setattr("analysis.figures.generic.items", lambda rows: {})
        return CliRunner().invoke(main, [str(argument) for argument in arguments])


def undrawn(names: Collection[str], *, drawn: Collection[str] = ()) -> dict[str, Item]:
    """Items of these names, each with its own needs. Their pictures are their numbers, except of those in `drawn`."""
    return {name: ITEMS[name] if name in drawn else replace(ITEMS[name], make=_numbers, draw=None) for name in names}


def _numbers(selection: Selection) -> Product:
    numbers = as_csv(declared_numbers(selection))
    return Product(files={".svg": numbers, ".csv": numbers}, caption=holes(selection))
