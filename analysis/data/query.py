"""The rows of an item as an expression that pandas understands, so that anyone can take them from the stores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from dvq_ray.store import SUGGESTION

from ..naming import boxes
from .declared import conditions_of
from .points import kind_of, kinds_of, plain
from .rows import Rows
from .selection import Selection

_LONGEST = 1200
"""Letters of an expression that anyone would read or copy."""
_MOST_POINTS = 3000
"""Of more points no boxes are looked for."""
Mask = npt.NDArray[np.bool_]


def query_of(selection: Selection, rows: Rows) -> str | None:
    """Selects the rows of the selection among those that `load_results` gives for the same stores.

    Empty where it is all of them; None where it would be long.
    """
    frame = rows.frame
    inside = frame["cell_id"].isin(selection.rows["cell_id"]).to_numpy(bool)
    conditions = [*_kept(rows), *_within(frame, inside, [*{axis: 0 for grid in selection.grids for axis in grid.axes}])]
    if None in conditions:
        return None
    text = " and ".join(str(condition) for condition in conditions)
    return text if len(text) <= _LONGEST else None


def _kept(rows: Rows) -> Iterator[str]:
    """What `--only` kept: rows with the value and rows that have no such field."""
    for column, value in rows.only.items():
        is_number = pd.api.types.is_numeric_dtype(kind_of(rows.frame[column]))
        shown = _shown(float(value) if is_number else value)
        rest = f"({column}.isna() and status != 'ok')" if column in conditions_of(rows.frame) else f"{column}.isna()"
        yield f"({column} == {shown} or {rest})"


def _within(frame: pd.DataFrame, inside: Mask, axes: Sequence[str]) -> Iterator[str | None]:
    """Conditions that part the rows inside from the others; None where no few words do."""
    here = np.ones(len(frame), bool)
    for column in ("trainable", SUGGESTION, "quantizer"):
        if column in frame and here[~inside].any():
            values = frame[column].isna() if column == SUGGESTION else frame[column]
            held = values[inside].unique().tolist()
            if 0 < values[here].nunique(dropna=False) != len(held):
                here &= values.isin(held).to_numpy(bool)
                yield _is_suggested(held) if column == SUGGESTION else _among(column, held)
    if not (here & ~inside).any():
        return
    settings = [axis for axis in axes if axis != "point_id" and axis in frame]
    parts = []
    for quantizer in frame["quantizer"][inside].unique().tolist():
        its = here & (frame["quantizer"] == quantizer).to_numpy(bool)
        parts.append((quantizer, _of_quantizer(frame[its], inside[its], settings)))
    if any(part is None for _, part in parts):
        yield None
    elif len({part for _, part in parts}) == 1:
        yield parts[0][1] or ""
    else:
        each = (f"({_among('quantizer', [name])}{f' and {part}' if part else ''})" for name, part in parts)
        yield f"({' or '.join(each)})"


def _of_quantizer(frame: pd.DataFrame, inside: Mask, settings: Sequence[str]) -> str | None:
    """The same for rows of one quantizer."""
    firsts, kinds = kinds_of(frame, settings)
    points = plain(frame.iloc[firsts])
    is_chosen = np.bincount(kinds, inside, len(firsts)) > 0
    parts, covered = [], np.ones(len(points), bool)
    for name in settings:
        if not (covered & ~is_chosen).any():
            break
        held = points[name][is_chosen].unique().tolist()
        fits = points[name].isin(held).to_numpy(bool)
        if (covered & ~fits).any():
            covered &= fits
            parts.append(_among(name, held))
    if (covered & ~is_chosen).any():
        if len(points) > _MOST_POINTS or points[list(settings)].isna().to_numpy().any():
            return None
        covering = boxes(points[list(settings)][is_chosen].itertuples(index=False, name=None))
        every = [points[name].nunique() for name in settings]
        found = [" and ".join(_box(settings, box, every)) for box in covering]
        parts = [f"({' or '.join(f'({each})' for each in found)})"]
    rest = is_chosen[kinds]
    if (rest & ~inside).any():
        seeds = _seeds(frame[rest], inside[rest])
        if seeds is None:
            return None
        parts.append(seeds)
    return " and ".join(parts)


def _box(settings: Sequence[str], box: Sequence[Sequence[Any]], every: Sequence[int]) -> Iterator[str]:
    """Conditions of a box, without those that exclude nothing."""
    for name, values, count in zip(settings, box, every, strict=True):
        if len(values) < count:
            yield _among(name, values)


def _seeds(frame: pd.DataFrame, inside: Mask) -> str | None:
    """What parts the seeds that are used from those that are not, where all points use the same."""
    used, unused = {*frame["seed"][inside]}, {*frame["seed"][~inside]}
    if used & unused:
        return None
    if unused and max(used) < min(unused):
        return f"seed <= {int(max(used))}"
    return _among("seed", sorted(used))


def _is_suggested(held: Sequence[bool]) -> str:
    return f"{SUGGESTION}.isna()" if held == [True] else f"{SUGGESTION}.notna()"


def _among(column: str, values: Sequence[Any]) -> str:
    shown = [_shown(value) for value in sorted(values, key=lambda value: (isinstance(value, str), value))]
    return f"{column} == {shown[0]}" if len(shown) == 1 else f"{column} in [{', '.join(shown)}]"


def _shown(value: Any) -> str:
    plain = value.item() if isinstance(value, np.generic) else value
    return repr(int(plain) if isinstance(plain, float) and plain.is_integer() else plain)
