"""What the key `sampler` of a search takes: the name of a sampler, or a mapping with its name and options.

The options are those of Optuna's sampler of that name, as far as they change what it draws.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

HUB = "optunahub:"
"""What the name of a sampler of OptunaHub begins with; its path there follows, such as `samplers/auto_sampler`."""
_Count = Annotated[int, Field(ge=1, le=100_000)]
_Share = Annotated[float, Field(ge=0, le=1)]


class SamplerOptions(BaseModel):
    """Options of a sampler; None leaves the choice to Optuna."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class RandomOptions(SamplerOptions):
    """Uniform draws."""


class TpeOptions(SamplerOptions):
    """Tree-structured Parzen estimators (Bergstra et al. 2011; multivariate after Falkner et al. 2018)."""

    n_startup_trials: _Count = 5
    """Suggestions that are drawn at random first: searches of quantizers are tens of suggestions long."""
    n_ei_candidates: _Count = 24
    multivariate: bool = True
    """Whether fields are modelled together."""


class GpOptions(SamplerOptions):
    """A Gaussian process, and the expected improvement under it."""

    n_startup_trials: _Count = 5
    deterministic_objective: bool = False
    """Whether values are taken to be without noise."""


class CmaesOptions(SamplerOptions):
    """CMA-ES (Hansen and Ostermeier 2001)."""

    n_startup_trials: _Count = 1
    sigma0: Annotated[float, Field(gt=0)] | None = None
    popsize: Annotated[int, Field(ge=2, le=100_000)] | None = None
    use_separable_cma: bool = False
    with_margin: bool = False

    @model_validator(mode="after")
    def _one_of_both(self) -> CmaesOptions:
        if self.use_separable_cma and self.with_margin:
            raise PydanticCustomError("option", "use_separable_cma does not go with with_margin; keep one")
        return self


class GeneticOptions(SamplerOptions):
    """NSGA-II (Deb et al. 2002) and NSGA-III (Deb and Jain 2014)."""

    population_size: Annotated[int, Field(ge=2, le=10_000)] = 16
    """Optuna takes 50, which a search of tens of suggestions never gets past."""
    mutation_prob: _Share | None = None
    crossover_prob: _Share = 0.9
    swapping_prob: _Share = 0.5


OPTIONS: Mapping[str, type[SamplerOptions]] = {
    "tpe": TpeOptions, "gp": GpOptions, "cmaes": CmaesOptions, "random": RandomOptions, "nsga2": GeneticOptions,
    "nsga3": GeneticOptions,
}  # fmt: skip
"""By the name of the sampler."""
SamplerName = Literal["tpe", "gp", "cmaes", "random", "nsga2", "nsga3"]
STATEFUL = frozenset({"cmaes", "nsga2", "nsga3"})
"""Samplers that keep what they have learnt beside the values that they were told."""


def resolved(name: str, given: Mapping[str, Any]) -> Mapping[str, Any]:
    """The options of a sampler with their defaults; those of OptunaHub are passed on as they are.

    Raises a pydantic `ValidationError`.
    """
    if name.startswith(HUB):
        return dict(given)
    return OPTIONS[name].model_validate(dict(given)).model_dump()
