"""Number, mean and deviation of metrics by group, from the files of a store one by one.

Memory grows with the groups, and by 16 bytes with each row: the ids of cells, of which one row each counts. Arrow
groups the rows of a file; the groups of several files are put together as Chan, Golub and LeVeque 1983, "Algorithms for
computing the sample variance", have it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from dvq_ray.store.columns import FINISHED

_VALUES = "__values__"
_MOST_PARTS = 1_000_000
"""Groups of files that wait to be put together."""


def summary_of_file(table: pa.Table, by: Sequence[str], metric: str) -> pd.DataFrame:
    """The columns `by`, `n`, `mean` and `squares`, the sum of squared differences to the mean: a row for each group.

    Of finished rows with a finite value.
    """
    values = table[metric].cast(pa.float64())
    used = pc.and_(pc.is_in(table["status"].cast(pa.string()), pa.array(FINISHED)), pc.is_finite(values))
    held = table.select(list(by)).append_column(_VALUES, values).filter(used)
    numbers = [(_VALUES, "count"), (_VALUES, "mean"), (_VALUES, "variance")]
    groups = pa.TableGroupBy(held, list(by), use_threads=False).aggregate(numbers)
    n, mean, variance = (groups[f"{_VALUES}_{name}"].to_numpy() for _, name in numbers)
    heads = {name: _plain(groups[name]) for name in by}
    found: pd.DataFrame = pa.table(heads).to_pandas()
    return found.assign(n=n, mean=mean, squares=n * variance)


def _plain(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Text that came as a dictionary, as text: so it sorts."""
    return values.cast(values.type.value_type) if pa.types.is_dictionary(values.type) else values


class Summary:
    """What is known of each group so far."""

    def __init__(self, by: Sequence[str]) -> None:
        self._by = list(by)
        self._parts: list[pd.DataFrame] = []

    def add(self, part: pd.DataFrame) -> None:
        """Takes what `summary_of_file` says of a further file."""
        self._parts.append(part)
        if sum(map(len, self._parts[1:])) > _MOST_PARTS:
            self._parts = [self._together()]

    def table(self) -> pd.DataFrame:
        """The columns `by`, `n`, `mean` and `deviation`, sorted; a group of one has no deviation."""
        if not self._parts:
            return pd.DataFrame(columns=[*self._by, "n", "mean", "deviation"])
        whole = self._together().sort_values(self._by, ignore_index=True)
        n = whole["n"].to_numpy()
        deviation = np.sqrt(whole["squares"].to_numpy() / np.where(n > 1, n - 1, np.nan))
        return whole[[*self._by, "n", "mean"]].assign(deviation=deviation)

    def _together(self) -> pd.DataFrame:
        every = pd.concat(self._parts, ignore_index=True)
        groups = every.groupby(self._by, dropna=False, observed=True, sort=False)
        place = groups.ngroup().to_numpy()
        heads = every.loc[~pd.Series(place).duplicated(), self._by].reset_index(drop=True)
        n, mean = every["n"].to_numpy(), every["mean"].to_numpy()
        total = np.bincount(place, n, len(heads))
        means = np.bincount(place, n * mean, len(heads)) / total
        squares = np.bincount(place, every["squares"].to_numpy() + n * (mean - means[place]) ** 2, len(heads))
        return heads.assign(n=total.astype(np.int64), mean=means, squares=squares)
