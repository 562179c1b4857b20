"""The JSON beside an item: its caption, what it was made from, and the digest that says whether rows are the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ..data.rows import Rows
from ..data.selection import Selection
from .products import Product

_WIDTH = 200
"""Characters in a line, as far as values let themselves be parted."""


def sidecar(name: str, product: Product, selection: Selection, rows: Rows) -> bytes:
    """JSON of the caption, the stores, the values drawn, n of each point, holes and the digest of the rows."""
    content = {
        "item": name,
        "caption": product.caption,
        **provenance(rows),
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
        "run_commits": commits(selection.rows),
    }
    return as_json(content)


def provenance(rows: Rows) -> dict[str, Any]:
    """The stores, the values that were kept of them, and what a reader must be told."""
    return {"stores": list(rows.stores), "only": dict(rows.only), "notes": list(rows.notes)}


def commits(frame: pd.DataFrame) -> list[str]:
    """Of the code that computed the rows."""
    return sorted(frame["run_commit"].dropna().unique().tolist())


def as_json(content: Any) -> bytes:
    """The content in lines: what fits into one is in one, of the rest each member is in lines of its own."""
    return f"{_in_lines(content, '')}\n".encode()


def _in_lines(content: Any, indent: str) -> str:
    # Only what is too long for a line is looked into: the rest is written by the encoder, which is many times faster.
    if not isinstance(content, dict | list):
        return _JSON.encode(content)
    if _count(content, most=_WIDTH // 3) <= _WIDTH // 3 and len(text := _JSON.encode(content)) <= _WIDTH:
        return text
    deeper = f"{indent} "
    values = content.values() if isinstance(content, dict) else content
    if not any(isinstance(value, dict | list) for value in values):
        flat = json.JSONEncoder(ensure_ascii=False, allow_nan=False, default=_plain, separators=(f",\n{deeper}", ": "))
        text = flat.encode(content)
        return f"{text[0]}\n{deeper}{text[1:-1]}\n{indent}{text[-1]}"
    if isinstance(content, dict):
        members = [f"{_JSON.encode(key)}: {_in_lines(value, deeper)}" for key, value in content.items()]
    else:
        members = [_in_lines(value, deeper) for value in content]
    opening, closing = "{}" if isinstance(content, dict) else "[]"
    inside = f",\n{deeper}".join(members)
    return f"{opening}\n{deeper}{inside}\n{indent}{closing}"


def _count(content: Any, most: int) -> int:
    """The values in the content; where there are more than `most`, not all of them are counted."""
    if not isinstance(content, dict | list):
        return 1
    count = 0
    for value in content.values() if isinstance(content, dict) else content:
        count += _count(value, most - count)
        if count > most:
            break
    return count


def digest(selection: Selection) -> str:
    """SHA-256 of the rows used, as `digest_of` has it; where the item has curves, of their steps too."""
    needs, curves = selection.needs, selection.beside.curves
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
            sha.update(_in_one(table[name]))
        for name in values:
            sha.update(name.encode() + _bytes(table[name]))
    return sha.hexdigest()


def _bytes(column: pd.Series[Any]) -> bytes:
    if column.isna().all() or pd.api.types.is_numeric_dtype(column):
        numbers = pd.to_numeric(column).to_numpy(np.float64, na_value=np.nan)
        return np.where(np.isnan(numbers), np.nan, numbers).astype("<f8").tobytes()
    return "\n".join(_JSON.encode(_plain(value)) for value in column.tolist()).encode()


def _in_one(texts: pd.Series[str]) -> pa.Buffer:
    """The texts, a line for each."""
    every = pa.table({"texts": texts})["texts"].cast(pa.large_string()).combine_chunks()
    together = pa.ListArray.from_arrays([0, len(every)], every)
    return pc.binary_join(together, pa.scalar("\n", every.type))[0].as_buffer()


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
    counts: dict[str, int] = {}
    for grid in selection.grids:
        points = grid.means(selection.needs.metrics[0])
        counts.update(zip(grid.texts(), points["n"].tolist(), strict=True))
    return counts


def _plain(value: Any) -> Any:
    """A value of numpy as Python's own; what is no number as None."""
    plain = value.tolist() if isinstance(value, np.ndarray | np.generic) else value
    if isinstance(plain, list):
        return [_plain(each) for each in plain]
    return None if plain is pd.NA or plain != plain else plain


_JSON = json.JSONEncoder(ensure_ascii=False, allow_nan=False, default=_plain)
