"""The JSON beside an item: its caption, what it was made from, and a digest that is equal for equal rows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from dvq_ray.store import SUGGESTION

from ..data.points import floats
from ..data.rows import Rows
from ..data.selection import Selection
from .product import Product


def sidecar(name: str, product: Product, selection: Selection, rows: Rows) -> bytes:
    """JSON of message and caption, the stores, the values drawn, n of each point, holes and the digest of the rows."""
    needs = selection.needs
    return as_json(
        {
            "item": name,
            **({"message": product.message} if product.message else {}),
            "caption": product.caption,
            **provenance(rows),
            "metrics": list(needs.metrics),
            **({"curves": list(needs.curves)} if needs.curves else {}),
            **({"artifacts_sha256": _artifact_digests(selection)} if needs.artifacts else {}),
            "grids": [
                {
                    **({"label": grid.label} if grid.label else {}),
                    "quantizer": grid.quantizer,
                    **{axis: list(values) for axis, values in grid.axes.items()},
                }
                for grid in selection.grids
            ],
            "common": selection.common(),
            "n": {
                text: n
                for grid in selection.grids
                for text, n in zip(grid.texts(), grid.means(needs.metrics[0])["n"].tolist(), strict=True)
            },
            "holes": selection.holes(),
            "left_out": list(selection.left_out),
            "not_shown": not_shown(selection, rows),
            "cells": len(selection.rows),
            "rows_sha256": digest(selection),
            "run_commits": commits(selection.rows),
        }
    )


def not_shown(selection: Selection, rows: Rows) -> dict[str, int]:
    """By quantizer, how many of the experiment's cells are not among the selection's. A search shows all of its own."""
    of_grids = selection.rows
    if SUGGESTION in of_grids:
        of_grids = of_grids[of_grids[SUGGESTION].isna()]
    every, shown = (_by_quantizer(frame) for frame in (rows.of(selection.needs.trainable), of_grids))
    left = every.sub(shown, fill_value=0).sort_index()
    return {str(quantizer): int(count) for quantizer, count in left.items() if count > 0}


def _by_quantizer(frame: pd.DataFrame) -> pd.Series[int]:
    counts = frame["quantizer"].value_counts(dropna=False)
    counts.index = counts.index.astype(object).fillna("without a quantizer")
    return counts


def provenance(rows: Rows) -> dict[str, Any]:
    """The stores, the values that were kept of them, and what a reader must know about how they were read."""
    return {"stores": list(rows.stores), "only": dict(rows.only), "notes": list(rows.notes)}


def commits(frame: pd.DataFrame) -> list[str]:
    """Commits of the code that computed the rows."""
    return sorted(frame["run_commit"].dropna().unique().tolist())


def as_json(content: Any) -> bytes:
    """The content, a line for each value."""
    return (json.dumps(content, ensure_ascii=False, allow_nan=False, default=_plain, indent=1) + "\n").encode()


def digest(selection: Selection) -> str:
    """SHA-256 of the rows used, as `digest_of` has it; where the item has curves, of their steps too."""
    needs, curves = selection.needs, selection.curves_and_artifacts.curves
    tables = [(selection.rows, ["cell_id", "status"], [*needs.metrics])]
    if needs.curves:
        tables.append((curves[curves["cell_id"].isin(selection.rows["cell_id"])], ["cell_id"], ["step", *needs.curves]))
    return digest_of(tables)


def digest_of(tables: Sequence[tuple[pd.DataFrame, Sequence[str], Sequence[str]]]) -> str:
    """SHA-256 of tables, each with columns of text and others.

    Text comes first, column by column, a line for each value. Then come the others, each its name and its values:
    numbers as little-endian float64, NaN where there is none; of lists, and of text, a line of JSON for each.
    """
    sha = hashlib.sha256()
    for table, texts, values in tables:
        for i, name in enumerate(texts):
            sha.update(b"\n" * (i > 0))
            sha.update(_joined(table[name]))
        for name in values:
            sha.update(name.encode() + _bytes(table[name]))
    return sha.hexdigest()


def _bytes(column: pd.Series[Any]) -> bytes:
    if column.isna().all() or pd.api.types.is_numeric_dtype(column):
        numbers = floats(column)
        return np.where(np.isnan(numbers), np.nan, numbers).astype("<f8").tobytes()
    return "\n".join(json.dumps(_plain(value), ensure_ascii=False) for value in column.tolist()).encode()


def _joined(texts: pd.Series[str]) -> pa.Buffer:
    """The texts, a line for each."""
    every = pa.table({"texts": texts})["texts"].cast(pa.large_string()).combine_chunks()
    together = pa.ListArray.from_arrays([0, len(every)], every)
    return pc.binary_join(together, pa.scalar("\n", every.type))[0].as_buffer()


def _artifact_digests(selection: Selection) -> dict[str, str]:
    return {
        f"{cell_id}/{name}": hashlib.sha256(content).hexdigest()
        for cell_id, files in sorted(selection.curves_and_artifacts.artifacts.items())
        for name, content in sorted(files.items())
    }


def _plain(value: Any) -> Any:
    """A value of numpy as Python's own; None for what is not a number."""
    plain = value.tolist() if isinstance(value, np.ndarray | np.generic) else value
    if isinstance(plain, list):
        return [_plain(each) for each in plain]
    return None if plain is pd.NA or plain != plain else plain
