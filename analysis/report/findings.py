"""What a reader should know first: three sentences with numbers, from the tables that every experiment has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..build import Made
from ..claims.readings import ClaimEntry
from ..output.tables import Section, Table

MOST = 3


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A sentence, and the item that it is from; empty for one that was tested like the claims."""

    text: str
    item: str = ""


def findings(made: Sequence[Made], tested: Sequence[ClaimEntry] = ()) -> list[Finding]:
    """At most three: what was tested and decided, the best quantizer of rates with most quantizers, who beats whom."""
    decided = [_tested(each) for each in tested if each.reading.effect]
    by_points: list[tuple[int, Finding]] = []
    duels: list[Finding] = []
    for each in made:
        if table := _table(each, "ranking"):
            by_points += _ranked(table, each.item.name)
        if table := _table(each, "versus"):
            duels += _duels(table, each.item.name)
    ranked = [finding for _, finding in sorted(by_points, key=lambda pair: -pair[0])]
    return [*decided, *ranked, *duels][:MOST]


def _tested(finding: ClaimEntry) -> Finding:
    reading = finding.reading
    return Finding(text=f"{finding.paper}: {reading.verdict_text} ({reading.statistic}: {reading.effect}).")


def _table(made: Made, end: str) -> Table | None:
    return made.product.table if made.item.name.endswith(f"-{end}") else None


def _ranked(table: Table, item: str) -> Iterator[tuple[int, Finding]]:
    """With each finding, how many points it is of."""
    metric = table.columns[1].heading
    for section in table.sections:
        best, *others = section.rows
        text = f"{section.title}: {best[0]} has the best {metric}, {best[1]}"
        if others:
            name, _, difference, interval, verdict = others[0][:5]
            interval = f" ({interval})" if interval != "–" else ""
            distance = f", {difference} from it{interval}" if difference != "–" else ""
            text += f"; next is {name}{distance}" + (", which decides nothing" if verdict == "undecided" else "")
        yield len(section.rows), Finding(text=f"{text[0].upper()}{text[1:]}.", item=item)


def _duels(table: Table, item: str) -> Iterator[Finding]:
    for section in table.sections:
        yield from (Finding(text=_duel(section, row), item=item) for row in section.rows)


def _duel(section: Section, row: Sequence[str]) -> str:
    a, b, compared, *counts, difference = row
    wins, losses, undecided, few = (int(count.replace(",", "")) for count in counts)
    winner, loser, most = (a, b, wins) if wins >= losses else (b, a, losses)
    rest = [(min(wins, losses), "lost"), (undecided, "undecided"), (few, "with too few pairs")]
    others = ", ".join(f"{count:,} {what}" for count, what in rest if count)
    if not wins and not losses:
        return f"{section.title}, {a} and {b} differ in none of {compared} comparisons."
    sign = f"; median difference of {a} from {b}: {difference}" if difference != "–" else ""
    others = f" ({others})" if others else ""
    return f"{section.title}, {winner} beats {loser} in {most:,} of {compared} comparisons{others}{sign}."
