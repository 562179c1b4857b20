"""What codes cost under the best prior, as a column of the models' own rows: stores of code priors say it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from dvq_ray.experiment.registry import find_experiment

from ...data.best_of_others import best_of_others
from ...data.needs import Needs
from ...data.points import plain
from ...data.rows import Rows
from ...data.selection import Selection, select

BEST_TOTAL, BEST_PRIOR = "total_bits_per_dim_best", "best_prior"
_CODES = "code_bits_per_dim"
_PARENT, _PRIOR, _SEED = "parent_point_id", "prior", "seed"


def select_with_best_prior(rows: Rows, needs: Needs) -> Selection | None:
    """As `select`, with two more columns where the stores have priors over the codes of all of a point's seeds."""
    return select(replace(rows, frame=_with_best_prior(rows.frame)), needs)


def _with_best_prior(frame: pd.DataFrame) -> pd.DataFrame:
    """Total and name of the prior that was best for the point's other seeds; empty where that cannot be said.

    Only priors that were computed for every model count, so that no model has a better choice than another.
    """
    if _PARENT not in frame:
        return frame
    own = frame[(frame["trainable"] == "code_prior") & (frame["status"] == "ok") & frame["total_bits_per_dim"].notna()]
    kinds = [name for name in find_experiment("code_prior").axes() if name.startswith(_PRIOR)]
    own = plain(own)
    own = own.assign(**own[kinds[1:]].fillna(0))  # a prior without a field
    costs = {
        str(parent): its.pivot_table(values=_CODES, index=kinds, columns=_SEED, observed=True).dropna()
        for parent, its in own.groupby(_PARENT, observed=True)
    }
    if not costs:
        return frame
    common = sorted(set.intersection(*({*table.index} for table in costs.values())))
    found = [_best(parent, table.loc[common]) for parent, table in costs.items() if common and len(table.columns) > 1]
    if not found:
        return frame
    best = pd.concat(found)
    keys = pd.MultiIndex.from_arrays([frame["point_id"].astype(str), frame[_SEED]])
    chosen = best.reindex(keys)
    reconstruction = frame["reconstruction_bits_per_dim"].to_numpy(float)
    return frame.assign(**{
        BEST_TOTAL: reconstruction + chosen[_CODES].to_numpy(float), BEST_PRIOR: chosen[_PRIOR].to_numpy(object)
    })  # fmt: skip


def _best(parent: str, costs: pd.DataFrame) -> pd.DataFrame:
    """Cost and name by point and seed, of costs with a row for each prior and a column for each seed."""
    values = costs.to_numpy(float)
    places = best_of_others(values[:, None, :])[0]
    index = pd.MultiIndex.from_product([[parent], costs.columns])
    names = costs.index.get_level_values(_PRIOR).to_numpy(object)
    chosen = {_CODES: values[places, np.arange(values.shape[1])], _PRIOR: names[places]}
    return pd.DataFrame(chosen, index=index)
