"""The answer to `--needs`: what an item needs, and what of it the stores do not hold, in lines."""

from __future__ import annotations

from collections.abc import Sequence

from .build import problems, reason
from .claims import product as claims
from .claims import sentences
from .claims.decide import decide
from .data.needs import Needs
from .data.rows import Rows
from .items import Item

_MOST_LINES = 12
"""Lines of missing cells that an item prints."""


def indented(lines: Sequence[str], *, most: int = _MOST_LINES) -> list[str]:
    """The lines beneath an item, and how many more there are."""
    shown = [f"            {line}" for line in lines[:most]]
    rest = len(lines) - most
    return [*shown, f"            and {rest} more lines like these"] if rest > 0 else shown


def needs_of_item(needs: Needs) -> list[str]:
    """What an item needs."""
    equal = " and ".join(needs.seeds_by)
    lines = [*needs.grids, *([f"from {' or '.join(needs.sweeps)}"] if needs.sweeps else [])]
    if needs.lowest_seed_only:
        lines.append(f"one repetition of each point: the lowest that any point with equal {equal} has")
    else:
        repetitions = f"at least {needs.least_repetitions} repetitions of each point"
        lines.append(f"{repetitions}, the same for points with equal {equal}")
    where = f" at equal {' and '.join(needs.apart)}" if needs.apart else ""
    free = f"; {', '.join(needs.captioned)} may follow from the data" if needs.captioned else ""
    lines.append(f"one value of every other setting{where}, and of the revision{free}")
    if needs.curves:
        lines.append(f"curves of {', '.join(needs.curves)}")
    if needs.artifacts:
        lines.append(f"of each cell: {', '.join(needs.artifacts)}")
    return indented(lines, most=len(lines))


def needs_of_claims() -> list[str]:
    """What each claim needs."""
    return indented([f"{claim.number}: {claims.needs(claim)}" for claim in claims.CLAIMS], most=len(claims.CLAIMS))


def check_item(item: Item, rows: Rows) -> tuple[list[str], int]:
    """What of an item the stores do not hold, and 1 where it would be refused."""
    try:
        selection = item.select(rows, item.needs)
        found = problems(selection, allow_missing=False) if selection else []
    except Exception as error:
        return [reason(error)], 1
    if selection is None:
        return ["not in this store"], 0
    lines = [f"in {', '.join(rows.stores)}:", *(f"            {line}" for line in selection.listing())]
    lines += indented(selection.left_out)
    lines.append(found[0] if found else f"all {selection.cell_count():,} cells are there")
    return [*lines, *indented(found[1:])], 1 if found else 0


def check_claims(rows: Rows) -> tuple[list[str], int]:
    """A line for each claim, and 1 where some claim is not run, or was tested in a part of its cells."""
    decided = decide(claims.CLAIMS, rows)
    lines = [f"in {', '.join(rows.stores)}: {claims.tally(decided)}"]
    for decision in decided:
        coverage = sentences.coverage(decision.outcome)
        lines.append(f"            {decision.claim.number}: {sentences.verdict(decision.outcome)}. {coverage}".rstrip())
        if decision.small and decision.small.cells:
            coverage = sentences.coverage(decision.small)
            lines.append(f"            at small scale: {sentences.verdict(decision.small)}. {coverage}".rstrip())
    return lines, int(any(d.outcome.is_so_far or d.outcome.verdict == "not run" for d in decided))
