"""Items of whatever a store holds: they know experiments and quantizers by their declarations alone.

`EXPERIMENT-over-axes`, `EXPERIMENT-rate`, `EXPERIMENT-entropy-rate`, `EXPERIMENT-ranking`, `EXPERIMENT-versus` and
`EXPERIMENT-points` are made of each experiment in the stores;
`EXPERIMENT-METRIC-over-FIELD` of any metric and field that one asks for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import pandas as pd

from dvq_ray.experiment.experiment import Experiment
from dvq_ray.experiment.registry import find_experiment

from ...data.rows import Rows, known_experiments
from ...data.selection import Selection
from ...items import Draw, Item
from ...output.numbers import number_of
from ...output.product import Product
from . import every_point, over_axes, ranking, rate, versus
from ._points import AllPoints, needs_of, numbers

NAMES = {
    "EXPERIMENT-over-axes": "The main metric over each setting that varies, of every quantizer",
    "EXPERIMENT-METRIC-over-FIELD": "Any metric over any setting; made where it is named",
    "EXPERIMENT-rate": "Distortion over rate for every quantizer, with the Pareto front",
    "EXPERIMENT-entropy-rate": "The same over the bits that codes take after entropy coding",
    "EXPERIMENT-ranking": "All quantizers at equal rates, from the best to the worst, where rates are few",
    "EXPERIMENT-versus": "Each quantizer against each other, paired by seed, at equal bits and at equal parameters",
    "EXPERIMENT-points": "Every point with its settings and its results; sorted and filtered in the report",
}
"""What there is of each experiment in the stores."""
ENDS = ("over-axes", "rate", "entropy-rate", "ranking", "versus", "points")
"""Of the names of items that are always there."""
PATTERN = re.compile(r"[\w.]+-(over-axes|rate|entropy-rate|ranking|versus|points|\w+-over-\w+)")
"""Names of these items."""
NEEDS = needs_of("", "")
"""What each of them needs of its experiment."""


@dataclass(frozen=True, kw_only=True)
class GenericItem(Item):
    """An item of one experiment. Unlike others it is found by the experiment and the end of its name."""

    def __reduce__(self) -> tuple[Callable[..., Item], tuple[str, ...]]:
        return item, (self.needs.trainable, self.name.removeprefix(f"{slug(self.needs.trainable)}-"))


def slug(trainable: str) -> str:
    """A name that can be a file's: `my_package.mine.EXPERIMENT`."""
    return re.sub(r"[^\w.]+", ".", trainable)


def items(rows: Rows) -> Mapping[str, Item]:
    """The generic items of each experiment in the rows, by name."""
    found = [
        item(name, end) for name in known_experiments(rows.frame) for end in ENDS
        if end != "entropy-rate" or find_experiment(name).rate_column
    ]  # fmt: skip
    return {each.name: each for each in found}


def named(rows: Rows, name: str) -> Item | None:
    """One of them, or that of any metric over any field; None where the rows have no such thing."""
    for trainable in known_experiments(rows.frame):
        prefix = f"{slug(trainable)}-"
        if name.startswith(prefix):
            end = name.removeprefix(prefix)
            metric, over, field = end.rpartition("-over-")
            declared = metric in find_experiment(trainable).measures() and {metric, field} <= {*rows.frame}
            is_known = declared and number_of(rows.of(trainable), metric) is not None
            if not over or end == "over-axes" or is_known:
                return item(trainable, end)
    return None


def item(trainable: str, end: str) -> Item:
    """The item whose name ends so."""
    experiment = find_experiment(trainable)
    label = experiment.label or experiment.name.rpartition(":")[2]
    main = experiment.measures()[experiment.main_metric].label
    metric, select = experiment.main_metric, AllPoints.of
    draw: Draw | None = None
    its: Callable[[Selection], pd.DataFrame] = numbers
    make: Callable[[Selection], Product] | None = None
    match end:
        case "over-axes":
            title, draw = f"{main} over each setting ({label})", over_axes.over_axes
            select = over_axes.some_points
        case "rate":
            title = f"{main} over rate for every quantizer, with the Pareto front ({label})"
            draw, its = rate.rate, rate.numbers
        case "entropy-rate":
            title = f"{main} over the bits that codes take after entropy coding, with the Pareto front ({label})"
            draw, its, select = rate.rate, rate.numbers, rate.with_measured_rate
        case "ranking":
            title = f"{main} of all quantizers at equal rates, from the best to the worst ({label})"
            make, select = ranking.ranking, ranking.some_points
        case "versus":
            title = f"{main} of each quantizer against each other, at equal bits and at equal parameters ({label})"
            make, select = versus.versus, versus.some_points
        case "points":
            title, make = f"Every point ({label})", every_point.every_point
        case _:
            metric, _, field = end.partition("-over-")
            title = f"{experiment.measures()[metric].label} over {_axis_label(experiment, field)} ({label})"
            draw = partial(over_axes.over, field=field)
    return GenericItem(
        name=f"{slug(trainable)}-{end}", title=title[0].upper() + title[1:], needs=needs_of(trainable, metric),
        make=make, draw=draw, numbers=its, select=select,
    )  # fmt: skip


def _axis_label(experiment: Experiment, field: str) -> str:
    axis = experiment.axes().get(field)
    return axis.label if axis else field.replace("_", " ")
