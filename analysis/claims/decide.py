"""From the samples of a claim's cells to its verdict."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from scipy import special

from dvq_ray import inference

from ..data.rows import Rows
from ..data.summary import LEVEL
from .claim import Array, Claim, Fields, Reading, Region, Scope, Test, Verdict
from .priors import PriorsOfCodes
from .samples import MissingError, Sample, Stored

SIGNIFICANCE = 0.025
"""Chance that a claim is said to hold where it is false, at most; and likewise that it is said to fail."""
LEAST_SEEDS = 8
"""Least number of seeds of a cell that is tested: with fewer, the sign-flip test can hardly reach a verdict."""
_POWER = 0.8
MOST_SEEDS = 10_000
"""Largest number of seeds that is given as enough to decide."""
Side = Literal["holds", "against", "undecided"]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One test in one cell."""

    test: Test
    place: int
    """Index of the cell among those of the test."""
    sample: Sample
    p_holds: float
    """p-value of the effect lying outside of the region."""
    p_against: float
    """p-value of the effect lying inside."""
    corrected: float
    """`p_against`, corrected by Holm over all cells of the reading."""

    @property
    def fields(self) -> Fields:
        """The point that names the cell."""
        return self.test.cells[self.place][0]

    @property
    def n(self) -> int:
        """Repetitions."""
        return len(self.sample.values)

    @cached_property
    def effect(self) -> float:
        """The mean over seeds."""
        return float(self.sample.values.mean())

    @cached_property
    def interval(self) -> tuple[float, float]:
        """95% interval by Student's t; where test images are resampled too, wide enough for both."""
        return inference.t_interval(self.sample.values, LEVEL, self.sample.image_error)

    @cached_property
    def outcome(self) -> Side:
        """What this cell says of the claim."""
        if self.p_holds <= SIGNIFICANCE:
            return "holds"
        return "against" if self.corrected <= SIGNIFICANCE else "undecided"

    def seeds_to_decide(self, level: float) -> float:
        """Repetitions with which a t-test at this level would find an effect of this size with a power of 80%.

        Infinite where the error that is due to the test images alone is too large.
        """
        variance = float(self.sample.values.var(ddof=1))
        error = abs(self.test.region.margin(self.effect)) / float(special.ndtri(1 - level) + special.ndtri(_POWER))
        left = error**2 - self.sample.image_error**2
        return max(float(math.ceil(variance / left)), LEAST_SEEDS) if left > 0 else math.inf


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """A cell that could not be tested."""

    test: Test
    place: int
    why: str


