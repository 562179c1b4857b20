"""Quantizers of blobs on a product of sets: the paper's K^L factors (section 3.1).

Each group of features has centres of its own and picks one of them. With m centres in each of L groups there are m^L
blobs, which L codebooks of m codes could tell apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from pydantic import Field

from dvq_ray.declarations.field import Axis
from dvq_ray.declarations.settings import Count, Rule, Settings
from dvq_ray.experiment.experiment import Experiment
from dvq_ray.experiments.static_prior.settings import (
    BlobSettings,
    StaticPriorCurve,
    StaticPriorMetrics,
    training_fields,
)
from dvq_ray.models.files import FILES as MODEL_FILES
from dvq_ray.quantizer import kept_codes
from dvq_ray.quantizer.base import Quantizer
from dvq_ray.quantizer.slices import slices_divide
from dvq_ray.streams import stream

if TYPE_CHECKING:
    from dvq_ray.experiments.static_prior.blobs import Blobs


class FactorialSettings(BlobSettings):
    """Blobs on a product of sets."""

    groups: Annotated[Count, Axis(label="groups", symbol="G", role="data", example=4)]
    """Equal parts of the features, each with centres of its own: L in the paper's K^L."""
    centres: Annotated[Count, Axis(label="centres of each group", symbol="m", role="data", example=4)]
    """Of each group: K in the paper's K^L."""
    dependence: Annotated[float, Field(ge=0, le=1), Axis(label="dependence of the groups", role="data")] = 0.0
    """Chance that a group picks the centre with the number that the sample's groups share, in place of one of its own.
    How often each centre is picked stays the same; 0 is independent groups, 1 as many blobs as centres."""
    mixing: Annotated[float, Field(ge=0, le=1), Axis(label="mixing of the features", role="data", neutral=0.0)] = 0.0
    """How far the features are rotated into each other: 0 leaves the groups in features of their own, 1 is close to a
    random rotation, after which no cut of the features separates them."""
    train_samples: Annotated[Count, Axis(label="training vectors", role="data")] = 16384
    """Vectors to train on."""

    rules: ClassVar[tuple[Rule, ...]] = (Rule(fields=("groups", "dimension"), breach=slices_divide),)

    added: ClassVar[Mapping[str, Any]] = {"mixing": 0.0}

    def draw(self, seed: int) -> Blobs:
        """Blobs around every combination of the groups' centres."""
        from dvq_ray.experiments.static_prior.blobs import Blobs, draw_factorial_blobs, mixed_features

        drawn = draw_factorial_blobs(
            groups=self.groups, centres=self.centres, dependence=self.dependence, **self._sizes(seed)
        )
        if not self.mixing:
            return drawn
        both = np.concatenate([drawn.train, drawn.test])
        both = mixed_features(both, self.mixing, stream(seed, "mixing of the features"))
        return Blobs(train=both[: len(drawn.train)], test=both[len(drawn.train) :])


def fields_for(quantizer: type[Quantizer]) -> Sequence[type[Settings]]:
    """What a quantizer of factorial blobs takes besides its own fields."""
    return (FactorialSettings, *training_fields(quantizer))


EXPERIMENT = Experiment(
    name="factorial_prior",
    label="factorial prior",
    revision=1,
    fields_for=fields_for,
    metrics=StaticPriorMetrics,
    main_metric="test_mse",
    curve=StaticPriorCurve,
    run="dvq_ray.experiments.static_prior.run:run",
    batches_on_gpu=True,
    usual_quantizer="dvq",
    keeps={"codes": (kept_codes.FILE,), "model": MODEL_FILES},
    model="dvq_ray.models.codec_model:CodecModel",
    seeds_by=("groups", "centres", "dependence", "mixing"),
)
