"""The claims as readers see them: words, numbers and verdict of each reading."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from . import sentences
from .claim import Claim, Verdict
from .verdicts import Decision, Outcome

VERDICTS: tuple[Verdict, ...] = ("reproduced", "not reproduced", "inconclusive", "not run")


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One form of a claim, decided."""

    name: str
    ours: str
    """The statement that is tested."""
    statistic: str
    """What the effect is a number of; empty where nothing was tested."""
    effect: str
    """With its interval; empty where nothing was tested."""
    effect_value: float | None
    n: str
    verdict: Verdict
    partial: str
    """How many of the cells were tested, where not all were."""
    decided_by: str

    @property
    def rank(self) -> int:
        """Place of the verdict when claims are sorted by it."""
        return VERDICTS.index(self.verdict)


@dataclass(frozen=True, kw_only=True)
class ClaimEntry:
    """One claim of the paper."""

    number: int
    paper: str
    where: str
    reading: Reading
    """That which decides the verdict."""
    others: Sequence[Reading]


def entry(decision: Decision) -> ClaimEntry:
    """The claim with all its readings."""
    claim = decision.claim
    return ClaimEntry(
        number=claim.number,
        paper=claim.paper,
        where=claim.where,
        reading=_reading(claim, decision.outcome),
        others=[_reading(claim, outcome) for outcome in decision.others],
    )


def _reading(claim: Claim, outcome: Outcome) -> Reading:
    cell, total = outcome.deciding, len(outcome.cells) + len(outcome.left_out)
    return Reading(
        name=outcome.form.name,
        ours=outcome.form.ours,
        statistic=cell.test.name if cell else "",
        effect=sentences.effect(cell) if cell else "",
        effect_value=cell.effect if cell else None,
        n=sentences.repetitions(outcome),
        verdict=outcome.verdict,
        partial=f"{len(outcome.cells)} of {total} cells tested" if cell and outcome.left_out else "",
        decided_by=sentences.decided_by(claim, outcome),
    )
