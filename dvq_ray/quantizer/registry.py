"""Quantizers by name: built in, of an installed package, or of a module of the user's own."""

from __future__ import annotations

import inspect
from typing import Any

from dvq_ray.providers import Providers
from dvq_ray.quantizer.base import Quantizer


def _check(value: Any, name: str) -> type[Quantizer]:
    if isinstance(value, Quantizer):
        raise ValueError(
            f"it is an instance of {type(value).__name__}; give the class itself, a sweep file sets the fields"
        )
    if not inspect.isclass(value) or not issubclass(value, Quantizer):
        raise ValueError(f"{value!r:.80} is no subclass of dvq_ray.Quantizer")
    if not (value.learns_by_gradient() or value.is_fitted()):
        raise ValueError(f"{value.__name__} has neither build nor fit: nothing would compute it")
    if value.learns_by_gradient() and value.is_fitted():
        raise ValueError(f"{value.__name__} has build and fit; keep one, which says how it learns")
    if missing := sorted(value.__abstractmethods__):
        raise ValueError(f"{value.__name__} lacks {' and '.join(missing)}")
    return value


QUANTIZERS: Providers[type[Quantizer]] = Providers(
    "quantizer", package="dvq_ray.quantizers", attribute="QUANTIZER", check=_check
)
