"""What the figures of the static prior share: labels, entries of legends, and rows of their tables."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D

from ...data.needs import Grid
from ...data.selection import Selection
from ...draw.panels import handle
from ...draw.style import GREY, Look, vq_look
from ...naming import number

LOSS = "test loss: mean squared error\nper dimension"
FACTORS = "number of factors F (Gaussian blobs)"
DIMENSION = "dimension D (features of a vector)"
NAMES = {"vq": "VQ", "dvq": "DVQ", "kmeans": "k-means"}
"""Of quantizers, in the order in which they are listed."""
ANY = Look(colour=GREY, marker="o")
"""A model of whatever size, in legends."""


def grid_of(selection: Selection, quantizer: str) -> Grid:
    """The grid that must be there."""
    grid = selection.grid(quantizer)
    assert grid is not None
    return grid


def at(table: pd.DataFrame, **values: float) -> pd.DataFrame:
    """The rows with these values."""
    return table[np.logical_and.reduce([table[column].to_numpy() == value for column, value in values.items()])]


def sizes_legend(sizes: Sequence[int]) -> list[Line2D]:
    """An entry for each codebook size of a plain VQ; the first spells out what K is."""
    first, *rest = sizes
    spelled_out = handle(vq_look(first), f"codebook size K = {number(first)}")
    return [spelled_out, *(handle(vq_look(size), f"K = {number(size)}") for size in rest)]
