"""Widths at which a GPU's tensor cores work at full speed: zeros are added to others while they are computed with.

NVIDIA, "Deep Learning Performance: Matrix Multiplication Background": dimensions should be multiples of 16 bytes, 8
numbers of bfloat16, and best of 128 bytes, 64 numbers.
"""

from __future__ import annotations

import torch
from torch import Tensor

_WIDTHS = ((64, 1 / 16), (8, 1 / 8))
"""Multiples, from the best one, and the share of a width that may be added to reach it: more does not pay."""


def aligned_width(width: int) -> int:
    """The width to compute with instead of `width`: itself, where it is aligned or aligning it would cost too much.

    >>> [aligned_width(width) for width in (127, 255, 2550, 64, 30, 100, 3)]
    [128, 256, 2560, 64, 32, 104, 3]
    """
    for multiple, most in _WIDTHS:
        aligned = -(-width // multiple) * multiple
        if aligned - width <= most * width:
            return aligned
    return width


def widened(tensor: Tensor, dimension: int, width: int) -> Tensor:
    """`tensor` with zeros behind its last row of `dimension`, so that there are `width`; itself where there are."""
    missing = width - tensor.shape[dimension]
    if not missing:
        return tensor
    behind = tensor.ndim - 1 - dimension % tensor.ndim
    return torch.nn.functional.pad(tensor, (0, 0) * behind + (0, missing))
