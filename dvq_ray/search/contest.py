"""Which points may still be the best, and the repetitions that decide it.

Successive elimination (Even-Dar, Mannor and Mansour 2006, JMLR 7): the point with the least mean is held against each
other one, paired by seed. One that is worse at the stated level is out. The rest get more repetitions, twice as many at
each look, and so does the best.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dvq_ray.inference import looks, t_p_above
from dvq_ray.search.suggestions import Suggestions
from dvq_ray.search.verdict import Row, columns_of, rows_by_cell
from dvq_ray.store import Store
from dvq_ray.sweep.search import Search

Repetitions = Mapping[int, float]
"""Values of a point by seed, less being better."""


@dataclass(frozen=True, kw_only=True)
class Contest:
    """How a search for the best point of several stands."""

    best: str
    """The id of the point with the least mean."""
    contenders: tuple[str, ...]
    """Ids of the others that are not known to be worse."""
    wanted: Mapping[str, tuple[int, ...]]
    """The repetitions that the best and the contenders need for their next look, by id; none where it is over."""

    @property
    def is_clear(self) -> bool:
        """Whether one point is better than all others."""
        return not self.contenders


def contest(search: Search, values: Mapping[str, Repetitions]) -> Contest:
    """The contest of points by their ids. Each has the seeds of the search, and there is at least one.

    The error is shared out over all comparisons and all looks, so that with the level of the search none of them
    throws out the point with the least true mean.
    """
    rule = search.stop_when
    assert rule is not None
    assert rule.winner_clear is not None
    least = len(search.seeds)
    counts = looks(least, max(rule.most_seeds, least))
    best = min(values, key=lambda point_id: (float(np.mean([*values[point_id].values()])), point_id))
    margin = rule.margin * abs(float(np.mean([*values[best].values()])))
    error = (1 - rule.winner_clear) / max(len(values) - 1, 1) / len(counts)
    contenders = tuple(
        point_id
        for point_id in values
        if point_id != best and not _is_worse(values[point_id], values[best], margin, error)
    )
    wanted = dict[str, tuple[int, ...]]()
    if contenders:
        held = {point_id: len(values[point_id]) for point_id in (best, *contenders)}
        # All that remain are brought to the next look of the one that has the fewest.
        target = next((count for count in counts if count > min(held.values())), 0)
        wanted = {point_id: seeds_of(search, target) for point_id, count in held.items() if count < target}
    return Contest(best=best, contenders=contenders, wanted=wanted)


def contest_of(suggestions: Suggestions, rows: Mapping[str, Row]) -> Contest | None:
    """The contest of a search's points, by the rows of its cells; None where it has none, or not two points yet."""
    search = suggestions.search
    rule, contested = search.stop_when, suggestions.contested()
    if rule is None or rule.winner_clear is None or len(contested) < 2:
        return None
    ((metric, sign),) = search.signs.items()
    values = {
        point_id: {
            seed: sign * float(rows[cell_id][metric])
            for seed, cell_id in zip(entry.suggestion.seeds, entry.suggestion.cell_ids(), strict=True)
            if cell_id in rows
        }
        for point_id, entry in contested.items()
    }
    values = {point_id: each for point_id, each in values.items() if each}
    return contest(search, values) if len(values) > 1 else None


def contest_in(suggestions: Suggestions, store: Store) -> Contest | None:
    """The same by the rows of a store."""
    search = suggestions.search
    if search.stop_when is None or search.stop_when.winner_clear is None:
        return None
    frame = store.load_new(columns_of(search), set())
    return contest_of(suggestions, rows_by_cell(search, frame, suggestions.name))


def seeds_of(search: Search, count: int) -> tuple[int, ...]:
    """The first repetitions of a point, so many."""
    first = max(search.seeds) + 1
    return (*search.seeds, *range(first, first + count - len(search.seeds)))


def _is_worse(one: Repetitions, other: Repetitions, margin: float, error: float) -> bool:
    """Whether the mean of one is above that of another, up to a margin, by the seeds that both have: a paired t-test.

    A test of signs would be safer, and would ask for ten repetitions of the worst of many points.
    """
    common: Sequence[int] = sorted(one.keys() & other.keys())
    differences = np.array([one[seed] - other[seed] for seed in common])
    return len(common) > 1 and t_p_above(differences + margin) <= error
