"""The questions that the rules of a sweep ask of its points, and the looks that a store's rows allow at them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from dvq_ray.sweep.cells import Point
from dvq_ray.sweep.comparable import comparable_pairs
from dvq_ray.sweep.grids import Grid
from dvq_ray.sweep.judging import Values, judge
from dvq_ray.sweep.looks import Look, Looks
from dvq_ray.sweep.until import Precision, SeedsUntil


class Questions:
    """The questions that the rules of a sweep ask of its points."""

    def __init__(self, points: Iterable[tuple[Grid, Point]]) -> None:
        self.points: dict[SeedsUntil, dict[str, Point]] = {}
        self._known_pairs: dict[SeedsUntil, list[tuple[Point, Point]]] = {}
        for grid, point in points:
            if grid.until:
                self.points.setdefault(grid.until, {}).setdefault(point.point_id, point)

    def asked(self) -> Looks:
        """Where they stand before any row."""
        return self.look(pd.DataFrame(columns=["point_id", "seed", "status"]))

    def look(self, rows: pd.DataFrame, known: Looks | None = None) -> Looks:
        """Where they stand by the rows of a store, which have `point_id`, `seed`, `status` and the rules' metrics.

        Repetitions without a row are waited for. Those that failed are left out; of a pair, on both sides. What is
        `known` is not looked at again.
        """
        answered = {look.key: look for look in known.looks} if known else {}
        looks = list[Look]()
        for until, points in self.points.items():
            repetitions = _Repetitions(rows, until, points)
            for point, partner in self._pairs(until, repetitions):
                begun = Look(until=until, point=point, partner=partner)
                begun = answered.get(begun.key, begun)
                looks.append(_taken(begun, repetitions) if begun.is_open else begun)
        return Looks(looks=looks, points=self.points)

    def _pairs(self, until: SeedsUntil, repetitions: _Repetitions) -> list[tuple[Point, Point | None]]:
        """The points of each question of a rule. Pairs of sizes that rows tell are formed anew as rows come."""
        points, rule = self.points[until].values(), until.rule
        if isinstance(rule, Precision):
            return [(point, None) for point in points]
        by_rows = rule.at == "equal_parameters"
        if by_rows or until not in self._known_pairs:
            self._known_pairs[until] = comparable_pairs(points, rule, repetitions.parameters() if by_rows else {})
        return [*self._known_pairs[until]]


class _Repetitions:
    """What the rows of points say: [points, repetitions]."""

    def __init__(self, rows: pd.DataFrame, until: SeedsUntil, points: Mapping[str, Point]) -> None:
        self._ids = pd.Index([*points])
        self._experiment = next(iter(points.values())).experiment
        place = self._ids.get_indexer(pd.Index(rows["point_id"].astype(object)))
        repetition = rows["seed"].to_numpy(np.int64) - until.first
        of_rule = (place >= 0) & (repetition >= 0) & (repetition < until.most)
        self._rows, self._place, self._repetition = rows[of_rule], place[of_rule], repetition[of_rule]
        shape = (len(self._ids), int(self._repetition.max(initial=-1)) + 1)
        self._values = np.full(shape, np.nan)
        held = np.zeros(shape, bool)
        held[self._place, self._repetition] = True
        self._held = np.minimum.accumulate(held, axis=1).sum(axis=1)
        self._finished = (self._rows["status"] == "ok").to_numpy(bool)
        if len(self._rows):
            self._values[self._place, self._repetition] = self._numbers(until.rule.metric)

    def _numbers(self, column: str) -> Values:
        """A column, NaN where there is no finite value."""
        numbers = self._rows[column].to_numpy(np.float64, na_value=np.nan)
        return np.where(self._finished & np.isfinite(numbers), numbers, np.nan)

    def count(self, point: Point) -> int:
        """Repetitions from the first on that all have a row."""
        return int(self._held[self._ids.get_loc(point.point_id)])

    def values(self, point: Point, count: int) -> Values:
        """The metric of the first so many repetitions, NaN where there is none."""
        return self._values[self._ids.get_loc(point.point_id), :count]

    def parameters(self) -> dict[str, float]:
        """Numbers that the model of each point holds, of points of which a repetition finished: the first one's."""
        if not len(self._rows):
            return {}
        sizes = pd.DataFrame({"place": self._place, "seed": self._repetition})
        sizes["size"] = self._numbers(self._experiment.size_column)
        first = sizes.dropna().sort_values("seed").drop_duplicates("place")
        return {str(self._ids[place]): float(size) for place, size in zip(first["place"], first["size"], strict=True)}


def _taken(look: Look, repetitions: _Repetitions) -> Look:
    """The question after all looks that its rows allow."""
    until = look.until
    points = [point for point in (look.point, look.partner) if point]
    held = min(map(repetitions.count, points))
    while look.is_open and look.wanted <= held:
        values = [repetitions.values(point, look.wanted) for point in points]
        found = judge(until, *values)
        if found.decision == "undecided" and look.looks + 1 == len(until.looks):
            found = replace(found, decision="most reached")
        look = replace(look, looks=look.looks + 1, found=found)
    return look
