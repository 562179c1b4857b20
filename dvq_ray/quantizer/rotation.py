"""The rotation trick: gradients through codes as if each vector had been turned and stretched onto its code.

Fifty et al., "Restructuring vector quantization with the rotation trick", arXiv 2410.06424, section 4.2.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

_SMALLEST = 1e-6
"""Lengths below it count as this."""


def turned(vectors: Tensor, codes: Tensor) -> Tensor:
    """The `codes` [..., d], whose gradient goes to the `vectors` [..., d].

    It is turned by the angle from code to vector, in their plane, and scaled by the ratio of their lengths, both taken
    as constants. A code of its vector's direction and length passes it on as it is.
    """
    with torch.no_grad():
        lengths, code_lengths = (each.norm(dim=-1, keepdim=True).clamp(min=_SMALLEST) for each in (vectors, codes))
        start, end = vectors / lengths, codes / code_lengths
        between = torch.nn.functional.normalize(start + end, dim=-1, eps=_SMALLEST)
        scale = code_lengths / lengths
    # The paper's R e = e - 2 r (r . e) + 2 q (e . x) of unit vectors x and q with r = (x + q) / |x + q|.
    along = 2 * (vectors * between).sum(-1, keepdim=True)
    across = 2 * (vectors * start).sum(-1, keepdim=True)
    moved = (vectors - along * between + across * end) * scale
    return cast(Tensor, codes.detach() + (moved - moved.detach()))
