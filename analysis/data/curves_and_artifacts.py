"""Curves and files that a store keeps beside the rows of its cells, as far as an item draws them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from .needs import Needs
from .rows import Rows


@dataclass(frozen=True, kw_only=True)
class CurvesAndArtifacts:
    """What a store keeps beside some rows."""

    curves: pd.DataFrame = field(default_factory=pd.DataFrame)
    """`cell_id`, `step` and the curve columns of the item, a row for each logged step."""
    artifacts: Mapping[str, Mapping[str, bytes]] = field(default_factory=dict)
    """Contents by cell id and name."""
    missing: Mapping[str, str] = field(default_factory=dict)
    """By cell id, what of all this is missing, such as `without a curve`."""


def load_curves_and_artifacts(rows: Rows, cells: pd.DataFrame, needs: Needs) -> CurvesAndArtifacts:
    """What `needs` asks for beside those `cells` that finished. Raises `StoreError` where a store cannot be read."""
    finished = cells[cells["status"] == "ok"] if needs.curves or needs.artifacts else cells[:0]
    curves = rows.load_curves(finished["cell_id"].tolist(), needs.curves) if needs.curves else pd.DataFrame()
    curves = curves.replace([np.inf, -np.inf], np.nan)
    missing = _broken_curves(curves, finished, needs)
    artifacts: dict[str, dict[str, bytes]] = {}
    for name in needs.artifacts:
        for cell_id in finished["cell_id"]:
            content = rows.read_artifact(cell_id, name)
            if content is None:
                missing[cell_id] = f"without {name}"
            else:
                artifacts.setdefault(cell_id, {})[name] = content
    return CurvesAndArtifacts(curves=curves, artifacts=artifacts, missing=missing)


def _broken_curves(curves: pd.DataFrame, finished: pd.DataFrame, needs: Needs) -> dict[str, str]:
    """Cells whose curves have no value at steps where another repetition of their point has one.

    A column may be empty at a step where it is so in all repetitions: there is then nothing to draw.
    """
    logged: dict[str, set[tuple[str, int]]] = {}
    for column in needs.curves:
        drawn = curves[np.isfinite(curves[column].astype(float))]
        for cell_id, step in zip(drawn["cell_id"], drawn["step"], strict=True):
            logged.setdefault(str(cell_id), set()).add((column, int(step)))
    broken = {}
    for _, repetitions in finished.groupby("point_id", observed=True):
        ids = repetitions["cell_id"].tolist() if needs.curves else []
        whole = set[tuple[str, int]]().union(*(logged.get(cell_id, ()) for cell_id in ids))
        for cell_id in ids:
            held = logged.get(cell_id, set())
            if not held:
                broken[cell_id] = "without a curve"
            elif held != whole:
                broken[cell_id] = f"with {len(held)} of {len(whole)} values of its curve"
    return broken
