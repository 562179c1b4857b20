"""Everything that is made of the learned prior, in order."""

from __future__ import annotations

from collections.abc import Mapping

from ...items import Item
from ...output.products import figure_product
from .bits import draw_bits_over_slices, draw_bits_split
from .codes import dependence_numbers, draw_code_use, draw_slice_dependence, use_numbers
from .cost import make_cost
from .figures import draw_figure6
from .needs import (
    BITS_OVER_SLICES,
    BITS_SPLIT,
    CODE_USE,
    COST,
    EQUAL_BITS,
    FIGURE_6,
    RATE_DISTORTION,
    RECONSTRUCTIONS,
    SLICE_DEPENDENCE,
    TABLE_1,
)
from .pictures import draw_reconstructions
from .rate import draw_equal_bits, draw_rate_distortion
from .tables import make_table1

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
    "bits_split": Item(
        title="Bits per dimension split into reconstruction and codes, under a unigram and a uniform prior",
        needs=BITS_SPLIT,
        make=figure_product(draw_bits_split),
    ),
    "equal_bits_images": Item(
        title="Reconstruction over the bits of the codes, with lines of equal total, and over the number of parameters",
        needs=EQUAL_BITS,
        make=figure_product(draw_equal_bits),
    ),
    "rate_distortion_images": Item(
        title="Distortion of test images over the rate of their codes, under a uniform and a unigram prior",
        needs=RATE_DISTORTION,
        make=figure_product(draw_rate_distortion),
    ),
    "bits_over_slices": Item(
        title="Bits per dimension over the number of slices of DVQ at a fixed dimension, with and without the codes",
        needs=BITS_OVER_SLICES,
        make=figure_product(draw_bits_over_slices),
    ),
    "slice_dependence": Item(
        title="Dependence of the codes at a position: as trained, and of slices and random features clustered anew",
        needs=SLICE_DEPENDENCE,
        make=figure_product(draw_slice_dependence, dependence_numbers),
    ),
    "code_use_images": Item(
        title="Share of codes that images use, and perplexity over codebook size, of every model",
        needs=CODE_USE,
        make=figure_product(draw_code_use, use_numbers),
    ),
    "cost": Item(
        title="Cost of every model on each device: seconds, images per second, memory, parameters, bits of the codes",
        needs=COST,
        make=make_cost,
    ),
}
