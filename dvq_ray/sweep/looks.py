"""Looks at repetitions: which points need more of them, and what was decided about the others.

A rule asks a question of each point (is its mean known well enough?) or of each pair of comparable points (which one is
better?). A question is looked at when its points have `least` repetitions, then twice as many, and so on. At each look
it is answered, or it needs the repetitions of the next one. What it says follows from the rows of its points alone: not
from their order, nor from who computed them or when.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from dvq_ray.sweep.cells import Cell, Point
from dvq_ray.sweep.grids import Grid
from dvq_ray.sweep.judging import ANSWERS, FEWEST, UNSEEN, Decision, Finding
from dvq_ray.sweep.until import Comparison, SeedsUntil


@dataclass(frozen=True, kw_only=True)
class Look:
    """Where a question stands: what the last look at it found."""

    until: SeedsUntil
    point: Point
    partner: Point | None
    """None where a point is not compared with another."""
    looks: int = 0
    """Taken so far."""
    found: Finding = UNSEEN
    """By the last one."""

    @property
    def key(self) -> tuple[SeedsUntil, str, str | None]:
        """What tells questions apart."""
        return self.until, self.point.point_id, self.partner.point_id if self.partner else None

    @property
    def is_open(self) -> bool:
        """Whether repetitions are to follow."""
        return self.found.decision == "undecided"

    @property
    def wanted(self) -> int:
        """Repetitions that it needs: those of the next look, or of the one that decided."""
        return self.until.looks[self.looks if self.is_open else self.looks - 1]

    def row(self) -> dict[str, Any]:
        """The columns of `looks/` in the store."""
        partner = self.partner
        return {
            "point_id": self.point.point_id,
            "partner_point_id": partner.point_id if partner else None,
            "quantizer": self.point.settings.quantizer,
            "partner_quantizer": partner.settings.quantizer if partner else None,
            "rule": str(self.until.rule),
            "grid": self.until.scope or None,
            "metric": self.until.rule.metric,
            "looks": self.looks,
            "looks_at_most": len(self.until.looks),
            "level": self.until.level,
            **vars(self.found),
        }


@dataclass(frozen=True, kw_only=True)
class Looks:
    """Where all questions of a sweep stand."""

    looks: Sequence[Look]
    points: Mapping[SeedsUntil, Mapping[str, Point]]
    """The points under each rule, by id."""

    @cached_property
    def wanted(self) -> Mapping[tuple[SeedsUntil, str], int]:
        """Repetitions by rule and point; a point of several pairs has those of the one that needs most."""
        found = {(until, point_id): until.least for until, points in self.points.items() for point_id in points}
        for look in self.looks:
            for point in (look.point, look.partner):
                if point:
                    key = (look.until, point.point_id)
                    found[key] = max(found[key], look.wanted)
        return found

    def seeds(self, grid: Grid, point: Point) -> Sequence[int]:
        """Seeds that a grid's point needs now."""
        return grid.until.seeds(self.wanted[grid.until, point.point_id]) if grid.until else grid.seeds

    def cells_since(self, before: Looks) -> list[Cell]:
        """The cells that are needed now and were not then."""
        return [
            self.points[until][point_id].cell(seed)
            for (until, point_id), count in self.wanted.items()
            for seed in until.seeds(count)[before.wanted[until, point_id] :]
        ]

    def counts(self) -> Counter[Decision]:
        """Questions by what was decided."""
        return Counter(look.found.decision for look in self.looks)

    def alone(self, until: SeedsUntil) -> int:
        """Points under a rule that compares, which are in no pair."""
        compared = {
            point.point_id
            for look in self.looks
            if look.until == until
            for point in (look.point, look.partner)
            if point
        }
        return len(self.points[until].keys() - compared)

    def rows(self) -> list[dict[str, Any]]:
        """The rows of `looks/` in the store."""
        return [look.row() for look in self.looks]

    def in_short(self) -> str:
        """For a line of progress."""
        return f"{sum(not look.is_open for look in self.looks):,} of {len(self.looks):,} decided"

    def in_words(self) -> list[str]:
        """A line for each rule."""
        return [f"{until.rule}: {'; '.join(self._facts(until))}" for until in self.points]

    def _facts(self, until: SeedsUntil) -> list[str]:
        counts = Counter(look.found.decision for look in self.looks if look.until == until)
        compares = isinstance(until.rule, Comparison)
        answers = [_counted(counts[answer], answer) for answer in ANSWERS[1:] if counts[answer]] if compares else []
        decided = sum(counts[answer] for answer in ANSWERS)
        facts = [
            f"{decided:,} of {sum(counts.values()):,} {'pairs' if compares else 'points'} decided"
            + (f" ({', '.join(answers)})" if answers else ""),
            f"{counts['undecided']:,} undecided",
        ]
        if counts["most reached"]:
            facts.append(f"{counts['most reached']:,} still undecided with {until.most:,} repetitions")
        if counts["too few finished"]:
            facts.append(f"{counts['too few finished']:,} with fewer than {FEWEST} repetitions that finished")
        if compares and (alone := self.alone(until)):
            facts.append(f"{_counted(alone, 'point')} without a partner, with {until.least:,} repetitions each")
        if idle := until.idle_looks:
            facts.append(
                f"looks at {', '.join(map(str, idle))} repetitions cannot decide, and cost the others certainty"
            )
        return facts


def _counted(count: int, what: str) -> str:
    plural = {"equal": "equal", "loss": "losses"}.get(what, f"{what}s")
    return f"{count:,} {what if count == 1 else plural}"
