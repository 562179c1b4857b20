"""Everything that is made of the static prior, in order."""

from __future__ import annotations

from collections.abc import Mapping

from analysis.items import Item
from analysis.products import figure_product
from analysis.static_prior.figures import draw_figure3a, draw_figure3b, draw_figure4
from analysis.static_prior.needs import FIGURE_3A, FIGURE_3B, FIGURE_4

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
}
