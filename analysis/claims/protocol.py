"""The protocol as a page: `python -m analysis.claims.protocol > docs/protocol.md`.

The page is made from the claims as declared, so that it cannot say anything else than what is tested.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from ..data.summary import LEVEL
from ..naming import listed
from . import sentences
from .claim import Claim, Reading, Test
from .decide import LEAST_SEEDS, SIGNIFICANCE
from .priors import LADDER
from .product import CLAIMS, TESTED


@dataclass(frozen=True, kw_only=True)
class Version:
    """What changed in the protocol, and when."""

    date: str
    what: str
    sha256: str
    """First 16 digits of that of everything that decides a verdict, as `digest` has it."""


HISTORY: Sequence[Version] = (
    Version(
        date="2026-11-29",
        what="First version, written after looking at the stores of seeds from 0 on, and before any run with seeds "
        "from 1000 on or with 20,000 steps at small scale.",
        sha256="4fecca2af6b29be3",
    ),
    Version(
        date="2026-11-29",
        what="Findings A to E, before any of the factorial prior's cells was run; those of the static prior were "
        "running and had not been looked at.",
        sha256="5bb00d9692149ee3",
    ),
    Version(
        date="2026-11-29",
        what="Codes are charged under the best of five priors, and readings under each prior are shown too. Before, "
        "claim 15 was tested, and claims 11 and 17 were read, under the unigram prior. Claims 11 to 18 get a separate "
        "verdict at small scale: claim 15 as arithmetic, claim 17 on new cells; claim 11 is also read on Tiny "
        "ImageNet. Written when one seed of four of the six small models existed and had been looked at under every "
        "prior, and none of the new cells.",
        sha256="e2872d0019fc3e47",
    ),
    Version(
        date="2026-11-29",
        what="Findings F and G, after looking at seed 0 of most of their cells, and before any seed from 1000 on.",
        sha256="2831c97fa55b9b0d",
    ),
)
"""The last is the present one."""

_RULES = f"""# Protocol

What each of the paper's claims, and each finding of ours, is tested on, and how, stated before the runs that decide
it. A verdict is on the cells and seeds stated here, found by their ids, whatever else a store holds: more seeds, other
cells and other stores change nothing. [The results](../results/reference/README.md) are on a page of their own. This
page is made by `python -m analysis.claims.protocol`, and a test holds it against the code.

## Rules

- A **cell** compares a few points seed by seed, because points of equal seed saw the same data. Its **effect** is the
  mean of the statistic over seeds, with a {LEVEL:.0%} t-interval. It is tested with {LEAST_SEEDS} seeds or more.
- Each cell is tested with Student's t-test and with the exact sign-flip test, and the larger p-value counts. For
  bits/dim, a jackknife over test images adds the error due to which images are in the test set. `claims.json` also has
  a BCa bootstrap interval, which decides nothing.
- **Holds**: in every cell the effect lies where the claim says. Each cell is tested at {SIGNIFICANCE:.1%} (one side),
  which is an intersection-union test: more cells make it harder to pass, never easier. Where scopes are stated,
  {SIGNIFICANCE:.1%} is divided among the statement and its scopes.
- **Holds within** a scope: in every cell of a part that is stated here.
- **Fails**: in some cell the effect lies elsewhere, at {SIGNIFICANCE:.1%} after Holm's correction over all cells of
  the reading. With the former, a verdict is false in at most one of twenty stores.
- **Power**: an effect that lies 0.8 standard deviations (of the numbers of single seeds) inside of what is claimed is
  found in a cell of 20 seeds with a chance of 90%, one of 1.4 in a cell of 8.
- **Undecided**: none of these; with the number of seeds that would decide every cell, were the effects as measured.
- **So far**: some of the cells or seeds stated here are missing. **Not run**: no cell has {LEAST_SEEDS} seeds.
- **At small scale**: a claim about images has a second verdict, on small models of a small network and few images. It
  is shown next to the verdict at the paper's scale and never replaces it.
- **The best prior**: where the codes of images count, they are charged under the best of {len(LADDER)} priors
  ({listed(LADDER)}; [what they are](code_prior.md)). For each model and seed, that is the prior under which the codes
  of the model's *other* seeds cost least on test images, so no seed chooses the prior it is measured with. A seed
  counts only if all {len(LADDER)} were computed. The verdict names the priors that were chosen. There is a separate
  reading under each prior; the models' own rows have the cost of their codes under the unigram prior.
- "The same" and "between" are equivalence tests: two one-sided tests against the stated margins. A difference that is
  merely not significant is not called the same.
- The effect shown is that of the cell nearest to failing, or furthest beyond it, in standard deviations. Half of the
  seeds choose the cell and the other half measure it, because the largest of many effects overestimates itself. The
  median cell is given too.

