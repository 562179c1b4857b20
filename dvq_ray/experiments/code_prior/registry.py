"""Priors by name: the files in `priors/`, those of an installed package, or of a module of the user's own."""

from __future__ import annotations

from typing import Any

from dvq_ray.experiments.code_prior.prior import Prior
from dvq_ray.providers import Providers


def _check(value: Any, name: str) -> type[Prior]:
    if not (isinstance(value, type) and issubclass(value, Prior)):
        raise ValueError(f"{value!r:.80} is no subclass of dvq_ray.experiments.code_prior.prior.Prior")
    if not hasattr(value, "fitted") or value.fit.__func__ is Prior.fit.__func__:  # type: ignore[attr-defined]
        raise ValueError(f"{value.__name__} lacks fitted or fit")
    return value


PRIORS: Providers[type[Prior]] = Providers(
    "prior", package="dvq_ray.experiments.code_prior.priors", attribute="PRIOR", check=_check
)


def find_prior(name: str) -> type[Prior]:
    """The prior of that name. Raises `ProviderError`."""
    return PRIORS.find(name).value


def ladder() -> list[str]:
    """The built-in priors, from what knows least to what knows most."""
    return sorted(PRIORS.built_in(), key=lambda name: find_prior(name).rank)
