"""Settings of rows made comparable: fields of older rows filled in or emptied, and equal floats made the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from dvq_ray.declarations.settings import Owner
from dvq_ray.experiment.registry import find_experiment
from dvq_ray.providers import ProviderError
from dvq_ray.store.attempts import best_rows

from .points import kind_of, kinds_of

_DIGITS = 12
"""Significant digits of a setting; floats that differ in later ones are equal."""


def _has(owner: Owner, value: Any) -> bool:
    """Whether a value of that field has the other; one that this Python cannot import may have."""
    try:
        return owner.has(value)
    except ProviderError:
        return True


def with_comparable_settings(frame: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """The rows, and how many of them had floats that were rounded. Of cells that then are the same one stands."""
    columns: dict[str, pd.Series[Any]] = {}
    rounded = np.zeros(len(frame), bool)
    fields = {"trainable", "revision"}
    for trainable, quantizer in frame[["trainable", "quantizer"]].dropna().drop_duplicates().itertuples(index=False):
        try:
            variant = find_experiment(str(trainable)).variant(str(quantizer))
        except ProviderError:
            continue
        fields |= {*variant.model_fields}
        here = (frame["trainable"] == trainable) & (frame["quantizer"] == quantizer)
        for name, value in variant.added.items():
            held = columns.get(name, frame[name] if name in frame else pd.Series(np.nan, frame.index))
            if (is_older := here & held.isna()).any():
                columns[name] = held.astype(object).mask(is_older, value)
        for name, owner in variant.owned.items():
            if not {name, owner.field} <= {*frame.columns}:
                continue
            values = frame.loc[here, owner.field].dropna().unique()
            if without := [value for value in values if not _has(owner, value)]:
                held = columns.get(name, frame[name]).astype(object)
                columns[name] = held.mask(here & frame[owner.field].isin(without), np.nan)
    frame = frame.assign(**{name: pd.Series(held.tolist(), frame.index) for name, held in columns.items()})
    for name in [name for name in fields & {*frame.columns} if pd.api.types.is_float_dtype(kind_of(frame[name]))]:
        places, distinct = pd.factorize(frame[name])
        floats = np.asarray(distinct, np.float64)
        short = np.array([float(f"{value:.{_DIGITS}g}") for value in floats])
        if (changed := short != floats).any():
            rounded |= np.append(changed, False)[places]
            frame = frame.assign(**{name: np.append(short, np.nan)[places]})
    if not rounded.any():
        return frame, 0
    firsts, kinds = kinds_of(frame, sorted(fields & {*frame.columns}))
    frame = frame.assign(point_id=frame["point_id"].astype(object).to_numpy()[firsts][kinds])
    same = frame.assign(cell_id=frame["point_id"] + "-" + frame["seed"].astype(str))
    return frame.loc[best_rows(same).index].reset_index(drop=True), int(rounded.sum())
