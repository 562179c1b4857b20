"""The claims as files: a table in Markdown, the same as CSV, and JSON with every cell and its provenance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from ..data.rows import Rows
from ..output.numbers import as_csv
from ..output.sidecar import as_json, commits, digest_of, provenance
from ..output.tables import Section, Table, columns_of, markdown
from . import bootstrap, learned_prior, sentences, static_prior
from .claim import VERDICTS, Claim, Test
from .decide import Cell, Decision, Outcome, decide
from .findings import FINDINGS
from .priors import CODES
from .readings import ClaimEntry, Entry, entry

CLAIMS: Sequence[Claim] = (*static_prior.CLAIMS, *learned_prior.CLAIMS)
"""The paper's claims."""
TESTED: Sequence[Claim] = (*CLAIMS, *FINDINGS)
METRICS = {
    CODES,
    *(m for claim in TESTED for reading in claim.readings for test in reading.tests for m in test.metrics),
}
"""The columns that claims take."""
_OF_SEVERAL = {"holds": "hold", "holds within": "hold within", "fails": "fail"}
TITLE = "Claims: what the paper says, and whether these rows bear it out"


def tally(decided: Sequence[Decision]) -> str:
    """`7 hold, 1 holds so far, 3 fail`; then those at small scale, where any was tested."""
    small = [decision.small for decision in decided if decision.small]
    text = _counted([decision.outcome for decision in decided])
    return f"{text}; at small scale: {_counted(small)}" if any(outcome.cells for outcome in small) else text


