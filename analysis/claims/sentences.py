"""What is said about a claim, in words."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dvq_ray.experiment.registry import find_experiment

from ..data.summary import LEVEL
from ..naming import number, seeds_text
from .claim import Claim, Test
from .decide import LEAST_SEEDS, MOST_SEEDS, SIGNIFICANCE, Cell, LeftOut, Outcome, Shown, inside

METHOD = (
    "The protocol states each claim's cells, seeds, statistic and margins. Only these decide, whatever else a store "
    "holds. At small scale: a second verdict, on small models of few images, which says nothing of the paper's scale. "
    "The best prior: the one under which the codes of the model's other seeds cost least. The statistic gives one "
    "number per seed, because points with the same seed saw the same data; the effect is their mean. Each cell is "
    "tested with Student's t-test and with the exact sign-flip test, and the larger p-value counts. Holds: the effect "
    f"lies where the claim says in every cell, at {SIGNIFICANCE:.1%} (one-sided), shared between the statement and its "
    "scopes. Holds within: the same, in every cell of a scope. Fails: the effect lies elsewhere in some cell, at "
    f"{SIGNIFICANCE:.1%} after Holm's correction over the cells. Undecided: none of these. So far: some of the "
    f"protocol's cells or seeds are missing. Not run: no cell has {LEAST_SEEDS} seeds. The effect shown is that of the "
    "cell nearest to failing, or furthest beyond it: half of the seeds choose the cell, the other half give the effect "
    f"and [ ], its {LEVEL:.0%} t-interval."
)
FOLLOWING = ("learning_rate", "steps")
"""Fields that follow from others wherever a claim varies them, and name no cell."""
_MOST_LEFT_OUT = 2


def symbols(claims: Sequence[Claim]) -> str:
    """What the symbols of fields in the claims' words stand for: `D: dimension; K: codebook size`."""
    texts = " ".join(text for claim in claims for text in _texts(claim))
    axes = [axis for claim in claims for axis in find_experiment(claim.trainable).axes().values() if axis.symbol]
    labels = {axis.symbol: axis.label for axis in axes if re.search(rf"\b{re.escape(axis.symbol)}\b", texts)}
    return "; ".join(f"{symbol}: {labels[symbol]}" for symbol in sorted(labels))


def _texts(claim: Claim) -> Iterator[str]:
    yield claim.paper
    for reading in claim.readings:
        yield from (reading.name, reading.ours, reading.why, *(scope.name for scope in reading.scopes))
        yield from (test.name for test in reading.tests)


def verdict(outcome: Outcome) -> str:
    """`holds`, `holds within L = 8, so far`."""
    scopes = " and ".join(scope.name for scope in outcome.scopes)
    words = f"{outcome.verdict} {scopes}".strip()
    return f"{words}, so far" if outcome.is_so_far else words


def effect(test: Test, shown: Shown | Cell) -> str:
    """`−1.869 [−1.889, −1.833]`, with its unit."""
    low, high = shown.interval if isinstance(shown, Cell) else (shown.low, shown.high)
    text = f"{_number(test, shown.effect)} [{_number(test, low)}, {_number(test, high)}]".replace("-", "−")
    return f"{text} {test.unit}".strip()


def effect_with_n(shown: Shown) -> str:
    """Effect with its unit, and the number of seeds where it is not from all of the cell's."""
    text = effect(shown.cell.test, shown)
    return text if shown.n == shown.cell.n else f"{text} (n = {shown.n})"


def _number(test: Test, value: float) -> str:
    return f"{100 * value:.1f}%" if test.percent else f"{value:#.4g}".rstrip(".")


def region(test: Test) -> str:
    """Where the claim says that the effect lies, as it is shown."""
    low, high = test.region.low, test.region.high
    finite = [bound for bound in (low, high) if abs(bound) != float("inf")]
    bounds = [(f"{100 * bound:g}%" if test.percent else f"{bound:g}").replace("-", "−") for bound in finite]
    if len(bounds) == 2:
        return f"between {bounds[0]} and {bounds[1]}"
    return f"{'above' if high == float('inf') else 'below'} {bounds[0]}"


def place(reading_tests: Sequence[Test], cell: Cell | LeftOut) -> str:
    """A cell by what tells it from the others: `dimension=64 slices=4`, and by its partner where that is needed."""
    return _place(reading_tests, _varying(reading_tests), cell)


def _place(reading_tests: Sequence[Test], varying: set[str], cell: Cell | LeftOut) -> str:
    mine = cell.test.cells[cell.place]
    words = [f"{name}={number(value)}" for name, value in mine[0].items() if name in varying]
    rest = [points[1:] for test in reading_tests for points in test.cells if points[0] == mine[0]]
    if len(rest) > 1:
        partner = {name: value for name, value in mine[1].items() if mine[0].get(name) != value}
        words += ["against", *(f"{name}={number(value)}" for name, value in partner.items())]
    return " ".join(words)


