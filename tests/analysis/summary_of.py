"""What is to be said about some values, as numbers that tests can compare with."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from analysis.data.summary import summaries


@dataclass(frozen=True, kw_only=True)
class Summary:
    n: int
    mean: float
    deviation: float
    low: float
    high: float


def summary_of(values: Iterable[float]) -> Summary:
    x = np.asarray(list(values), dtype=np.float64)
    found = summaries(x, np.zeros(x.size, np.int64), 1)
    return Summary(n=x.size, **{name: float(found[name][0]) for name in ("mean", "deviation", "low", "high")})
