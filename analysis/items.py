"""What an item is: one figure or table, declared by the function that makes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from .data.needs import Needs
from .data.rows import Rows
from .data.selection import Selection, select
from .draw import style
from .draw.sheet import Drawn
from .output.numbers import as_csv, declared_numbers
from .output.product import Output, Picture, Product

Draw = Callable[[Selection], Drawn]
Select = Callable[[Rows, Needs], Selection | None]
"""What an item is made of; None where the stores hold nothing for it.

Raises `UnfitError` where they hold what it cannot be made of, `StoreError` where one cannot be read.
"""
SEARCHES = "searches"


@dataclass(frozen=True, kw_only=True)
class Item:
    """One figure or table; its name is that of its files."""

    name: str
    title: str
    needs: Needs
    make: Callable[[Selection], Product] | None = None
    """Makes the table; None for a figure."""
    draw: Draw | None = None
    """Draws the figure; None for a table."""
    numbers: Callable[[Selection], pd.DataFrame] = declared_numbers
    """The figure's numbers, written to a `.csv` file next to it."""
    select: Select = select

    @property
    def group(self) -> str:
        """Its heading in the report: its trainable, or that of all searches."""
        return self.needs.trainable or SEARCHES

    def product(
        self, selection: Selection, output: Output = Output.FILES, form: style.Format = style.PAGE
    ) -> Product:  # fmt: skip
        """Makes the item of its rows; `form` is what the files of a figure are drawn for."""
        if self.make:
            return self.make(selection)
        assert self.draw
        with style.drawn_for(form), style.printed():
            found = self.draw(selection)
            files = style.rendered(found.figure) if Output.FILES in output else {}
            picture = _picture(found) if Output.PAGE in output else None
        return Product(
            files={**files, ".csv": as_csv(self.numbers(selection))}, message=found.message, caption=found.caption,
            picture=picture, narrow=_narrow(selection, self.draw) if Output.PAGE in output else None,
        )  # fmt: skip

    def __reduce__(self) -> tuple[Callable[..., Item], tuple[str, ...]]:
        return _named, (self.name,)  # a process that gets it by name need not be able to pickle its functions


def figure(
    title: str,
    needs: Needs,
    *,
    numbers: Callable[[Selection], pd.DataFrame] = declared_numbers,
    select: Select = select,
) -> Callable[[Draw], Item]:
    """Declares a figure. Beside it goes a `.csv` of the declared metrics and curves, or of other numbers."""
    return lambda draw: Item(name=draw.__name__, title=title, needs=needs, draw=draw, numbers=numbers, select=select)


def _narrow(selection: Selection, draw: Draw) -> Picture:
    """The figure again, for a screen as wide as a column of text."""
    with style.drawn_for(style.COLUMN), style.printed():
        return _picture(draw(selection))


def _picture(found: Drawn) -> Picture:
    """The figure without its message, which is the heading that a page has above it."""
    cut = found.heading_inches
    if found.heading:
        found.heading.set_visible(False)
    marks = found.marks.below(cut / found.figure.get_figheight())
    return Picture(svg=style.page_svg(found.figure, without_inches=cut), marks=marks)


def table(title: str, needs: Needs, *, select: Select = select) -> Callable[[Callable[[Selection], Product]], Item]:
    """Declares a table."""
    return lambda make: Item(name=make.__name__, title=title, needs=needs, make=make, select=select)


def _named(name: str) -> Item:
    from . import figures  # here, because the figures are declared with this module

    return figures.ITEMS[name]
