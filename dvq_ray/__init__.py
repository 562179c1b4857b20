"""Distributed sweeps of vector quantizers: VQ, depthwise VQ and their kin, from a YAML file to Parquet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dvq_ray.store.results import load_results as load_results

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # Only who loads results waits for pandas and pyarrow.
    if name == "load_results":
        from dvq_ray.store.results import load_results

        return load_results
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
