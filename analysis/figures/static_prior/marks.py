"""What the figures of the static prior share: labels, entries of legends, and rows of their tables."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.lines import Line2D

from ...draw.panels import handle
from ...draw.style import GREY, Look, vq_look
from ...naming import number

LOSS = "test loss: mean squared error\nper dimension"
FACTORS = "number of factors F (Gaussian blobs)"
DIMENSION = "dimension D (features of a vector)"
ANY = Look(colour=GREY, marker="o")
"""A model of whatever size, in legends."""


def sizes_legend(sizes: Sequence[int]) -> list[Line2D]:
    """An entry for each codebook size of a plain VQ; the first spells out what K is."""
    first, *rest = sizes
    spelled_out = handle(vq_look(first), f"codebook size K = {number(first)}")
    return [spelled_out, *(handle(vq_look(size), f"K = {number(size)}") for size in rest)]
