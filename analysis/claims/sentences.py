"""What is said about a claim, in words."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ..data.summary import LEVEL
from ..naming import listed
from .cells import differing, words
from .claim import Claim, Settings
from .verdicts import SIGNIFICANCE, Cell, Outcome

METHOD = (
    "Effects are means over seeds of numbers taken seed by seed, because points of equal seed saw the same data; "
    f"[ ] is their {LEVEL:.0%} bootstrap interval, widened for small n. A claim is tested in many cells at once. "
    "Reproduced: the interval lies where the claim says in every cell; that is an intersection-union test, which needs "
    "no correction. Not reproduced: in some cell the interval lies on the other side and a one-sided t-test at "
    f"{SIGNIFICANCE:.1%}, Holm-corrected over the cells, agrees. Inconclusive: neither. Not run: no cell could be "
    "tested. Cells that lack a repetition are left out and counted. Of the cells, the effect shown is that which "
    "decides: the one nearest to failing where all hold, else the one farthest from what the claim says."
)
_NAMES = (
    "dataset", "image_size", "dimension", "factors", "codebook_size", "slices", "joint_codebooks", "joint_positions",
    "init_bound", "downsamplings",
)  # fmt: skip
"""Columns that name a cell; others do where these are not enough."""
_MOST_LEFT_OUT = 2


def naming_columns(points: Sequence[Settings]) -> Collection[str]:
    """Columns in which these points differ."""
    columns = differing(points)
    short = [column for column in columns if column in _NAMES]
    distinct = len({tuple([point[column] for column in columns]) for point in points})
    return short if len({tuple([point[column] for column in short]) for point in points}) == distinct else columns


def effect(cell: Cell) -> str:
    """`−1.869 [−1.889, −1.833]`, with its unit."""
    text = f"{_number(cell, cell.effect)} [{_number(cell, cell.low)}, {_number(cell, cell.high)}]".replace("-", "−")
    return f"{text} {cell.test.unit}".strip()


def _number(cell: Cell, value: float) -> str:
    return f"{100 * value:.1f}%" if cell.test.percent else f"{value:#.4g}".rstrip(".")


def region(cell: Cell) -> str:
    """Where the claim says that the effect lies, as it is shown."""
    low, high = cell.test.region.low, cell.test.region.high
    bounds = [f"{100 * b:g}%" if cell.test.percent else f"{b:g}" for b in (low, high) if abs(b) != float("inf")]
    if len(bounds) == 2:
        return f"between {bounds[0]} and {bounds[1]}"
    return f"{'above' if high == float('inf') else 'below'} {bounds[0]}"


def where(outcome: Outcome, cell: Cell) -> str:
    """The cell among those of its outcome."""
    name = words(cell.point, naming_columns([other.point for other in outcome.cells]))
    return f" at {name}" if name else ""


def repetitions(outcome: Outcome) -> str:
    """`10 or 20`."""
    return " or ".join(str(n) for n in sorted({cell.n for cell in outcome.cells}))


def coverage(claim: Claim, outcome: Outcome) -> str:
    """What of the claim was not tested; empty where all of it was."""
    parts = []
    if outcome.left_out:
        lines = left_out(outcome)
        total = len(outcome.cells) + len(lines)
        more = f"; and {len(lines) - _MOST_LEFT_OUT} more" if len(lines) > _MOST_LEFT_OUT else ""
        parts.append(f"Left out: {len(lines)} of {total} cells ({'; '.join(lines[:_MOST_LEFT_OUT])}{more}).")
    if outcome.cells and outcome.never_run:
        values = "; ".join(f"{column}={listed(values)}" for column, values in outcome.never_run.items())
        has_rest = f" ({claim.fuller} has more)" if claim.fuller and outcome.form is claim.form else ""
        parts.append(f"Never run: {values}{has_rest}.")
    return " ".join(parts)


def left_out(outcome: Outcome) -> list[str]:
    """A line for each cell that could not be tested."""
    points = [*(cell.point for cell in outcome.cells), *(out.point for out in outcome.left_out)]
    columns = naming_columns(points)
    return [f"{words(out.point, columns)}: {out.why}".removeprefix(": ") for out in outcome.left_out]


def decided_by(claim: Claim, outcome: Outcome) -> str:
    """A sentence on what decides the verdict, and what was left out."""
    cell = outcome.deciding
    if cell is None:
        return _not_run(claim, outcome)
    total, holds, against = len(outcome.cells), outcome.count("holds"), outcome.count("against")
    rest = f"; farthest{where(outcome, cell)}" if total > 1 else ""
    if outcome.verdict == "reproduced":
        nearest = f"; nearest to failing{where(outcome, cell)}" if total > 1 else ""
        text = f"{_in_cells(holds, total)} the interval of {_subject(outcome, cell)}{nearest}."
    elif outcome.verdict == "not reproduced":
        kept = f" ({holds} hold, {total - holds - against} undecided)" if total > against else ""
        said = f"lies on the other side of what is claimed ({region(cell)}) after correction{kept}"
        text = f"{_in_cells(against, total)} the interval {said}{rest}{_of_which(outcome, cell)}."
    else:
        undecided = total - holds - against
        text = (
            f"{_in_cells(undecided, total)} the interval is not all {region(cell)}, and none is against it after "
            f"correction ({holds} hold){rest}{_of_which(outcome, cell)}."
        )
    return " ".join(filter(None, (text, coverage(claim, outcome))))


def _in_cells(some: int, total: int) -> str:
    if total == 1:
        return "In the one cell"
    return f"In all {total} cells" if some == total else f"In {some} of {total} cells"


def _subject(outcome: Outcome, cell: Cell) -> str:
    several = len({c.test.name for c in outcome.cells}) > 1
    return "every statistic lies where the claim says" if several else f"{cell.test.name} lies {region(cell)}"


def _of_which(outcome: Outcome, cell: Cell) -> str:
    """The statistic, where the form has several."""
    return f" ({cell.test.name})" if len({c.test.name for c in outcome.cells}) > 1 else ""


def _not_run(claim: Claim, outcome: Outcome) -> str:
    reason = coverage(claim, outcome) or "None of its points is stored."
    return f"{reason} To run: {claim.sweep}."
