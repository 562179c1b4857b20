"""Everything that can be made, in the order in which it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from analysis.needs import Needs
from analysis.products import Product, figure_product
from analysis.selection import Selection
from analysis.static_prior import figures, needs


@dataclass(frozen=True, kw_only=True)
class Item:
    """One figure; its name is that of its files."""

    title: str
    needs: Needs
    make: Callable[[Selection], Product]


ITEMS: Mapping[str, Item] = {
    "figure3a": Item(
        title="Figure 3(a): test loss of plain VQ over the dimension, for each codebook size and initial bound",
        needs=needs.FIGURE_3A,
        make=figure_product(figures.draw_figure3a),
    ),
    "figure3b": Item(
        title="Figure 3(b): loss over variance of plain VQ where codes are fewer than factors, against 'random'",
        needs=needs.FIGURE_3B,
        make=figure_product(figures.draw_figure3b),
    ),
    "figure4": Item(
        title="Figure 4: test loss over the number of factors, DVQ against VQ with equal and larger codebooks",
        needs=needs.FIGURE_4,
        make=figure_product(figures.draw_figure4),
    ),
}