def _varying(reading_tests: Sequence[Test]) -> set[str]:
    """Fields in which the first points of the cells differ."""
    points = [points[0] for test in reading_tests for points in test.cells]
    names = {name for point in points for name in point}
    return {name for name in names if len({point.get(name) for point in points}) > 1} - {*FOLLOWING}


def coverage(outcome: Outcome) -> str:
    """What of the protocol's cells and seeds was not there; empty where all was."""
    parts = []
    lines = [*left_out(outcome)]
    total = len(outcome.cells) + len(lines)
    if outcome.cells and lines:
        more = f"; and {len(lines) - _MOST_LEFT_OUT} more" if len(lines) > _MOST_LEFT_OUT else ""
        parts.append(f"Left out: {len(lines)} of {total} cells ({'; '.join(lines[:_MOST_LEFT_OUT])}{more}).")
    short = [cell for cell in outcome.cells if cell.sample.lost]
    if short:
        state, seeds = next(iter(short[0].sample.lost.items()))
        example = f"{place(outcome.reading.tests, short[0])}: {state}, {seeds_text(seeds)}".removeprefix(": ")
        parts.append(f"Without all of their seeds: {len(short)} of {total} cells ({example}).")
    return " ".join(parts)


def left_out(outcome: Outcome) -> Iterator[str]:
    """A line for each cell that could not be tested."""
    tests = outcome.reading.tests
    varying = _varying(tests) if outcome.left_out else set()
    for out in outcome.left_out:
        yield f"{_place(tests, varying, out)}: {out.why}".removeprefix(": ")


def holding(outcome: Outcome) -> str:
    """`17 of 30 cells`."""
    total = len(outcome.cells)
    return f"{outcome.count('holds')} of {total} cell{'s' * (total > 1)}"


def cells(outcome: Outcome) -> str:
    """`17 of 30 cells hold (57%), 13 against`."""
    total, holds, against = len(outcome.cells), outcome.count("holds"), outcome.count("against")
    text = f"{holding(outcome)} {'holds' if total == 1 else 'hold'}"
    text += f" ({outcome.share:.0%})" if total > 1 else ""
    text += f", {against} against" if against else ""
    undecided = total - holds - against
    return f"{text}, {undecided} undecided" if undecided else text


def decided_by(outcome: Outcome) -> str:
    """Sentences on what decides the verdict, what is typical, and what is missing."""
    shown, median = outcome.deciding, outcome.median
    if shown is None or median is None:
        reason = next(left_out(outcome), "None of its cells is stored.")
        return f"{reason[:1].upper()}{reason[1:]}. To run: {outcome.reading.to_run}.".replace("..", ".")
    total = len(outcome.cells)
    parts = [f"Claimed: {region(shown.cell.test)}; {cells(outcome)}."]
    for scope in outcome.reading.scopes if outcome.verdict != "holds" else ():
        its = inside(scope, outcome.cells)
        parts.append(f"{scope.name}: {sum(cell.outcome == 'holds' for cell in its)} of {len(its)}.")
    if total > 1:
        several = len({id(cell.test) for cell in outcome.cells}) > 1
        of_which = f" ({shown.cell.test.name})" if several else ""
        parts.append(f"Shown: {place(outcome.reading.tests, shown.cell)}{of_which}.")
        of_which = f" of {median.test.name}" if several else ""
        parts.append(f"Median{of_which}: {effect(median.test, median)}.")
    parts.append(best_priors(outcome))
    if outcome.seeds_to_decide is not None:
        parts.append(f"{_to_decide(outcome.seeds_to_decide)}.")
    return " ".join(filter(None, (*parts, coverage(outcome))))


def best_priors(outcome: Outcome) -> str:
    """Which priors were the best ones of its points and seeds; empty where none was chosen."""
    counts = sum((Counter(cell.sample.best_priors) for cell in outcome.cells), Counter[str]())
    if len(counts) < 2:
        return "".join(f"The best prior of every model and seed: {prior}." for prior in counts)
    shares = [f"{prior} {count} of {counts.total()} times" for prior, count in counts.most_common()]
    return f"Best priors of models and seeds: {', '.join(shares)}."


def _to_decide(seeds: float) -> str:
    if seeds > MOST_SEEDS:
        return f"More than {MOST_SEEDS:,} seeds would be needed to decide every cell"
    return f"About {seeds:,.0f} seeds would decide every cell, if the effects are as measured"


def varied(test: Test) -> Mapping[str, Sequence[Any]]:
    """Values by field that the cells' first points differ in, in the order in which they come."""
    firsts = [points[0] for points in test.cells]
    varying = _varying([test])
    return {
        name: list(dict.fromkeys(point[name] for point in firsts if name in point))
        for name in firsts[0] if name in varying
    }  # fmt: skip
