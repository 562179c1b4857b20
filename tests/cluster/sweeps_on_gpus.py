"""The project's sweeps that ask for GPUs."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from dvq_ray.sweep.spec import Resources, load_sweep


@cache
def on_gpus() -> Mapping[str, Resources]:
    """What a trial of each takes, by the name of its file. Loading all sweeps takes seconds."""
    paths = [path for path in sorted(Path("sweeps").glob("*.yaml")) if "codes_of" not in path.read_text()]
    found = {path.name: load_sweep(path).resources for path in paths}
    return {name: wanted for name, wanted in found.items() if wanted.gpu}
