"""The statistics of the claims: numbers for each seed, of the points that are compared; not finite where undefined."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from .claim import Array, Member

Statistic = Callable[[Sequence[Member]], Array]


def level(metric: str) -> Statistic:
    """The metric itself."""
    return lambda members: members[0].metrics[metric]


def ratio(above: str, below: str) -> Statistic:
    """One metric of a point over another of it."""
    return lambda members: _over(members[0].metrics[above], members[0].metrics[below])


def difference(metric: str) -> Statistic:
    """First point minus second."""
    return lambda members: members[0].metrics[metric] - members[1].metrics[metric]


def gain(metric: str) -> Statistic:
    """What the first point is below the second, as a share of the second."""
    return lambda members: 1 - _over(members[0].metrics[metric], members[1].metrics[metric])


def excess(metric: str) -> Statistic:
    """What the first point is above the second, as a share of the second."""
    return lambda members: _over(members[0].metrics[metric], members[1].metrics[metric]) - 1


def drop_over(metric: str, scale: str) -> Statistic:
    """What the second point is below the first, as a share of another metric of the first."""
    change = difference(metric)
    return lambda members: _over(change(members), members[0].metrics[scale])


def growth_of_gap(metric: str) -> Statistic:
    """The gap (second point minus first), less the gap between the fourth and the third."""

    def statistic(members: Sequence[Member]) -> Array:
        ours, theirs, ours_before, theirs_before = (member.metrics[metric] for member in members)
        return np.asarray((theirs - ours) - (theirs_before - ours_before))

    return statistic


def share_less_than_the_others(metric: str, than: str) -> Statistic:
    """How much less one metric of the first point is than another of it, as a share; less the same of the second."""

    def share(member: Member) -> Array:
        return 1 - _over(member.metrics[metric], member.metrics[than])

    return lambda members: share(members[0]) - share(members[1])


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


def growth_beyond_half(metric: str) -> Statistic:
    """Growth from the third point to the first, less half of that from the fourth to the second."""

    def statistic(members: Sequence[Member]) -> Array:
        joint, sliced, joint_start, sliced_start = (member.metrics[metric] for member in members)
        return np.asarray((joint - joint_start) - 0.5 * (sliced - sliced_start))

    return statistic


def _over(above: Array, below: Array) -> Array:
    """The ratio; not finite where there is none."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(above / below)
