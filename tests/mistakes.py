"""What is wrong with a sweep file."""

from __future__ import annotations

from pathlib import Path

import pytest

from dvq_ray.problems import SweepFileError
from dvq_ray.sweep.spec import load_sweep


def problems(path: Path, *overrides: str) -> list[str]:
    """What is wrong with the file, which is called FILE in it."""
    with pytest.raises(SweepFileError) as caught:
        load_sweep(path, overrides)
    return [str(problem).replace(str(path), "FILE") for problem in caught.value.problems]
