"""The statistics of the claims: numbers for each seed, of the points that are compared; not finite where undefined."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from .claim import Member
from .intervals import Array

Statistic = Callable[[Sequence[Member]], Array]


def level(metric: str) -> Statistic:
    """The metric itself."""
    return lambda members: members[0].metrics[metric]


def ratio(above: str, below: str) -> Statistic:
    """One metric of a point over another of it."""
    return lambda members: _over(members[0].metrics[above], members[0].metrics[below])


def share_less(metric: str, than: str) -> Statistic:
    """How much less one metric of a point is than another of it, as a share of the latter."""
    return lambda members: 1 - _over(members[0].metrics[metric], members[0].metrics[than])


def difference(metric: str) -> Statistic:
    """First point minus second."""
    return lambda members: members[0].metrics[metric] - members[1].metrics[metric]


def drop(metric: str) -> Statistic:
    """What the second point is below the first, as a share of the first."""
    return lambda members: 1 - _over(members[1].metrics[metric], members[0].metrics[metric])


def gain(metric: str) -> Statistic:
    """What the first point is below the second, as a share of the second."""
    return lambda members: 1 - _over(members[0].metrics[metric], members[1].metrics[metric])


def drop_over(metric: str, scale: str) -> Statistic:
    """What the second point is below the first, as a share of another metric of the first."""
    change = difference(metric)
    return lambda members: _over(change(members), members[0].metrics[scale])


def rank_correlation_of_gap(metric: str) -> Statistic:
    """Spearman's correlation of the gap (second point minus first) with its place along the series."""

    def statistic(members: Sequence[Member]) -> Array:
        from scipy import stats  # here, because it takes as long to import as everything else together

        gaps = _gaps(members, metric)
        order = np.arange(len(gaps))
        return np.array([stats.spearmanr(order, gap).statistic if np.ptp(gap) else np.nan for gap in gaps.T])

    return statistic


def last_growth_of_gap(metric: str) -> Statistic:
    """Growth of the gap over the last step of the series, as a share of the gap before it."""

    def statistic(members: Sequence[Member]) -> Array:
        before, last = _gaps(members, metric)[-2:]
        return _over(last - before, np.abs(before))

    return statistic


def _over(above: Array, below: Array) -> Array:
    """The ratio; not finite where there is none."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(above / below)


def _gaps(members: Sequence[Member], metric: str) -> Array:
    """`[series, seeds]` second point minus first, for pairs of points along a series."""
    pairs = zip(members[::2], members[1::2], strict=True)
    return np.stack([theirs.metrics[metric] - ours.metrics[metric] for ours, theirs in pairs])


def steps_to_the_others_end(members: Sequence[Member]) -> Array:
    """Steps at which the first point's curve is at or below where the second's ends, over the steps of the second.

    The second's steps are those at which it is there itself for the first time. A first point that never gets there
    counts as having taken all of its own steps, or all of the second's where these are more: it took longer.
    """
    shares = []
    for ours, theirs in zip(members[0].curves, members[1].curves, strict=True):
        end = theirs[1][-1]
        needed = theirs[0][theirs[1] <= end][0]
        reached = ours[0][ours[1] <= end]
        shares.append((reached[0] if len(reached) else max(ours[0][-1], theirs[0][-1])) / needed)
    return np.array(shares)


def best_of_others(metric: str) -> Statistic:
    """The best of all points but the first, minus the first.

    Which one is the best is chosen, for each seed, by the mean over the other seeds: a choice by the numbers that are
    then compared would favour them.
    """

    def statistic(members: Sequence[Member]) -> Array:
        first, others = members[0].metrics[metric], np.stack([m.metrics[metric] for m in members[1:]])
        best = np.argmin(others.sum(1, keepdims=True) - others, axis=0)
        return np.asarray(others[best, np.arange(others.shape[1])] - first)

    return statistic


def growth_beyond_half(metric: str) -> Statistic:
    """Growth from the third point to the first, less half of that from the fourth to the second."""

    def statistic(members: Sequence[Member]) -> Array:
        joint, sliced, joint_start, sliced_start = (member.metrics[metric] for member in members)
        return np.asarray((joint - joint_start) - 0.5 * (sliced - sliced_start))

    return statistic
