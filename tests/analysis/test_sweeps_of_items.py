"""The sweep files that items name as the providers of their cells."""

from __future__ import annotations

from pathlib import Path

import pytest

from analysis.figures import ITEMS
from dvq_ray.sweep.cells import expand
from dvq_ray.sweep.spec import load_sweep

ROOT = Path(__file__).parents[2]
SWEEPS = sorted(
    {path for item in ITEMS.values() for path in item.needs.sweeps if not Path(path).stem.startswith("search")}
)


@pytest.mark.parametrize("path", [path for path in SWEEPS if not path.endswith(("_full.yaml", "code_prior.yaml"))])
def test_points_of_a_quantizer_start_alike_for_an_item_compares_them(path: str) -> None:
    """Another start belongs in a sweep of its own: items refuse to draw unequal starts as one line."""
    starts: dict[str, set[tuple[object, object]]] = {}
    for cell in expand(load_sweep(ROOT / path))[0]:
        settings = cell.point.settings
        start = (getattr(settings, "start", None), getattr(settings, "restarts", None))
        starts.setdefault(cell.quantizer, set()).add(start)
    assert {quantizer: len(found) for quantizer, found in starts.items()} == dict.fromkeys(starts, 1)
