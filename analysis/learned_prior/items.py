"""Everything that is made of the learned prior, in order."""

from __future__ import annotations

from collections.abc import Mapping

from analysis.items import Item
from analysis.learned_prior.figures import draw_figure6
from analysis.learned_prior.needs import FIGURE_6, RECONSTRUCTIONS, TABLE_1
from analysis.learned_prior.pictures import draw_reconstructions
from analysis.learned_prior.tables import make_table1
from analysis.products import figure_product

ITEMS: Mapping[str, Item] = {
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
