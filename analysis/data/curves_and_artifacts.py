"""Curves and files that a store keeps beside the rows of its cells, as far as an item draws them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from .needs import Needs
from .rows import Rows


@dataclass(frozen=True, kw_only=True)
class Beside:
    """What lies beside some rows."""

    curves: pd.DataFrame
    """`cell_id`, `step` and the curve columns of the item, a row for each logged step."""
    artifacts: Mapping[str, Mapping[str, bytes]]
    """Contents by cell id and name."""
    lacking: Mapping[str, str]
    """By cell id, what a cell lacks of all this, such as `without a curve`."""


def load_beside(rows: Rows, cells: pd.DataFrame, needs: Needs) -> Beside:
    """What `needs` asks for beside those `cells` that finished. Raises `StoreError` where a store cannot be read."""
    if not needs.curves and not needs.artifacts:
        return Beside(curves=pd.DataFrame(), artifacts={}, lacking={})
    finished = cells[cells["status"] == "ok"]
    ids = finished["cell_id"].tolist()
    lacking: dict[str, str] = {}
    curves = rows.load_curves(ids, needs.curves) if needs.curves else pd.DataFrame()
    if needs.curves:
        lacking |= _broken_curves(curves, finished, needs)
    artifacts: dict[str, dict[str, bytes]] = {}
    for name in needs.artifacts:
        for cell_id in ids:
            content = rows.read_artifact(cell_id, name)
            if content is None:
                lacking[cell_id] = f"without {name}"
            else:
                artifacts.setdefault(cell_id, {})[name] = content
    return Beside(curves=curves, artifacts=artifacts, lacking=lacking)


def _broken_curves(curves: pd.DataFrame, finished: pd.DataFrame, needs: Needs) -> dict[str, str]:
    """Cells whose curves lack steps that another repetition of their point has, or all of them.

    A column may be empty at a step where it is so in all repetitions: there is then nothing to draw.
    """
    logged: dict[str, set[tuple[str, int]]] = {}
    for column in needs.curves:
        drawn = curves[np.isfinite(curves[column].astype(float))]
        for cell_id, step in zip(drawn["cell_id"], drawn["step"], strict=True):
            logged.setdefault(str(cell_id), set()).add((column, int(step)))
    broken = {}
    for _, repetitions in finished.groupby("point_id", observed=True):
        ids = repetitions["cell_id"].tolist()
        whole = set[tuple[str, int]]().union(*(logged.get(cell_id, ()) for cell_id in ids))
        for cell_id in ids:
            held = logged.get(cell_id, set())
            if not held:
                broken[cell_id] = "without a curve"
            elif held != whole:
                broken[cell_id] = f"with {len(held)} of {len(whole)} values of its curve"
    return broken