@dataclass(frozen=True, kw_only=True)
class Shown:
    """The cell nearest to failing, or furthest beyond it: half of the seeds choose it, and the others measure it."""

    cell: Cell
    n: int
    effect: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What the stores say of one reading of a claim."""

    reading: Reading
    verdict: Verdict
    scopes: tuple[Scope, ...]
    """Where it holds, for `holds within`."""
    cells: tuple[Cell, ...]
    left_out: tuple[LeftOut, ...]
    level: float
    """Significance level at which its statement, and that of each of its scopes, is tested to hold."""

    @cached_property
    def is_so_far(self) -> bool:
        """Whether some of the protocol's cells or repetitions are not there."""
        return bool(self.cells) and (bool(self.left_out) or any(cell.sample.lost for cell in self.cells))

    def count(self, side: Side) -> int:
        """Number of cells with this outcome."""
        return sum(cell.outcome == side for cell in self.cells)

    @property
    def share(self) -> float:
        """Share of the cells tested in which the claim holds."""
        return self.count("holds") / len(self.cells)

    @cached_property
    def deciding(self) -> Shown | None:
        """The deciding cell; of a reading with one cell, that cell and all of its seeds."""
        if not self.cells:
            return None
        if len(self.cells) == 1:
            (cell,) = self.cells
            return Shown(cell=cell, n=cell.n, effect=cell.effect, low=cell.interval[0], high=cell.interval[1])
        cell = min(self.cells, key=_margin_by_half)
        rest = cell.sample.values[1::2]
        low, high = inference.t_interval(rest, LEVEL, cell.sample.image_error)
        return Shown(cell=cell, n=len(rest), effect=float(rest.mean()), low=low, high=high)

    @cached_property
    def median(self) -> Cell | None:
        """The cell whose effect is in the middle of those of its test: of the first test where there are several."""
        its = sorted((cell for cell in self.cells if cell.test is self.cells[0].test), key=lambda cell: cell.effect)
        return its[len(its) // 2] if its else None

    @cached_property
    def seeds_to_decide(self) -> float | None:
        """Repetitions that would decide every undecided cell, were the effects as measured; None where all are."""
        undecided = [cell for cell in self.cells if cell.outcome == "undecided"]
        return max((cell.seeds_to_decide(self.level) for cell in undecided), default=None)


def _margin_by_half(cell: Cell) -> float:
    """How far a cell is from failing by every other seed, in standard deviations: cells have different units."""
    values = cell.sample.values[::2]
    margin = cell.test.region.margin(float(values.mean()))
    return margin / (float(values.std(ddof=1)) or math.ulp(1.0))


@dataclass(frozen=True, kw_only=True)
class Decision:
    """A claim, decided."""

    claim: Claim
    outcomes: tuple[Outcome, ...]
    """Those of `Claim.readings`, in their order."""

    @property
    def outcome(self) -> Outcome:
        """Outcome of the reading that decides."""
        return self.outcomes[0]

    @property
    def small(self) -> Outcome | None:
        """Outcome of the reading that decides at small scale; None where the claim has none."""
        return self.outcomes[1] if self.claim.small else None

    @property
    def others(self) -> tuple[Outcome, ...]:
        """Those of the readings that decide nothing."""
        return self.outcomes[2 if self.claim.small else 1 :]


def decide(claims: Sequence[Claim], rows: Rows) -> list[Decision]:
    """What the stores say of each claim. Raises `StoreError` where curves or artifacts cannot be read."""
    trainables = sorted({claim.trainable for claim in claims})
    stored = {name: Stored(rows, name, [claim for claim in claims if claim.trainable == name]) for name in trainables}
    priors = {trainable: PriorsOfCodes(rows, its) for trainable, its in stored.items()}
    found = []
    for claim in claims:
        held = stored[claim.trainable], priors[claim.trainable]
        found.append(Decision(claim=claim, outcomes=tuple(_outcome(reading, *held) for reading in claim.readings)))
    return found


def _outcome(reading: Reading, stored: Stored, priors: PriorsOfCodes) -> Outcome:
    found: list[tuple[Test, int, Sample]] = []
    left_out: list[LeftOut] = []
    for test in reading.tests:
        for place, points in enumerate(test.cells):
            try:
                sample = (priors if test.prior else stored).sample(test, points, reading.seeds)
                if (n := len(sample.values)) < LEAST_SEEDS:
                    raise MissingError(f"{n} repetitions, and {LEAST_SEEDS} are needed")
                found.append((test, place, sample))
            except MissingError as error:
                left_out.append(LeftOut(test=test, place=place, why=str(error)))
    return judged(reading, found, left_out)


def judged(reading: Reading, found: Sequence[tuple[Test, int, Sample]], left_out: Sequence[LeftOut] = ()) -> Outcome:
    """The verdict on a reading, from the samples of its cells: each with its test and its place among the test's."""
    cells = _tested(found)
    level = SIGNIFICANCE / (1 + len(reading.scopes))
    verdict, scopes = _verdict(reading, cells, level)
    return Outcome(
        reading=reading, verdict=verdict, scopes=scopes, cells=cells, left_out=tuple(left_out), level=level
    )  # fmt: skip


def _tested(found: Sequence[tuple[Test, int, Sample]]) -> tuple[Cell, ...]:
    ps = [_p_values(test.region, sample) for test, _, sample in found]
    corrected = inference.holm([against for _, against in ps])
    return tuple(
        Cell(test=test, place=place, sample=sample, p_holds=holds, p_against=against, corrected=holms)
        for (test, place, sample), (holds, against), holms in zip(found, ps, corrected, strict=True)
    )


def _p_values(region: Region, sample: Sample) -> tuple[float, float]:
    """p-values of the effect lying outside of the region, and of it lying inside."""
    is_between = math.isfinite(region.low) and math.isfinite(region.high)
    holds, against = [], []
    for bound, above in ((region.low, True), (region.high, False)):
        if math.isfinite(bound):
            sign = 1.0 if above else -1.0
            values = sign * sample.values
            holds.append(p_above(values, sign * bound, sample.image_error))
            against.append(p_above(-values, -sign * bound, sample.image_error))
    return max(holds), min(1.0, (2 if is_between else 1) * min(against))


def p_above(values: Array, bound: float, image_error: float = 0.0) -> float:
    """One-sided p-value against a mean over seeds of at most `bound`; over test images too where their error is given.

    The largest of the t-test's, the sign-flip test's and, with images, that of the t-test whose error is that of both.
    """
    p_value = inference.p_above(values, bound)
    if image_error:
        both = math.hypot(inference.standard_error(values), image_error)
        p_value = max(p_value, float(special.stdtr(len(values) - 1, -(float(values.mean()) - bound) / both)))
    return p_value


def _verdict(reading: Reading, cells: Sequence[Cell], level: float) -> tuple[Verdict, tuple[Scope, ...]]:
    if not cells:
        return "not run", ()
    if _holds(cells, level):
        return "holds", ()
    within = tuple(scope for scope in reading.scopes if _holds(inside(scope, cells), level))
    if within:
        return "holds within", within
    if _fails(reading, cells):
        return "fails", ()
    return "undecided", ()


def inside(scope: Scope, cells: Sequence[Cell]) -> list[Cell]:
    """Cells that the scope covers."""
    return [cell for cell in cells if scope.covers(cell.fields)]


def _holds(cells: Sequence[Cell], level: float) -> bool:
    """Whether every test holds: in all of its cells at that level, or where it says "some" in one at a share of it."""
    return bool(cells) and all(
        min(cell.p_holds for cell in its) * len(its) <= level if test.any else all(c.p_holds <= level for c in its)
        for test, its in _by_test(cells)
    )


def _fails(reading: Reading, cells: Sequence[Cell]) -> bool:
    """Whether some test is refuted: in one cell after correction, or where it says "some" in every cell."""
    return any(
        len(its) == len(test.cells) and max(cell.p_against for cell in its) * len(reading.tests) <= SIGNIFICANCE
        if test.any
        else any(cell.corrected <= SIGNIFICANCE for cell in its)
        for test, its in _by_test(cells)
    )


def _by_test(cells: Sequence[Cell]) -> list[tuple[Test, list[Cell]]]:
    tests = {id(cell.test): cell.test for cell in cells}
    return [(test, [cell for cell in cells if cell.test is test]) for test in tests.values()]