def _counted(outcomes: Sequence[Outcome]) -> str:
    counts = Counter((outcome.verdict, outcome.is_so_far) for outcome in outcomes)
    return ", ".join(
        f"{count} {verdict if count == 1 else _OF_SEVERAL.get(verdict, verdict)}{', so far' * so_far}"
        for verdict in VERDICTS for so_far in (False, True) if (count := counts[verdict, so_far])
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Results:
    """All claims, decided and written."""

    files: Mapping[str, bytes]
    """Contents by suffix."""
    entries: Sequence[ClaimEntry]
    findings: Sequence[ClaimEntry]
    tally: str
    """Number of the paper's claims with each verdict, in words."""
    symbols: str
    """What the symbols in all of them stand for."""


def results(rows: Rows) -> Results:
    """All claims, decided and written. Raises `StoreError` where curves or artifacts cannot be read."""
    decided = decide(TESTED, rows)
    claims, findings = decided[: len(CLAIMS)], decided[len(CLAIMS) :]
    return Results(
        files=files(claims, rows, findings),
        entries=[entry(each) for each in claims],
        findings=[entry(each) for each in findings],
        tally=tally(claims),
        symbols=sentences.symbols(TESTED),
    )


def files(decided: Sequence[Decision], rows: Rows, findings: Sequence[Decision] = ()) -> dict[str, bytes]:
    """Contents by suffix. Equal rows give equal bytes."""
    return {
        ".md": _markdown([entry(each) for each in decided], [entry(each) for each in findings]).encode(),
        ".csv": as_csv(pd.DataFrame(list(_lines([*decided, *findings])))),
        ".json": _json(decided, rows, findings),
    }


def _markdown(entries: Sequence[ClaimEntry], findings: Sequence[ClaimEntry]) -> str:
    tested = [
        *columns_of(["tested here", "effect"]), *columns_of([], ["n"]), *columns_of(["verdict", "what decides it"]),
    ]  # fmt: skip
    own = [[entry.number, f"{entry.paper} ({entry.where})", *_cells(entry.reading), entry.small_text]
           for entry in entries]  # fmt: skip
    others = [[entry.number, other.name, *_cells(other)] for entry in entries for other in entry.beside]
    first = Table(
        name="Claims", title="What the paper says, and whether the rows bear it out.",
        columns=[*columns_of([], ["#"]), *columns_of(["the paper says"]), *tested, *columns_of(["at small scale"])],
        sections=[Section(rows=own)], notes=[sentences.METHOD],
    )  # fmt: skip
    second = Table(
        name="Other readings", title="The same claims at equal bits, at small scale and in other forms.",
        columns=[*columns_of([], ["#"]), *columns_of(["reading"]), *tested], sections=[Section(rows=others)],
        notes=[f"{sentences.symbols(TESTED)}. Bits are those of the code of one vector."],
    )  # fmt: skip
    third = Table(
        name="Findings", title="What the README and the results page say beyond the paper.",
        columns=[*columns_of([], ["#"]), *columns_of(["finding"]), *tested],
        sections=[Section(rows=[[each.number, each.paper, *_cells(each.reading)] for each in findings])],
    )  # fmt: skip
    return "\n".join(markdown(table) for table in (first, second, *([third] if findings else [])))


def _cells(reading: Entry) -> list[str]:
    effect = f"{reading.statistic}: {reading.effect}" if reading.effect else "–"
    return [reading.ours, effect, reading.n or "–", reading.verdict_text, reading.decided_by]


def _lines(decided: Sequence[Decision]) -> Iterator[dict[str, Any]]:
    """A row for each reading of each claim."""
    for decision in decided:
        for outcome in decision.outcomes:
            shown, median = outcome.deciding, outcome.median
            yield {
                "claim": decision.claim.number,
                "reading": outcome.reading.name,
                "paper": decision.claim.paper,
                "ours": outcome.reading.ours,
                "verdict": sentences.verdict(outcome),
                "statistic": shown.cell.test.name if shown else None,
                "effect": _short(shown.effect) if shown else None,
                "low": _short(shown.low) if shown else None,
                "high": _short(shown.high) if shown else None,
                "n_of_effect": shown.n if shown else None,
                "median_effect": _short(median.effect) if median else None,
                "cells": len(outcome.cells),
                **{word: outcome.count(word) for word in ("holds", "against", "undecided")},
                "left_out": len(outcome.left_out),
                "decided_by": sentences.decided_by(outcome),
            }


def _json(decided: Sequence[Decision], rows: Rows, findings: Sequence[Decision]) -> bytes:
    content = {
        "item": "claims",
        "caption": f"{TITLE}. {sentences.METHOD}",
        **provenance(rows),
        "claims": [_claim(decision) for decision in decided],
        "findings": [_claim(decision) for decision in findings],
        "cells": len(rows.frame),
        "rows_sha256": digest(rows),
        "run_commits": commits(rows.frame),
    }
    return as_json(content)


def _claim(decision: Decision) -> dict[str, Any]:
    claim = decision.claim
    return {
        "claim": claim.number,
        "paper": claim.paper,
        "where": claim.where,
        "trainable": claim.trainable,
        **_outcome(decision.outcome),
        "at_small_scale": _outcome(decision.small) if decision.small else None,
        "other_readings": [_outcome(outcome) for outcome in decision.others],
    }


def _outcome(outcome: Outcome) -> dict[str, Any]:
    reading, shown = outcome.reading, outcome.deciding
    ends = dict(zip([id(cell) for cell in outcome.cells], bootstrap.intervals(outcome.cells), strict=True))
    return {
        "reading": reading.name,
        "ours": reading.ours,
        "why": reading.why,
        "sweep": reading.sweep,
        **({"prior_sweep": reading.prior_sweep} if reading.prior_sweep else {}),
        "seeds": [reading.seeds.start, reading.seeds.stop - 1],
        "verdict": outcome.verdict,
        "within": [scope.name for scope in outcome.scopes],
        "so_far": outcome.is_so_far,
        "level": _short(outcome.level),
        "decided_by": sentences.decided_by(outcome),
        "shown": {
            "statistic": shown.cell.test.name, "at": _at(shown.cell), "n": shown.n, "effect": _short(shown.effect),
            "low": _short(shown.low), "high": _short(shown.high),
        } if shown else None,
        "counts": {word: outcome.count(word) for word in ("holds", "against", "undecided")},
        "seeds_to_decide": outcome.seeds_to_decide if outcome.seeds_to_decide != float("inf") else None,
        "coverage": sentences.coverage(outcome),
        "left_out": [*sentences.left_out(outcome)],
        "tests": [
            _test(test, [(cell, ends[id(cell)]) for cell in outcome.cells if cell.test is test])
            for test in reading.tests
        ],
    }  # fmt: skip


def _test(test: Test, cells: Sequence[tuple[Cell, tuple[float, float]]]) -> dict[str, Any]:
    return {
        "statistic": test.name,
        "unit": "share" if test.percent else test.unit,
        "claimed": test.region.text(),
        "of": "some cell" if test.any else "every cell",
        "metrics": list(test.metrics),
        **({"prior": test.prior} if test.prior else {}),
        "cells": [_cell(cell, ends) for cell, ends in cells],
    }


def _at(cell: Cell) -> list[dict[str, Any]]:
    return [dict(point) for point in cell.test.cells[cell.place]]


def _cell(cell: Cell, ends: tuple[float, float]) -> dict[str, Any]:
    low, high = cell.interval
    bound = cell.test.region
    return {
        "at": _at(cell),
        "n": cell.n,
        "effect": _short(cell.effect),
        "low": _short(low),
        "high": _short(high),
        "bootstrap": [_short(end) for end in ends],
        "image_error": _short(cell.sample.image_error),
        **({"best_priors": dict(sorted(cell.sample.best_priors.items()))} if cell.sample.best_priors else {}),
        "p_holds": _short(cell.p_holds),
        "p_against": _short(cell.p_against),
        "p_against_corrected": _short(cell.corrected),
        "outcome": cell.outcome,
        "bootstrap_agrees": bootstrap.agrees(cell.outcome, bound, ends),
    }


def digest(rows: Rows) -> str:
    """SHA-256 of all rows, as `digest_of` has it: ids, statuses, then each metric that a claim takes."""
    held = [metric for metric in sorted(METRICS) if metric in rows.frame]
    return digest_of([(rows.frame, ["cell_id", "status"], held)])


def needs(claim: Claim) -> str:
    """What a claim takes, in a line."""
    reading = claim.reading
    count = sum(len(test.cells) for test in reading.tests)
    seeds = f"{reading.seeds.start} to {reading.seeds.stop - 1}"
    return f"{count} cells of {claim.trainable}, seeds {seeds}, as docs/protocol.md has them; {reading.to_run}"


def _short(value: float) -> float:
    """Six digits: the same on every machine."""
    return float(f"{value:.6g}")