## History

| date | change | SHA-256 of what decides |
| --- | --- | --- |
"""


def page() -> str:
    """The page, in Markdown."""
    history = "".join(f"| {each.date} | {each.what} | `{each.sha256}` |\n" for each in HISTORY)
    claims = "".join(_section(f"Claim {claim.number}", claim) for claim in CLAIMS)
    findings = "".join(_section(f"Finding {claim.number}", claim) for claim in TESTED[len(CLAIMS) :])
    return f"{_RULES}{history}{claims}{findings}"


def digest() -> str:
    """Digest of what decides a verdict: cells, statistics, margins, seeds and scopes, without their words."""
    content = [
        [claim.number, claim.trainable, claim.small is not None, [_deciding(r) for r in claim.readings]]
        for claim in TESTED
    ]
    text = json.dumps([content, SIGNIFICANCE, LEAST_SEEDS, LADDER], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _deciding(reading: Reading) -> Any:
    return {
        "name": reading.name,
        "seeds": [reading.seeds.start, reading.seeds.stop],
        "scopes": {
            scope.name: [[scope.covers(points[0]) for points in test.cells] for test in reading.tests]
            for scope in reading.scopes
        },
        "tests": [
            {
                "name": test.name, "any": test.any, "metrics": test.metrics, "curve": test.curve, "images": test.images,
                "prior": test.prior, "region": test.region.text(),
                "cells": [[dict(point) for point in points] for points in test.cells],
            }
            for test in reading.tests
        ],
    }  # fmt: skip


def _section(heading: str, claim: Claim) -> str:
    head = f"\n## {heading}\n\n*{claim.paper}*{f' ({claim.where})' if claim.where else ''}.\n"
    return head + "".join(_readings(list(same)) for _, same in groupby(claim.readings, key=_without_prior))


def _without_prior(reading: Reading) -> str:
    """Its name without that of a prior."""
    head, _, last = reading.name.rpartition(", ")
    return head if last in {f"{prior} prior" for prior in LADDER} else reading.name


def _readings(same: Sequence[Reading]) -> str:
    """Readings that differ in nothing but the prior: the first, and the names of the others."""
    first, *rest = same
    names = [reading.name.rpartition(", ")[2].removesuffix(" prior") for reading in rest]
    likewise = f"- likewise, each a reading of its own: {listed(names)} prior\n" if rest else ""
    return f"{_reading(first)}{likewise}"


def _reading(reading: Reading) -> str:
    lines = [f"\n**{reading.name[:1].upper()}{reading.name[1:]}**: {reading.ours}. {reading.why}".rstrip(), ""]
    lines += [f"- {line}" for test in reading.tests for line in _test(test)]
    if reading.scopes:
        lines.append(f"- scopes: {', '.join(scope.name for scope in reading.scopes)}")
    seeds = f"seeds {reading.seeds.start} to {reading.seeds.stop - 1}"
    lines.append(f"- {seeds} of each; `{reading.sweep}`{f', then `{reading.prior_sweep}`' * bool(reading.prior_sweep)}")
    return "\n".join(lines) + "\n"


def _test(test: Test) -> Iterator[str]:
    said = sentences.region(test)
    under = f", under the {test.prior} prior" if test.prior else ""
    yield f"{test.name}{under}: {said} in {'some' if test.any else 'every'} cell"
    count = len(test.cells)
    first = test.cells[0][0]
    varied = sentences.varied(test)
    common = {name: value for name, value in first.items() if name not in varied and name not in sentences.FOLLOWING}
    along = "; ".join(f"{name} {listed(values)}" for name, values in varied.items())
    yield f"{count} {'cell' if count == 1 else 'cells'}: {_words(common)}{f'; {along}' if along else ''}"
    for place in range(1, len(test.cells[0])):
        changes = [_change(points[0], points[place]) for points in test.cells]
        changed = {name: tuple(dict.fromkeys(each[name] for each in changes if name in each)) for name in changes[0]}
        yield f"against {_words(changed)}"


def _change(first: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """What a point differs in from the first one of its cell; fields that only another quantizer has do not count."""
    gone = first.keys() - other.keys() if first["quantizer"] == other["quantizer"] else ()
    changed = {**dict.fromkeys(sorted(gone), "by default"), **other}
    return {name: value for name, value in changed.items()
            if first.get(name) != value and name not in sentences.FOLLOWING}  # fmt: skip


def _words(fields: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name} {listed(value) if isinstance(value, tuple) else listed([value])}" for name, value in fields.items()
    )


if __name__ == "__main__":
    sys.stdout.write(page())
