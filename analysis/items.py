"""What an item is: one figure or table, with what it needs and how it is made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .data.needs import Needs
from .data.rows import Rows
from .data.selection import Selection, select
from .naming import listed
from .output.products import Product


@dataclass(frozen=True, kw_only=True)
class Item:
    """One figure or table; its name is that of its files."""

    title: str
    needs: Needs
    make: Callable[[Selection], Product]

    @property
    def group(self) -> str:
        """What it stands under, beside others: its trainable."""
        return self.needs.trainable

    def select(self, rows: Rows) -> Selection | None:
        """What it is made of; None where the stores hold nothing for it.

        Raises `UnfitError` where they hold what it cannot be made of, `StoreError` where one cannot be read.
        """
        return select(rows, self.needs)

    def drawn(self, selection: Selection) -> list[str]:
        """A line for each grid that is drawn, with the values along its axes."""
        return [
            f"{grid.name}: {len(grid.table)} points of  "
            + "  ".join(f"{axis}={listed(values)}" for axis, values in grid.axes.items())
            for grid in selection.grids
        ]

    def alternative(self, selection: Selection) -> str:
        """What a figure shows, for those who do not see it."""
        parts = []
        for grid in selection.grids:
            varied = [f"{axis} {listed(values)}" for axis, values in grid.axes.items() if len(values) > 1]
            parts.append(f"{grid.name} at {', '.join(varied)}" if varied else grid.name)
        return f"{self.title}. Drawn: {'; '.join(parts)}. The caption follows."
