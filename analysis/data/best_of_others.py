"""Choosing the cheapest of several ways without measuring it by what chose it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def best_of_others(costs: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Of costs [ways, points, seeds], the way with the lowest mean over all *other* seeds: [points, seeds].

    So no seed has a say in what it is measured with, and what is chosen is not lower by the luck of the choice. There
    must be two seeds, unless there is a single way.
    """
    if len(costs) == 1:
        return np.zeros(costs.shape[1:], np.int64)
    of_others = (costs.sum(axis=-1, keepdims=True) - costs) / (costs.shape[-1] - 1)
    return np.asarray(of_others.argmin(axis=0))
