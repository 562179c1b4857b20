"""`python -m benchmarks.stopping`: what repetitions that are added until they suffice save.

Three sweeps are run until each of their comparisons is decided, or has `MOST` repetitions. Their cells are counted
against two sweeps with as many repetitions for every point:

- `MOST` for every point, which is what a careful user would choose who does not know how hard the comparisons are;
- as many as are needed to decide what ours decides (equal power): with one look at 95%, of which no part is spent on
  other looks, every comparison that ours decided is decided at this n, and stays so up to the n at which ours stopped.
  Only somebody who knew the results could choose it.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import pandas as pd

from benchmarks.static_prior.tables import say, show
from dvq_ray import run_sweep
from dvq_ray.store import Store
from dvq_ray.sweep.judging import ANSWERS, judge
from dvq_ray.sweep.looks import Look
from dvq_ray.sweep.plan import Plan, make_plan
from dvq_ray.sweep.spec import parse_sweep
from dvq_ray.sweep.yaml_writer import write_yaml

LEAST, MOST, MARGIN = 8, 128, "1%"
_FAST = {"steps": 300, "train_samples": 2048}


def _sweep(name: str, trainable: str, quantizers: list[str], fixed: Mapping[str, Any], grids: Mapping[str, Any]) -> Any:
    until = {"compare": quantizers, "at": "equal_bits", "margin": MARGIN}
    seeds = {"least": LEAST, "most": MOST, "until": until}
    return {"name": name, "trainable": trainable, "seeds": seeds, "fixed": fixed, "grids": grids}


SWEEPS = (
    _sweep(
        "DVQ against VQ", "static_prior", ["dvq", "vq"], {**_FAST, "dimension": [4, 8], "factors": [16, 64, 256]},
        {"dvq": {"quantizer": "dvq", "codebook_size": [4, 16], "slices": 2},
         "vq": {"quantizer": "vq", "codebook_size": [16, 256]}},
    ),
    _sweep(
        "VQ against k-means", "static_prior", ["vq", "kmeans"], {"train_samples": 2048, "factors": [16, 64]},
        {"vq": {"quantizer": "vq", "dimension": [2, 4, 8], "codebook_size": [4, 8, 16, 32], "steps": 300},
         "kmeans": {"quantizer": "kmeans", "dimension": [2, 4, 8], "codebook_size": [4, 8, 16, 32]}},
    ),
    _sweep(
        "factorial: DVQ against k-means and VQ", "factorial_prior", ["dvq", "kmeans", "vq"],
        {**_FAST, "dimension": 8, "centres": 4, "groups": 2, "dependence": [0.0, 0.5, 1.0]},
        {"sliced": {"quantizer": ["dvq", "kmeans"], "codebook_size": [4, 8], "slices": 2},
         "whole": {"quantizer": "vq", "codebook_size": [16, 64]}},
    ),
)  # fmt: skip


@click.command()
@click.option("--in-process", is_flag=True, help="Run without Ray, on one core.")
def main(in_process: bool) -> None:
    """Run the three sweeps, and print how many cells they took."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for number, sweep in enumerate(SWEEPS):
            began = time.monotonic()
            named = {**sweep, "name": f"stopping_{number}"}
            run_sweep(named, results=folder, in_process=in_process)
            spec = parse_sweep(write_yaml(named), "sweep")
            store = Store.under(Path(folder), spec.name)
            seconds = time.monotonic() - began
            rows.append(_row(str(sweep["name"]), make_plan(spec, store, retry_failed=False), store, seconds))
    say(f"least {LEAST}, most {MOST}, margin {MARGIN}; saved: of the same sweep with that n for all points")
    headings = ["sweep", "points", "pairs", "win / loss / equal / undecided", "cells", f"n = {MOST}", "saved",
                "n of equal power", "cells", "saved", "time"]  # fmt: skip
    show(headings, rows)


def _row(name: str, plan: Plan, store: Store, seconds: float) -> list[str]:
    assert plan.looks
    (until,) = plan.looks.points
    counts, points, cells = plan.looks.counts(), len(plan.looks.points[until]), len(plan.cells)
    values = store.load(["point_id", "seed", until.rule.metric]).pivot(index="point_id", columns="seed")
    hardest = max(_fewest(look, values) for look in plan.looks.looks if look.found.decision in ANSWERS)
    found = [counts["win"], counts["loss"], counts["equal"], counts["most reached"]]
    return [
        name, f"{points:,}", f"{len(plan.looks.looks):,}", " / ".join(map(str, found)), f"{cells:,}",
        f"{points * MOST:,}", f"{1 - cells / (points * MOST):.0%}",
        f"{hardest:,}", f"{points * hardest:,}", f"{1 - cells / (points * hardest):.0%}", f"{seconds:.0f} s",
    ]  # fmt: skip


def _fewest(look: Look, values: pd.DataFrame) -> int:
    """Repetitions with which one look decides the pair, and from which on it would up to the n that it was given."""
    assert look.partner
    ours, theirs = (values.loc[point.point_id].to_numpy() for point in (look.point, look.partner))
    count = look.wanted
    while count > LEAST:
        alone = replace(look.until, least=count - 1, most=count - 1)
        if judge(alone, ours[: count - 1], theirs[: count - 1]).decision == "undecided":
            break
        count -= 1
    return count


if __name__ == "__main__":
    main()
