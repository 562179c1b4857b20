"""Everything that can be made, in the order in which it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from analysis.learned_prior.figures import draw_figure6
from analysis.learned_prior.needs import FIGURE_6, RECONSTRUCTIONS, TABLE_1
from analysis.learned_prior.pictures import draw_reconstructions
from analysis.learned_prior.tables import make_table1
from analysis.needs import Needs
from analysis.products import Product, figure_product
from analysis.selection import Selection
from analysis.static_prior.figures import draw_figure3a, draw_figure3b, draw_figure4
from analysis.static_prior.needs import FIGURE_3A, FIGURE_3B, FIGURE_4


@dataclass(frozen=True, kw_only=True)
class Item:
    """One figure or table; its name is that of its files."""

    title: str
    needs: Needs
    make: Callable[[Selection], Product]


ITEMS: Mapping[str, Item] = {
    "figure3a": Item(
        title="Figure 3(a): test loss of plain VQ over the dimension, for each codebook size and initial bound",
        needs=FIGURE_3A,
        make=figure_product(draw_figure3a),
    ),
    "figure3b": Item(
        title="Figure 3(b): loss over variance of plain VQ where codes are fewer than factors, against 'random'",
        needs=FIGURE_3B,
        make=figure_product(draw_figure3b),
    ),
    "figure4": Item(
        title="Figure 4: test loss over the number of factors, DVQ against VQ with equal and larger codebooks",
        needs=FIGURE_4,
        make=figure_product(draw_figure4),
    ),
    "figure6": Item(
        title="Figure 6: reconstruction loss over training steps, training and test, of every model",
        needs=FIGURE_6,
        make=figure_product(draw_figure6),
    ),
    "table1": Item(
        title="Table 1: bits per dimension of every model, with what the codes cost and without, beside published ones",
        needs=TABLE_1,
        make=make_table1,
    ),
    "reconstructions": Item(
        title="Reconstructions (appendix): test images and what every model makes of them",
        needs=RECONSTRUCTIONS,
        make=figure_product(draw_reconstructions),
    ),
}
