"""A against B for all pairs of quantizers: paired by seed, at equal bits and at equal parameters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np
import numpy.typing as npt
import pandas as pd

from dvq_ray.declarations.field import shared_axes

from ...data.needs import Needs
from ...data.points import floats
from ...data.rows import Rows
from ...data.selection import Selection
from ...data.summary import LEVEL, summaries
from ...output.product import Product, table_product
from ...output.tables import Section, Table, columns_of
from ._points import BITS, NUMBERS, AllPoints, points_of

EQUAL = "equal"
"""`bits` or `parameters`."""
OUTCOMES = ("win", "loss", "undecided", "too few pairs")
_KEY = "_key"
_DIGITS = 6
ALIKE = ("network", "training")
"""Roles of fields that may not differ between points that are compared."""


def comparisons(selection: Selection) -> pd.DataFrame:
    """Every pair of points of two quantizers that are alike in all that is compared: the metric of A less that of B.

    Columns: `equal`, `a`, `b`, the data fields, `code_bits_a`, `code_bits_b`, `point_id_a`, `point_id_b`, `n`,
    `wanted`, `mean`, `deviation`, `low`, `high`, `relative` (the mean over B's), `outcome` (of A).
    """
    assert isinstance(selection, Comparable)
    points, pairs = selection, pd.concat(selection.pairs, ignore_index=True)
    metric = points.metric
    values, is_held = values_by_seed(points)
    place_of = pd.Index(points.points["point_id"])
    a, b = (place_of.get_indexer(pd.Index(pairs[f"point_id_{side}"])) for side in "ab")
    difference = values[a] - values[b]
    is_paired = np.isfinite(difference)
    places = np.repeat(np.arange(len(pairs)), is_paired.sum(axis=1))
    levels = points.points["point_id"].astype(object).map(points.levels).fillna(LEVEL).to_numpy(float)
    found = summaries(difference[is_paired], places, len(pairs), np.maximum(levels[a], levels[b]), least=2)
    level = summaries(values[b][is_paired], places, len(pairs), least=2)["mean"]
    sign = -1.0 if points.declared.metrics[metric].better == "higher" else 1.0
    low, high = np.sort(np.stack([sign * found["low"], sign * found["high"]]), axis=0)
    outcome = np.select([found["n"] == 0, high < 0, low > 0], ["too few pairs", "win", "loss"], "undecided")
    wanted = (is_held[a] | is_held[b]).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = found["mean"] / level
    about = [EQUAL, "a", "b", *points.data_fields, *(f"{name}_{side}" for side in "ab" for name in (BITS, "point_id"))]
    return pairs[about].assign(metric=metric, wanted=wanted, **found, relative=relative, outcome=outcome)[
        [*about, "metric", *NUMBERS, "relative", "outcome"]
    ]


@dataclass(frozen=True, kw_only=True)
class Comparable(AllPoints):
    """All points, and those that can be compared."""

    @cached_property
    def pairs(self) -> Sequence[pd.DataFrame]:
        """A table for each two quantizers and each of `bits` and `parameters`; a row for each pair of points."""
        table = self.points.copy()
        kinds = {"bits": table[BITS].round(_DIGITS)}
        if size := self.declared.experiment.size_column:
            kinds["parameters"] = self.means(size)["mean"].set_axis(table.index)
        found = [
            _paired(self, table.assign(**{_KEY: key}), a, b).assign(**{EQUAL: kind})
            for kind, key in kinds.items()
            for a, b in combinations(self.declared.quantizers, 2)
        ]
        return [pairs for pairs in found if len(pairs)]


def some_points(rows: Rows, needs: Needs) -> AllPoints | None:
    """All points; None also where no two quantizers have points that can be compared."""
    points = Comparable.of(rows, needs)
    return points if points and points.pairs else None


def _paired(points: AllPoints, table: pd.DataFrame, a: str, b: str) -> pd.DataFrame:
    """Points of A and B with equal keys and data, and equal values in fields of network and training that both have."""
    table = table[table[_KEY].notna()]
    one, other = table[table["quantizer"] == a], table[table["quantizer"] == b]
    pairs = one.merge(other, on=[_KEY, *points.data_fields], suffixes=("_a", "_b"))
    shared = shared_axes(*(points.declared.experiment.variant(quantizer) for quantizer in (a, b)))
    for name in points.varied:
        if name in shared and name not in points.data_fields and shared[name].role in ALIKE:
            ours, theirs = pairs[f"{name}_a"], pairs[f"{name}_b"]
            pairs = pairs[(ours == theirs) | ours.isna() | theirs.isna()]
    return pairs.assign(a=a, b=b)


def values_by_seed(points: AllPoints) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """The metric of each point and seed, NaN without a usable row, and whether there is any row: [points, seeds]."""
    places = pd.Index(points.points["point_id"]).get_indexer(pd.Index(points.rows["point_id"]))
    seed_of, seeds = pd.factorize(points.rows["seed"], sort=True)
    values = np.full((len(points.points), len(seeds)), np.nan)
    is_held = np.zeros(values.shape, bool)
    is_held[places, seed_of] = True
    used = points.is_usable
    values[places[used], seed_of[used]] = floats(points.rows[points.metric])[used]
    return values, is_held


def versus(selection: Selection) -> Product:
    """Wins, losses and undecided comparisons of each pair of quantizers."""
    points = points_of(selection)
    table = comparisons(selection)
    metric = points.declared.metrics[points.metric]
    sections = [
        Section(title=f"At equal {kind}", rows=[_row(points, its) for _, its in some.groupby(["a", "b"], sort=False)])
        for kind, some in table.groupby(EQUAL, sort=False)
    ]
    better = metric.better or "lower"
    note = points.note(
        "Each comparison is of two points on equal data, paired by seed, with equal values in all fields of the "
        "network and of training that both have. A win of A: the 95% t-interval of the paired differences of "
        f"{metric.label} lies on the side where A is better ({better} is better). Intervals are for one comparison "
        "each: of many between equals, one in twenty would be a win or a loss by chance. "
        "Bits: of codes that are all equally likely. "
        f"{_sizes(points)}Difference: median of (A - B) / B over the comparisons. Pairs of points are not independent "
        "where they share a point.",
        _unmatched(points, table),
    )
    content = Table(
        name="A against B",
        title=f"{metric.label.capitalize()} of quantizer A against quantizer B ({points.needs.trainable}).",
        columns=columns_of(["A", "B"], ["compared", "A wins", "A loses", "undecided", "too few pairs", "difference"]),
        sections=sections, notes=[note],
    )  # fmt: skip
    return table_product(content, table, "tab:versus")


def _row(points: AllPoints, table: pd.DataFrame) -> Sequence[str]:
    counts = table["outcome"].value_counts()
    a, b = (points.declared.label(str(table[side].iloc[0])) for side in "ab")
    relative = table["relative"].replace([np.inf, -np.inf], np.nan).median()
    return [
        a, b, f"{len(table):,}", *(f"{int(counts.get(outcome, 0)):,}" for outcome in OUTCOMES),
        "–" if np.isnan(relative) else f"{100 * relative:+.1f}%",
    ]  # fmt: skip


def _sizes(points: AllPoints) -> str:
    size = points.declared.experiment.size_column
    return f"Parameters: the column {size}. " if size else "No metric counts parameters. "


def _unmatched(points: AllPoints, table: pd.DataFrame) -> str:
    """How many points are in no comparison."""
    used = {*table["point_id_a"], *table["point_id_b"]}
    left = points.points[~points.points["point_id"].isin(used)].groupby("quantizer", sort=False).size()
    counts = ", ".join(f"{points.declared.label(str(name))} {count:,}" for name, count in left.items())
    return f"Points without a partner: {counts}." if counts else ""
