"""Fields of quantizers that learn from fixed vectors by gradient (paper, section 4.1)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from dvq_ray.declarations.field import Axis
from dvq_ray.declarations.settings import Count, Rule, Settings
from dvq_ray.quantizer.codebook import CodebookQuantizer


class GradientSettings(Settings):
    """Adam on equation 1, over mini-batches."""

    learning_rate: Annotated[float, Field(gt=0), Axis(label="learning rate", role="training")] = 0.3
    """First step size of Adam."""
    schedule: Annotated[Literal["constant", "cosine"], Axis(label="schedule", role="training")] = "cosine"
    """How the step size goes on from there; `cosine` falls to zero over the steps."""
    steps: Annotated[Count, Axis(label="steps", role="training")] = 4000
    """Mini-batches seen."""
    batch_size: Annotated[Count, Axis(label="batch size", role="training")] = 256
    """Vectors in a mini-batch, drawn with replacement."""


_USUAL_BOUND = 1.0


def _bound_has_effect(init_bound: float, start: str) -> str | None:
    if start == "uniform" or init_bound == _USUAL_BOUND:
        return None
    return f"has no effect on codes that start = {start} picks; allowed: {_USUAL_BOUND:g}, the default"


def _enough_to_pick(start: str, codebook_size: int, train_samples: int) -> str | None:
    if start == "uniform" or codebook_size <= train_samples:
        return None
    return f"picks codebook_size = {codebook_size} of train_samples = {train_samples} vectors; allowed: uniform"


class InitialCodes(Settings):
    """Where the codes of codebooks start."""

    start: Annotated[Literal["uniform", "k-means++"], Axis(label="initial codes", role="training")] = "uniform"
    """Uniform as in the paper, wherever the vectors lie, or at training vectors that k-means++ picks for each codebook:
    far from each other, so that few clusters are left without a code."""
    init_bound: Annotated[float, Field(gt=0), Axis(label="initial bound", symbol="±", role="training")] = _USUAL_BOUND
    """Codes that start uniformly do so in [-init_bound, init_bound). Has no effect on others."""

    added: ClassVar[Mapping[str, Any]] = {"start": "uniform"}
    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(fields=("init_bound", "start"), breach=_bound_has_effect),
        Rule(fields=("start", "codebook_size", "train_samples"), breach=_enough_to_pick),
    )

    def start_seconds(self, vectors: int, features: int) -> float:
        """About how long picking the codes takes on one core of a 2026 server."""
        assert isinstance(self, CodebookQuantizer)
        if self.start == "uniform":
            return 0.0
        candidates = 2 + int(math.log(self.codebook_size))  # for each code; scikit-learn's
        products = self.products(features) + 16 * self.codebooks() * self.codebook_size
        return candidates * vectors * products * 1.2e-10
