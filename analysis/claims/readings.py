"""The claims as readers see them: words, numbers and verdict of each reading."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from . import sentences
from .claim import VERDICTS, Verdict
from .decide import Decision, Outcome


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One reading of a claim, decided."""

    name: str
    ours: str
    """The statement that is tested."""
    why: str
    statistic: str
    """What the effect is a number of; empty where nothing was tested."""
    effect: str
    """With its interval; empty where nothing was tested."""
    effect_value: float | None
    n: str
    verdict: Verdict
    verdict_text: str
    """With the scopes that it holds within, and whether it is so far."""
    is_so_far: bool
    cells: str
    """Says how many hold."""
    holding: str
    """In how many: `3 of 3 cells`; empty where nothing was tested."""
    decided_by: str

    @property
    def rank(self) -> int:
        """Place of the verdict when claims are sorted by it."""
        return VERDICTS.index(self.verdict)


@dataclass(frozen=True, kw_only=True)
class ClaimEntry:
    """One claim of the paper."""

    number: str
    paper: str
    where: str
    reading: Entry
    """That which decides the verdict."""
    small: Entry | None
    """That which decides the verdict at small scale; None where there is none."""
    beside: Sequence[Entry]
    """All but the one that decides the verdict."""

    @property
    def small_text(self) -> str:
        """Verdict, cells in which it holds and effect: `fails, 0 of 1 cell; gain of DVQ on VQ: 16% [15%, 17%]`.

        A dash where the claim has no verdict at small scale.
        """
        if self.small is None:
            return "–"
        small = self.small
        if not small.effect:
            return small.verdict_text
        return f"{small.verdict_text}, {small.holding}; {small.statistic}: {small.effect}"


def entry(decision: Decision) -> ClaimEntry:
    """The claim with all its readings."""
    claim, (first, *beside) = decision.claim, map(_entry, decision.outcomes)
    return ClaimEntry(
        number=claim.number, paper=claim.paper, where=claim.where, reading=first,
        small=beside[0] if claim.small else None, beside=beside,
    )  # fmt: skip


def _entry(outcome: Outcome) -> Entry:
    shown = outcome.deciding
    return Entry(
        name=outcome.reading.name,
        ours=outcome.reading.ours,
        why=outcome.reading.why,
        statistic=shown.cell.test.name if shown else "",
        effect=sentences.effect_with_n(shown) if shown else "",
        effect_value=shown.effect if shown else None,
        n=" or ".join(str(n) for n in sorted({cell.n for cell in outcome.cells})),
        verdict=outcome.verdict,
        verdict_text=sentences.verdict(outcome),
        is_so_far=outcome.is_so_far,
        cells=sentences.cells(outcome) if shown else "",
        holding=sentences.holding(outcome) if shown else "",
        decided_by=sentences.decided_by(outcome),
    )
