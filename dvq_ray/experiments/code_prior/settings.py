"""The fields of the experiment `code_prior`: what the codes of another store's cells cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from dvq_ray.declarations.field import Axis
from dvq_ray.declarations.metric import Metric
from dvq_ray.declarations.settings import Owner, Rule, Settings
from dvq_ray.declarations.values import NOWHERE
from dvq_ray.experiments.code_prior.registry import PRIORS, find_prior, ladder
from dvq_ray.providers import ProviderError, Providers
from dvq_ray.quantizer.base import Quantizer

OWN_FIELDS = ("prior_width", "prior_convolutions", "prior_steps", "prior_learning_rate", "prior_batch_positions")
"""Fields of some priors alone."""
_GUESSED_POSITIONS, _GUESSED_SAMPLES = 64, 6000
"""For the expected time, before any codes are read."""


def _full_name(prior: str) -> str:
    try:
        return PRIORS.find(prior, ladder()).name
    except ProviderError as error:
        raise PydanticCustomError(NOWHERE, "{reason}", {"reason": str(error)}) from error


def _takes(prior: str, field: str) -> bool:
    return field in find_prior(prior).takes


def _default(field: str, value: Any) -> Any:
    """Takes the value where the prior has the field, and else one that says that it has not."""
    nothing = type(value)(0)

    def of(others: Mapping[str, Any]) -> Any:
        prior = others.get("prior")  # missing where it is wrong, which is reported
        return value if isinstance(prior, str) and _takes(prior, field) else nothing

    return Field(default_factory=of, ge=0)


def _rule(field: str) -> Rule:
    def breach(value: float, prior: str) -> str | None:
        takes = _takes(prior, field)
        if value and not takes:
            having = [name for name in ladder() if _takes(name, field)]
            return f"is not a field of {prior}, only of {', '.join(having)}; give those a grid of their own"
        return "is too small; allowed: above 0" if takes and not value else None

    return Rule(fields=(field, "prior"), breach=breach)


class CodePriorSettings(Settings):
    """Whose codes, and which prior. The quantizer's fields are those of the cells that kept the codes.

    A repetition is of the codes of the repetition with the same seed, which also draws the prior's training: a cell's
    id names its parent's. Fields that a prior does not have are 0 in its id, and empty in its row.
    """

    provided: ClassVar[Mapping[str, Providers[Any]]] = {"prior": PRIORS}
    owned: ClassVar[Mapping[str, Owner]] = {
        name: Owner(field="prior", has=partial(_takes, field=name)) for name in OWN_FIELDS
    }

    parent_point_id: Annotated[str, Field(pattern="^[0-9a-f]{16}$"), Axis(label="point of the parent", is_id=True)]
    """Point id of the cells whose codes are learned, in the store that `codes_of` names."""
    prior: Annotated[str, AfterValidator(_full_name), Axis(label="prior", example=["uniform", "unigram", "chain"])]
    """`uniform`, `unigram`, `positional` (a table for each position), `chain` (each codebook given those before it at
    the position), `spatial` (a masked convolution over positions, and the chain), or one of your own."""
    prior_width: Annotated[int, _default("prior_width", 64), Field(le=256), Axis(label="width of the prior")]
    """Features of a position in the network."""
    prior_convolutions: Annotated[int, _default("prior_convolutions", 3), Field(le=64), Axis(label="convolutions")]
    """The first one of 5x5, the others of 3x3."""
    prior_steps: Annotated[int, _default("prior_steps", 1500), Axis(label="steps of the prior", role="training")]
    """At most: the weights are those with which held-out training codes cost least."""
    prior_learning_rate: Annotated[
        float, _default("prior_learning_rate", 3e-3), Axis(label="learning rate of the prior", role="training")
    ]
    """First step size of Adam."""
    prior_batch_positions: Annotated[
        int, _default("prior_batch_positions", 2048), Axis(label="positions of a batch", role="training")
    ]
    """Codes of whole samples: at least one, at most so many positions."""
    coded: Annotated[bool, Axis(label="coded", role="training")] = False
    """Whether the test codes are written as bytes, read again and compared."""

    rules = tuple(_rule(field) for field in OWN_FIELDS)

    def code_bits(self) -> float:
        """Of the codes of a vector, or a position: a share of them where a code stands for several positions."""
        assert isinstance(self, Quantizer)
        return self.bits()

    def nominal_seconds(self) -> float:
        """A training and a pass over all codes, for a guess of how many there are: no file is read for it."""
        assert isinstance(self, Quantizer)
        sizes = self.codebook_sizes()
        heads = sum(self.prior_width * (self.prior_width + size) for size in sizes)
        taps = 12 + 5 * (self.prior_convolutions - 1) if self.prior_convolutions else 0
        products = heads + taps * self.prior_width**2
        training = self.prior_steps * self.prior_batch_positions * products * 7e-11
        passes = _GUESSED_SAMPLES * _GUESSED_POSITIONS * (products * 1e-10 + sum(sizes) * 1e-8)
        return 0.2 + training + passes * (2 if self.coded else 1)


def fields_for(quantizer: type[Quantizer]) -> Sequence[type[Settings]]:
    """Codes of every quantizer have a prior."""
    return (CodePriorSettings,)


def _rate(label: str) -> Metric:
    return Metric(label=label, unit="bits per image or vector", better="lower")


@dataclass(frozen=True, kw_only=True)
class CodePriorMetrics:
    """What a finished cell measured. A sample is an image or a vector; without `train_` a number is of test samples."""

    code_bits_per_sample: Annotated[float, _rate("rate of the codes")]
    """What the codes of a test sample cost."""
    train_code_bits_per_sample: Annotated[float, _rate("rate of the training codes")]
    """The same of training samples."""
    uniform_bits_per_sample: Annotated[float, Metric(label="nominal rate", unit="bits per image or vector")]
    """All codes being equally likely."""
    code_bits_over_uniform: Annotated[float, Metric(label="rate / nominal rate", better="lower")]
    """`code_bits_per_sample / uniform_bits_per_sample`."""
    code_bits_per_dim: Annotated[float, Metric(label="codes", unit="bits/dim", better="lower")]
    """What codes cost for each number that they stand for: a colour of a pixel, or a dimension of a vector."""
    reconstruction_bits_per_dim: Annotated[
        float | None, Metric(label="reconstruction", unit="bits/dim", better="lower")
    ]
    """The parent's: what its decoder needs given the codes. None where it has no such decoder."""
    total_bits_per_dim: Annotated[float | None, Metric(label="with codes", unit="bits/dim", better="lower")]
    """Their sum, a bound of the likelihood; None where there is no reconstruction in bits."""
    parent_loss: Annotated[float, Metric(label="main metric of the parent", better="lower")]
    """The parent's metric `parent_metric`."""
    parent_metric: Annotated[str, Metric(label="name of the parent's main metric")]
    """Of the column."""
    coded_bytes: Annotated[int | None, Metric(label="coded test codes", unit="bytes", better="lower")]
    """All test codes as entropy-coded bytes, without the prior and what tells it from others; None unless `coded`."""
    coded_over_likelihood: Annotated[float | None, Metric(label="bytes over likelihood")]
    """What the bytes take beyond `code_bits_per_sample`, relative to it; None unless `coded`."""
    prior_bytes: Annotated[int, Metric(label="size of the prior", unit="bytes", better="lower")]
    """Of the numbers that a decoder needs to have: not part of `coded_bytes`."""
    prior_parameters: Annotated[int, Metric(label="parameters of the prior", is_size=True)]
    """Numbers that the prior holds."""
    stopped_at_step: Annotated[int | None, Metric(label="step of the weights")]
    """Of the training, where held-out codes cost least; None for priors that are counted."""
    parent_cell_id: Annotated[str, Metric(label="cell of the parent")]
    """The cell whose codes these are."""
    parent_trainable: Annotated[str, Metric(label="experiment of the parent")]
    """Its experiment."""
    parent_sweep: Annotated[str, Metric(label="sweep of the parent")]
    """The sweep that computed it."""
    dimension: Annotated[int, Metric(label="dimension")]
    """Features of what the parent quantizes: of the latent at a position, or of a vector."""
    train_rows: Annotated[int, Metric(label="training rows")]
    """Samples that the prior was fitted to, those included that were held out."""
    test_rows: Annotated[int, Metric(label="test rows")]
    data_sha256: Annotated[str | None, Metric(label="digest of the parent's data", is_condition=True)]
    """None where the parent draws its data."""
    codes_sha256: Annotated[str, Metric(label="digest of the codes")]
    """SHA-256 of the parent's file of codes."""


@dataclass(frozen=True, kw_only=True)
class CodePriorCurve:
    """What is logged 25 times during a training."""

    step: Annotated[int, Metric(label="training step")]
    held_out_bits_per_sample: Annotated[float, _rate("rate of held-out codes")]
    """On a tenth of the training samples, before weights are rounded."""
