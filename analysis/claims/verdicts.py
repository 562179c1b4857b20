"""From cells to verdicts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any, Literal

import numpy as np

from ..data.rows import Rows
from ..naming import seeds_text
from .cells import Cells, Point, differing, words
from .claim import Claim, Form, Member, Settings, Test, Verdict
from .declared import SETTINGS
from .intervals import Array, holm, intervals, outside_p_values

SIGNIFICANCE = 0.025
"""Of the one-sided t-test that speaks against a claim."""
_LEAST_ALONG = 4
"""Points that a trend takes."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One test at one anchor."""

    test: Test
    point: Settings
    n: int
    effect: float
    low: float
    high: float
    p_against: float
    """Corrected by Holm over the cells of the form."""

    @cached_property
    def outcome(self) -> Literal["holds", "against", "undecided"]:
        """What this cell says of the claim."""
        if self.test.region.holds(self.low, self.high):
            return "holds"
        against = self.test.region.excludes(self.low, self.high) and self.p_against <= SIGNIFICANCE
        return "against" if against else "undecided"

    @property
    def margin(self) -> float:
        """From the far end of the interval to the nearer end of the region; negative where it is not inside."""
        return min(self.low - self.test.region.low, self.test.region.high - self.high)


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """An anchor that could not be tested."""

    test: Test
    point: Settings
    why: str


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What the stores say of one form of a claim."""

    form: Form
    verdict: Verdict
    cells: tuple[Cell, ...]
    left_out: tuple[LeftOut, ...]
    never_run: Mapping[str, tuple[object, ...]]
    """Values by column that the claim speaks of and that no store has at the anchors."""

    @cached_property
    def deciding(self) -> Cell | None:
        """The cell that lies deepest on the side that the verdict is about: the nearest to failing where all hold."""
        if not self.cells:
            return None
        against = [cell for cell in self.cells if cell.outcome == "against"]
        undecided = [cell for cell in self.cells if cell.outcome == "undecided"]
        return min(against or undecided or self.cells, key=lambda cell: cell.margin)

    def count(self, outcome: str) -> int:
        """Cells with that outcome."""
        return self._counts[outcome]

    @cached_property
    def _counts(self) -> Counter[str]:
        return Counter(cell.outcome for cell in self.cells)


@dataclass(frozen=True, kw_only=True)
class Decision:
    """A claim, decided."""

    claim: Claim
    outcome: Outcome
    """Of the claim's own form."""
    others: tuple[Outcome, ...]
    """Of its other forms."""


def decide(claims: Sequence[Claim], rows: Rows) -> list[Decision]:
    """What the stores say of each claim. Raises `StoreError` where curves cannot be read."""
    cells = {name: Cells(rows, name) for name in SETTINGS}
    looked_at: dict[tuple[int, ...], _Samples] = {}
    for claim in claims:
        for form in (claim.form, *claim.others):
            if (key := _key(claim, form)) not in looked_at:
                looked_at[key] = _samples(form, claim, cells[claim.trainable])
    every = [(values, test.level) for found in looked_at.values() for test, _, values in found.samples]
    # All at once, because many cells are of several forms.
    ends = iter(intervals([values for values, _ in every], [level for _, level in every]))
    tested = {key: _tested(found.samples, list(islice(ends, len(found.samples)))) for key, found in looked_at.items()}

    def outcome(claim: Claim, form: Form) -> Outcome:
        its, found = tested[_key(claim, form)], looked_at[_key(claim, form)]
        return Outcome(
            form=form, verdict=_verdict(its), cells=its, left_out=found.left_out, never_run=found.never_run
        )  # fmt: skip

    return [
        Decision(
            claim=claim,
            outcome=outcome(claim, claim.form),
            others=tuple(outcome(claim, form) for form in claim.others),
        )
        for claim in claims
    ]


def _key(claim: Claim, form: Form) -> tuple[int, ...]:
    """Equal for forms that are tested in the same way."""
    return (claim.least_repetitions, *map(id, form.tests))


@dataclass(frozen=True, kw_only=True)
class _Samples:
    """What the stores hold of one form of a claim."""

    samples: Sequence[tuple[Test, Point, Array]]
    """A number for each seed, at each anchor that can be tested."""
    left_out: tuple[LeftOut, ...]
    never_run: Mapping[str, tuple[object, ...]]


