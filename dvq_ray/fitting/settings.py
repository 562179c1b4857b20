"""Fields of quantizers that learn from fixed vectors by gradient (paper, section 4.1)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from dvq_ray.declarations.field import Axis
from dvq_ray.declarations.settings import Count, Settings


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


class UniformStart(Settings):
    """Codebooks that start as in the paper, wherever the vectors lie."""

    init_bound: Annotated[float, Field(gt=0), Axis(label="initial bound", symbol="±", role="training")] = 1.0
    """Initial codes are uniform in [-init_bound, init_bound)."""
