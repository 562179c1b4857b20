"""The claims as files: a table in Markdown, the same as CSV, and JSON with every cell and its provenance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import pandas as pd

from analysis.claims import learned_prior, sentences, static_prior
from analysis.claims.cells import differing
from analysis.claims.claim import Claim, Settings, Test
from analysis.claims.verdicts import Cell, Decision, Outcome, decide
from analysis.numbers import as_csv
from analysis.rows import Rows
from analysis.sidecar import as_json, commits, digest_of, provenance
from analysis.tables import Column, Section, Table, markdown

CLAIMS: Sequence[Claim] = (*static_prior.CLAIMS, *learned_prior.CLAIMS)
VERDICTS = ("reproduced", "not reproduced", "inconclusive", "not run")
TITLE = "Claims: what the paper says, and whether these rows bear it out"


def decisions(rows: Rows) -> list[Decision]:
    """All claims, decided. Raises `StoreError` where curves cannot be read."""
    return decide(CLAIMS, rows)


def tally(decided: Sequence[Decision]) -> str:
    """`7 reproduced, 3 not reproduced`."""
    counts = Counter[str](decision.outcome.verdict for decision in decided)
    return ", ".join(f"{counts[verdict]} {verdict}" for verdict in VERDICTS if counts[verdict])


def files(decided: Sequence[Decision], rows: Rows) -> dict[str, bytes]:
    """Contents by suffix. Equal rows give equal bytes."""
    return {
        ".md": _markdown(decided).encode(),
        ".csv": as_csv(pd.DataFrame(list(_lines(decided)))),
        ".json": _json(decided, rows),
    }


def _markdown(decided: Sequence[Decision]) -> str:
    words = [
        Column(heading="#"), Column(heading="the paper says", is_text=True),
        Column(heading="tested here", is_text=True),
        Column(heading="effect", is_text=True), Column(heading="n"), Column(heading="verdict", is_text=True),
        Column(heading="what decides it", is_text=True),
    ]  # fmt: skip
    own = [
        [str(d.claim.number), f"{d.claim.paper} ({d.claim.where})", *_said(d.claim, d.outcome)] for d in decided
    ]  # fmt: skip
    others = [
        [str(d.claim.number), outcome.form.name, *_said(d.claim, outcome)] for d in decided for outcome in d.others
    ]
    first = Table(
        name="Claims", title="What the paper says, and whether the rows bear it out.", columns=words,
        sections=[Section(title="", rows=own)], notes=[sentences.METHOD],
    )  # fmt: skip
    second = Table(
        name="Other readings", title="The same claims at equal bits, at equal parameters and in other forms.",
        columns=[words[0], Column(heading="reading", is_text=True), *words[2:]],
        sections=[Section(title="", rows=others)],
        notes=["D: dimension; F: factors; K: codebook_size; L: slices. Bits are those of the code of one vector."],
    )  # fmt: skip
    return f"{markdown(first)}\n{markdown(second)}"


def _said(claim: Claim, outcome: Outcome) -> list[str]:
    cell = outcome.deciding
    shown = f"{cell.test.name}: {sentences.effect(cell)}" if cell else "–"
    total = len(outcome.cells) + len(outcome.left_out)
    part = f" ({len(outcome.cells)} of {total} cells tested)" if cell and outcome.left_out else ""
    n = sentences.repetitions(outcome) or "–"
    return [outcome.form.ours, shown, n, f"{outcome.verdict}{part}", sentences.decided_by(claim, outcome)]


def _lines(decided: Sequence[Decision]) -> Iterator[dict[str, Any]]:
    """A row for each form of each claim."""
    for decision in decided:
        for outcome in (decision.outcome, *decision.others):
            cell = outcome.deciding
            yield {
                "claim": decision.claim.number,
                "form": outcome.form.name,
                "paper": decision.claim.paper,
                "ours": outcome.form.ours,
                "verdict": outcome.verdict,
                "statistic": cell.test.name if cell else None,
                "effect": cell.effect if cell else None,
                "low": cell.low if cell else None,
                "high": cell.high if cell else None,
                "n": cell.n if cell else None,
                "cells": len(outcome.cells),
                **{word: outcome.count(word) for word in ("holds", "against", "undecided")},
                "left_out": len(outcome.left_out),
                "decided_by": sentences.decided_by(decision.claim, outcome),
            }


def _json(decided: Sequence[Decision], rows: Rows) -> bytes:
    content = {
        "item": "claims",
        "caption": f"{TITLE}. {sentences.METHOD}",
        **provenance(rows),
        "claims": [_claim(decision) for decision in decided],
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
        "least_repetitions": claim.least_repetitions,
        "sweep": claim.sweep,
        **_outcome(claim, decision.outcome),
        "other_forms": [_outcome(claim, outcome) for outcome in decision.others],
    }


def _outcome(claim: Claim, outcome: Outcome) -> dict[str, Any]:
    deciding = outcome.deciding
    return {
        "form": outcome.form.name,
        "ours": outcome.form.ours,
        "verdict": outcome.verdict,
        "decided_by": sentences.decided_by(claim, outcome),
        "deciding": {"statistic": deciding.test.name, **_cell(deciding, list(deciding.point))} if deciding else None,
        "n": sorted({cell.n for cell in outcome.cells}),
        "counts": {word: outcome.count(word) for word in ("holds", "against", "undecided")},
        "coverage": sentences.coverage(claim, outcome),
        "left_out": sentences.left_out(outcome),
        "never_run": {column: list(values) for column, values in outcome.never_run.items()},
        "tests": [_test(test, [cell for cell in outcome.cells if cell.test is test]) for test in outcome.form.tests],
    }


def _test(test: Test, cells: Sequence[Cell]) -> dict[str, Any]:
    columns = differing([cell.point for cell in cells])
    return {
        "statistic": test.name,
        "unit": "share" if test.percent else test.unit,
        "claimed": test.region.text(),
        "needs": {column: list(values) for column, values in test.anchors.items()},
        "metrics": list(test.metrics),
        "common": _settings(cells[0].point, [c for c in cells[0].point if c not in columns]) if cells else {},
        "cells": [_cell(cell, columns) for cell in cells],
    }


def _settings(point: Settings, columns: Collection[str]) -> dict[str, Any]:
    return {column: value for column, value in point.items() if column in columns and value is not None}


def _cell(cell: Cell, columns: Collection[str]) -> dict[str, Any]:
    return {
        "at": _settings(cell.point, columns),
        "n": cell.n,
        "effect": cell.effect,
        "low": cell.low,
        "high": cell.high,
        "p_against": cell.p_against,
        "outcome": cell.outcome,
    }


def digest(rows: Rows) -> str:
    """SHA-256 of all rows, as `digest_of` has it: ids, statuses, then each metric that a claim takes."""
    forms = [form for claim in CLAIMS for form in (claim.form, *claim.others)]
    metrics = sorted({metric for form in forms for test in form.tests for metric in test.metrics})
    held = [metric for metric in metrics if metric in rows.frame]
    return digest_of([(rows.frame, ["cell_id", "status"], held)])


def needs(claim: Claim) -> str:
    """What a claim takes, in a line."""
    points = sorted({", ".join(f"{column}={_some(values)}" for column, values in test.anchors.items())
                     for test in claim.form.tests})  # fmt: skip
    what = f"at least {claim.least_repetitions} repetitions of {claim.trainable} {' and '.join(points)}"
    return f"{what}; {claim.sweep}"


def _some(values: Sequence[Any]) -> str:
    return "/".join(f"{value:g}" if isinstance(value, float) else str(value) for value in values)
