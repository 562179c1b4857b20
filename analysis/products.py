"""What an item comes out as, and the files that it becomes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis import style
from analysis.naming import box_text
from analysis.numbers import as_csv, declared_numbers
from analysis.rows import Rows
from analysis.selection import Selection
from analysis.tables import Table

_JSON = json.JSONEncoder(allow_nan=False)
_LINES_AT_ONCE = 20_000
"""Of what is hashed: few enough to be light."""


class UnfitError(ValueError):
    """What the stores hold is all there, and yet the item cannot be made of it; says why."""


@dataclass(frozen=True, kw_only=True)
class Product:
    """An item, made."""

    files: Mapping[str, bytes]
    """Contents by suffix, such as `.svg`."""
    caption: str
    table: Table | None = None
    """What a table says, to be set again elsewhere; None for a figure."""


def figure_product(
    draw: Callable[[Selection], tuple[Figure, str]], numbers: Callable[[Selection], pd.DataFrame] = declared_numbers
) -> Callable[[Selection], Product]:
    """Makes a product of what draws a figure and says its caption, with a `.csv` of the numbers drawn.

    These are the declared metrics and curves, unless the figure draws others and brings what says them.
    """

    def make(selection: Selection) -> Product:
        with style.printed():
            figure, caption = draw(selection)
            files = {**style.rendered(figure), ".csv": as_csv(numbers(selection))}
            return Product(files=files, caption=caption)

    return make


def write_files(folder: Path, name: str, files: Mapping[str, bytes]) -> list[Path]:
    """Writes `<name><suffix>` for each suffix."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for suffix, content in files.items():
        path = folder / f"{name}{suffix}"
        path.write_bytes(content)
        written.append(path)
    return written


def sidecar(name: str, product: Product, selection: Selection, rows: Rows) -> bytes:
    """JSON of the caption, the stores, the values drawn, n of each point, holes and the digest of the rows."""
    content = {
        "item": name,
        "caption": product.caption,
        "stores": list(rows.stores),
        "only": dict(rows.only),
        "notes": list(rows.notes),
        "metrics": list(selection.needs.metrics),
        **_beside(selection),
        "grids": [
            {
                **({"label": grid.label} if grid.label else {}),
                "quantizer": grid.quantizer,
                **{k: list(v) for k, v in grid.axes.items()},
            }
            for grid in selection.grids
        ],
        "common": selection.common(),
        "n": _counts(selection),
        "holes": selection.holes(),
        "left_out": list(selection.left_out),
        "cells": len(selection.rows),
        "rows_sha256": digest(selection),
        "run_commits": sorted(selection.rows["run_commit"].dropna().unique().tolist()),
    }
    return (json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False, default=_plain) + "\n").encode()


def digest(selection: Selection) -> str:
    """SHA-256 of the rows used: a line of JSON for each cell with its id, its status and the metrics drawn.

    After these, a line for each step of their curves, where the item draws curves.
    """
    needs, curves = selection.needs, selection.beside.curves
    tables = [selection.rows[["cell_id", "status", *needs.metrics]]]
    if needs.curves:
        tables.append(curves[curves["cell_id"].isin(selection.rows["cell_id"])][["cell_id", "step", *needs.curves]])
    sha = hashlib.sha256()
    for table in tables:
        for start in range(0, len(table), _LINES_AT_ONCE):
            some = table[start : start + _LINES_AT_ONCE]
            texts = [_json_texts(some[name]) for name in some]
            sha.update("".join(f"[{', '.join(line)}]\n" for line in zip(*texts, strict=True)).encode())
    return sha.hexdigest()


def _json_texts(column: pd.Series[Any]) -> list[str]:
    """Each value as `json.dumps` writes it; what is no number as null. Raises `ValueError` for one that is infinite."""
    values = column.tolist()
    if column.dtype == np.float64 and not np.isinf(column).any():
        return [repr(value) if value == value else "null" for value in values]  # as json does, and many times faster
    if column.dtype == np.int64:
        return [str(value) for value in values]
    return [_JSON.encode(_plain(value)) for value in values]


def _beside(selection: Selection) -> dict[str, Any]:
    """Columns of curves and digests of files, where the item draws such."""
    found: dict[str, Any] = {"curves": list(selection.needs.curves)} if selection.needs.curves else {}
    if selection.needs.artifacts:
        found["artifacts_sha256"] = {
            f"{cell_id}/{name}": hashlib.sha256(content).hexdigest()
            for cell_id, files in sorted(selection.beside.artifacts.items())
            for name, content in sorted(files.items())
        }
    return found


def _counts(selection: Selection) -> dict[str, int]:
    counts = {}
    for grid in selection.grids:
        for point in selection.points(grid.name, selection.needs.metrics[0]).to_dict("records"):
            box = [(point[axis],) for axis in grid.axes]
            counts[box_text(grid.name, grid.axes, box)] = int(point["n"])
    return counts


def _plain(value: Any) -> Any:
    """A value of numpy as Python's own; what is no number as None."""
    plain = value.tolist() if isinstance(value, np.ndarray | np.generic) else value
    if isinstance(plain, list):
        return [_plain(each) for each in plain]
    return None if plain != plain else plain
