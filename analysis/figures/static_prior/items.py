"""Everything that is made of the static prior, in order."""

from __future__ import annotations

from collections.abc import Mapping

from ...items import Item
from ...output.products import figure_product
from .appendix import APPENDIX, draw_appendix
from .code_use import CODE_USE, code_use_numbers, draw_code_use
from .cost import COST, make_cost_table
from .equal_bits import EQUAL_BITS, differences, draw_equal_bits
from .factorial import FACTORIAL, draw_factorial
from .figures import draw_figure3a, draw_figure3b, draw_figure4
from .needs import FIGURE_3A, FIGURE_3B, FIGURE_4
from .rate_distortion import RATE_DISTORTION, draw_rate_distortion
from .tables import DIMENSIONS_TABLE, FACTORS_TABLE, make_dimensions_table, make_factors_table

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
    "static_prior_table": Item(
        title="Test loss of VQ and DVQ by the number of factors, with bits and parameters: the numbers of Figure 4",
        needs=FACTORS_TABLE,
        make=make_factors_table,
    ),
    "static_prior_table_dimensions": Item(
        title="Test loss of VQ by dimension and initial bound: the numbers of Figure 3(a)",
        needs=DIMENSIONS_TABLE,
        make=make_dimensions_table,
    ),
    "static_prior_appendix": Item(
        title="Appendix 7.3: test loss of plain VQ over the number of factors, for each dimension and initial bound",
        needs=APPENDIX,
        make=figure_product(draw_appendix),
    ),
    "equal_bits": Item(
        title="DVQ against VQ at equal parameters and at equal bits: paired differences of the test loss",
        needs=EQUAL_BITS,
        make=figure_product(draw_equal_bits, differences),
    ),
    "rate_distortion": Item(
        title="Distortion over rate of every quantizer, beside the curve of Gaussian data",
        needs=RATE_DISTORTION,
        make=figure_product(draw_rate_distortion),
    ),
    "code_use": Item(
        title="Share of codes that plain VQ uses and their perplexity, over dimension and initial bound",
        needs=CODE_USE,
        make=figure_product(draw_code_use, code_use_numbers),
    ),
    "static_prior_cost": Item(
        title="What fits cost by quantizer, dimension, codebook size and slices, on each machine",
        needs=COST,
        make=make_cost_table,
    ),
    "factorial": Item(
        title="Test loss on blobs of K^L factors, over the number of groups and over their dependence",
        needs=FACTORIAL,
        make=figure_product(draw_factorial),
    ),
}
