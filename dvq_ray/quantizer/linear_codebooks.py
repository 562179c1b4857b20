"""Codebooks that are a fixed matrix times a learned one (Zhu et al., arXiv 2411.02038)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dvq_ray.quantizer.codebooks import INITIAL_DEVIATION, Codebooks, GradientCodebooks, Learning


class LinearCodebooks(GradientCodebooks):
    """Codes [L, K, d]: fixed ones [L, K, d] times a matrix [L, d, d] that learns by gradient and starts as identity."""

    fixed: Tensor

    def __init__(self, codes: Tensor) -> None:
        super(GradientCodebooks, self).__init__()
        # Of deviation 1 / sqrt(d), as in vector-quantize-pytorch and the paper's code.
        self.register_buffer("fixed", codes / INITIAL_DEVIATION * codes.shape[2] ** -0.5)
        self.matrix = nn.Parameter(torch.eye(codes.shape[2]).expand(len(codes), -1, -1).clone())

    @property
    def codes(self) -> Tensor:  # type: ignore[override]
        """The product: [L, K, d]."""
        return self.fixed @ self.matrix

    def move(self, chosen: Tensor, vectors: Tensor) -> None:
        """Cannot be done: one matrix places all codes."""
        raise ValueError("the codes of one matrix cannot be moved one by one; allowed: codes that start as they are")


@dataclass(frozen=True, kw_only=True)
class LinearLearning(Learning):
    """Learning by the matrix alone."""

    def codebooks(self, codes: Tensor) -> Codebooks:
        """Codebooks of `codes` [L, K, d] and a matrix each."""
        return LinearCodebooks(codes)
