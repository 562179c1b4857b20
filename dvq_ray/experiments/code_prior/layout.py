"""Where codes lie: on a grid of positions, one of each codebook at a position.

Letters in shapes: N samples, P positions in raster order, L codes at a position.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Codes = npt.NDArray[np.int64]
"""[N, P, L]"""


@dataclass(frozen=True)
class Layout:
    """The grid, and which codebook each of its codes is of.

    Codes are in raster order, those of a position in the order of their codebooks. Priors predict them in that order.
    """

    height: int
    width: int
    sizes: tuple[int, ...]
    """Of the codebooks."""
    shared: bool
    """Whether all positions have a code of each codebook. Otherwise each has one code, and codebooks have runs of
    positions of equal length (SVQ)."""

    @property
    def positions(self) -> int:
        """Of the grid."""
        return self.height * self.width

    @property
    def codes(self) -> int:
        """At a position."""
        return len(self.sizes) if self.shared else 1

    def codebook(self, position: int, place: int) -> int:
        """Of the code with the number `place` at a position."""
        return place if self.shared else position * len(self.sizes) // self.positions

    def size(self, position: int, place: int) -> int:
        """Of that codebook."""
        return self.sizes[self.codebook(position, place)]

    @property
    def uniform_bits(self) -> float:
        """Of all codes of a sample, all being equally likely."""
        return sum(
            math.log2(self.size(position, place)) for position in range(self.positions) for place in range(self.codes)
        )

    def pooled(self, codes: Codes) -> list[npt.NDArray[np.int64]]:
        """The codes of each codebook, of all samples and positions: [codebooks] of [codes]."""
        if self.shared:
            return [codes[:, :, place].ravel() for place in range(self.codes)]
        return [run.ravel() for run in np.split(codes[:, :, 0], len(self.sizes), axis=1)]


def arranged(
    codes: npt.NDArray[Any], sizes: Sequence[int], *, positionwise: bool, joint_positions: int = 1
) -> tuple[Codes, Layout]:
    """Kept codes on their grid.

    `codes` is [N, codebooks], of vectors, or [N, codebooks, codes of each], of images, whose latents are squares. A
    code stands for `joint_positions` neighbouring ones of these, in raster order. Raises ValueError where there is a
    code that its codebook does not have, or where the codes are not of these codebooks.
    """
    if codes.ndim not in (2, 3) or codes.shape[1] != len(sizes):
        raise ValueError(f"codes of shape {list(codes.shape)} are not of {len(sizes)} codebooks")
    for book, size in enumerate(sizes):
        if (largest := int(codes[:, book].max(initial=0))) >= size:
            raise ValueError(f"the code {largest} in codebook {book}, which has {size}")
    whole = codes.astype(np.int64)
    if codes.ndim == 2:
        return whole[:, None, :], Layout(1, 1, tuple(sizes), shared=True)
    placed = np.ascontiguousarray(whole.transpose(0, 2, 1)) if positionwise else whole.reshape(len(whole), -1, 1)
    return placed, Layout(*_grid(placed.shape[1], joint_positions), tuple(sizes), shared=positionwise)


def kept(codes: Codes, layout: Layout, *, vectors: bool) -> npt.NDArray[np.int64]:
    """The codes of a grid as they are kept: what `arranged` takes. `vectors` says that their samples are vectors."""
    if vectors:
        return codes[:, 0]
    return codes.transpose(0, 2, 1) if layout.shared else codes.reshape(len(codes), len(layout.sizes), -1)


def _grid(codes: int, joint_positions: int) -> tuple[int, int]:
    """Rows and columns of codes: those of a square, where they make one, else a single row."""
    side = math.isqrt(codes * joint_positions)
    if side * side == codes * joint_positions and side % joint_positions == 0:
        return side, side // joint_positions
    return (codes, 1) if joint_positions % side == 0 else (1, codes)