def _samples(form: Form, claim: Claim, cells: Cells) -> _Samples:
    samples: list[tuple[Test, Point, Array]] = []
    left_out: list[LeftOut] = []
    never_run: dict[str, tuple[Any, ...]] = {}
    for test in form.tests:
        anchors = [point for point in cells.points(test.anchors) if test.keep(point)]
        for column, values in test.anchors.items():
            held = {point[column] for point in anchors}
            if missing := tuple(value for value in values if value not in held):
                never_run[column] = missing
        comparisons = list(_comparisons(test, anchors, cells))
        seeds = _wanted_seeds(comparisons, cells)
        for anchor, members in comparisons:
            found = _sample(test, members, seeds, claim.least_repetitions, cells)
            if isinstance(found, str):
                left_out.append(LeftOut(test=test, point=anchor, why=found))
            else:
                samples.append((test, anchor, found))
    return _Samples(samples=samples, left_out=tuple(left_out), never_run=never_run)


def _comparisons(test: Test, anchors: Sequence[Point], cells: Cells) -> Iterator[tuple[Point, list[Point]]]:
    """Each anchor that stands for a comparison, with all members of it."""
    for anchor in anchors:
        together: list[Settings] = [anchor, *({**anchor, **change} for change in test.partners(anchor))]
        if test.along is None:
            yield anchor, [cells.point(settings) for settings in together]
            continue
        column, values = test.along
        series = [[cells.point({**settings, column: value}) for settings in together] for value in values]
        held = [members for members in series if any(point.seeds for point in members)]
        if anchor == held[-1][0] and len(held) >= _LEAST_ALONG:
            yield anchor, [point for members in held for point in members]


def _wanted_seeds(comparisons: Iterable[tuple[Point, list[Point]]], cells: Cells) -> dict[tuple[Any, ...], set[int]]:
    """All seeds that any point of the comparisons has, by the group within which points are paired."""
    seeds: dict[tuple[Any, ...], set[int]] = {}
    for _, members in comparisons:
        for point in members:
            seeds.setdefault(cells.group(point), set()).update(point.seeds)
    return seeds


def _sample(
    test: Test, members: Sequence[Point], wanted: Mapping[tuple[Any, ...], set[int]], least: int, cells: Cells
) -> Array | str:
    """A number for each seed, or why there are none."""
    groups = [wanted[cells.group(point)] for point in members]
    seeds = set.intersection(*groups)  # a trend over groups is one of the seeds that all of them have
    for point in members:
        for state, some in cells.holes(point, seeds, test.metrics).items():
            names = [column for column in differing(members) if column not in cells.seeds_by or test.along]
            name = f"{point['quantizer']} {words(point, set(names) - {'quantizer'})}".strip()
            return f"{name}: {seeds_text(some)} {state}" if some else f"{name}: {state}"
    if len(seeds) < least:
        return f"{len(seeds)} repetitions, and {least} are needed"
    if len(set().union(*(cells.data_digests(point, seeds) for point in members))) > 1:
        return "images of unequal content under one name"
    found: list[Member] = [cells.member(point, seeds, test.metrics, test.curve) for point in members]
    if any(len(steps) == 0 for member in found for steps, _ in member.curves):
        return "a curve is missing"
    values = test.statistic(found)
    if not np.isfinite(values).all():
        return f"the statistic is not defined for {seeds_text(np.array(sorted(seeds))[~np.isfinite(values)].tolist())}"
    return values


def _tested(samples: Sequence[tuple[Test, Point, Array]], ends: Sequence[tuple[float, float]]) -> tuple[Cell, ...]:
    """The cells of a form, with the ends of their intervals."""
    p_values = holm(outside_p_values([values for *_, values in samples], [test.region for test, *_ in samples]))
    return tuple(
        Cell(test=test, point=point, n=len(values), effect=_short(values.mean()), low=_short(low), high=_short(high),
             p_against=_short(p))
        for (test, point, values), (low, high), p in zip(samples, ends, p_values, strict=True)
    )  # fmt: skip


def _verdict(cells: Sequence[Cell]) -> Verdict:
    outcomes = {cell.outcome for cell in cells}
    if not outcomes:
        return "not run"
    if "against" in outcomes:
        return "not reproduced"
    return "inconclusive" if "undecided" in outcomes else "reproduced"


def _short(value: float) -> float:
    """Six digits: the same on every machine."""
    return float(f"{value:.6g}")
