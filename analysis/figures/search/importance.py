"""How much of the objective's variation each searched field accounts for."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from dvq_ray.sweep.space import Choices, Range

from ...data.selection import Selection
from ...items import table
from ...output.product import Product, UnfitError, table_product
from ...output.tables import Section, Table, columns_of
from . import _words as words
from ._selection import SearchSelection, search_needs, searched, select_search

LEAST_POINTS = 10
_TREES_SEED = 0
_LOG_FROM = 8
"""Ratio of the largest to the smallest of some numbers from which on equal ratios are taken for equal steps."""


@table(
    "How much of the objective's variation each searched field accounts for",
    search_needs(f"the store of one search: at least {LEAST_POINTS} points that have a value"),
    select=select_search,
)
def search_importance(selection: Selection) -> Product:
    """A row for each field, the most important first. Raises `UnfitError` where there is too little to tell."""
    found = searched(selection)
    importances = {metric: _importances(found, metric) for metric in found.search.objectives}
    frame = pd.DataFrame(
        [
            {"field": field, "metric": metric, "n_points": count, "importance": value}
            for metric, (count, each) in importances.items()
            for field, value in each.items()
        ]
    )
    return table_product(_table(found, importances), frame, "tab:search-importance")


def _importances(selection: SearchSelection, metric: str) -> tuple[int, dict[str, float]]:
    """Number of points, and the importance by field, the highest first."""
    import optuna  # here, because it brings scikit-learn, which takes longer than the rest of an analysis
    from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

    points = selection.means(metric)
    varied = [field for field in selection.fields if points[field].nunique() > 1 and points[field].notna().all()]
    if len(points) < LEAST_POINTS:
        raise UnfitError(f"importance takes {LEAST_POINTS} points that have a value, and there are {len(points)}")
    if len(varied) < 2:
        only = f"only {words.spoken(varied[0])} does" if varied else "none does"
        raise UnfitError(f"importance takes two searched fields that vary over all points, and {only}")
    kinds: dict[str, BaseDistribution] = {}
    for field in varied:
        axis = selection.search.space.axes[field]
        if isinstance(axis, Choices) and not all(isinstance(value, int | float) for value in axis.choices):
            kinds[field] = CategoricalDistribution(axis.choices)
        else:
            ends = (min(axis.choices), max(axis.choices)) if isinstance(axis, Choices) else (axis.low, axis.high)
            log = axis.log if isinstance(axis, Range) else ends[0] > 0 and ends[1] / ends[0] >= _LOG_FROM
            low, high = np.log2(ends) if log else ends
            points[field] = np.log2(points[field].astype(float)) if log else points[field].astype(float)
            kinds[field] = FloatDistribution(float(low), float(high))
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        study = optuna.create_study()
        for point in points[[*varied, "mean"]].to_dict("records"):
            value = float(point.pop("mean"))
            params = {str(field): each for field, each in point.items()}
            study.add_trial(optuna.trial.create_trial(params=params, distributions=kinds, value=value))
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=_TREES_SEED)
        return len(points), dict(evaluator.evaluate(study))
    except RuntimeError:  # of a forest without variance
        raise UnfitError(
            f"{selection.title(metric)} is the same at all points, so that no field is important"
        ) from None
    finally:
        optuna.logging.set_verbosity(level)


def _table(selection: SearchSelection, importances: Mapping[str, tuple[int, Mapping[str, float]]]) -> Table:
    space = selection.search.space.axes
    ranked = next(iter(importances.values()))[1]
    rows = [
        [words.spoken(field), str(space[field]), *(f"{each[field]:.2f}" for _, each in importances.values())]
        for field in ranked
    ]
    left_out = [words.spoken(field) for field in selection.fields if field not in ranked]
    (count,) = {count for count, _ in importances.values()}
    notes = [
        "Importance: the share of the objective's variance over the whole space, each value as likely as any other, "
        "that is due to the field by itself; what fields do only together is in none of them, so that shares need not "
        f"add up to 1. By fANOVA: from a random forest of 64 trees that was fitted to the means of n = {count} points "
        f"(log ranges, and choices over a factor of {_LOG_FROM} or more, in logarithms). It is of this sampler's "
        "sample: the forest knows little where the sampler did not go.",
        *([f"Without a number, because they do not vary over all points: {', '.join(left_out)}."] if left_out else []),
        words.note(selection, intervals="intervals are not taken into account"),
    ]
    return Table(
        name="Importance",
        title="Importance of the searched fields.",
        columns=[*columns_of(["field", "searched"]),
                 *columns_of(numbers=[selection.title(metric) for metric in importances], group="importance for")],
        sections=[Section(rows=rows)],
        notes=notes,
    )  # fmt: skip
