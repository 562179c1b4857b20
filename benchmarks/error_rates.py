"""`python -m benchmarks.error_rates`: how often seeds until decided are wrong, for noise of several shapes.

Points are simulated: comparisons of two quantizers that do not differ, of which none should win or lose, and means of 1
with a deviation of 0.2, which the interval at which adding stopped should hold. Then tables of `dvq-ray compare`, of
quantizers that do not differ, of which none should be called worse. A minute.
"""

from __future__ import annotations

from collections.abc import Callable

import click
import numpy as np

from benchmarks.static_prior.tables import say, show
from dvq_ray.comparison.ranking import ranked
from dvq_ray.comparison.sweep_file import SEEDS
from dvq_ray.sweep.judging import Finding, Values, judge
from dvq_ray.sweep.until import Comparison, Precision, SeedsUntil

LEAST, MOST = 8, 200
COMPARED = (2, 5, 10)
Spread = Callable[[np.random.Generator, tuple[int, int]], Values]
SPREADS: dict[str, Spread] = {
    "normal": lambda rng, shape: rng.normal(size=shape),
    "t, 2 degrees of freedom": lambda rng, shape: rng.standard_t(2, shape) / 2,
    "bimodal": lambda rng, shape: rng.choice([-1.0, 1.0], shape) + 0.2 * rng.normal(size=shape),
    "exponential": lambda rng, shape: rng.exponential(size=shape) - 1,
    "log-normal": lambda rng, shape: np.exp(rng.normal(size=shape)) - np.exp(0.5),
}


@click.command()
@click.option("--points", default=1000, show_default=True, help="Simulated points of each kind.")
def main(points: int) -> None:
    """Print the share of false wins and losses, and of intervals that hold the mean."""
    compared = _until(
        Comparison(metric="m", higher_is_better=False, quantizers=("a", "b"), at="equal_bits", margin=None)
    )
    precise = [_until(Precision(metric="m", half_width=width)) for width in (0.1, 0.05)]
    rows = []
    for name, spread in SPREADS.items():
        rng = np.random.default_rng(0)
        ours, theirs = spread(rng, (points, MOST)), spread(rng, (points, MOST))
        found = [_last(compared, *pair) for pair in zip(ours, theirs, strict=True)]
        false = sum(each.decision in ("win", "loss") for each in found) / points
        held = []
        for until in precise:
            ends = [_last(until, 1 + 0.2 * values) for values in spread(rng, (points, MOST))]
            held.append(sum(each.low <= 1 <= each.high for each in ends) / points)
        rows.append([name, f"{false:.1%}", *(f"{share:.1%}" for share in held)])
    say(f"least {LEAST}, most {MOST}, {points:,} points of each kind")
    show(["noise", "false wins and losses", "means held, half_width 10%", "means held, half_width 5%"], rows)
    say(f"{COMPARED} equal quantizers in a table, {SEEDS} seeds: tables in which one is called worse")
    rows = []
    for name, spread in SPREADS.items():
        rng = np.random.default_rng(0)
        rows.append([name, *(f"{_false_verdicts(spread, rng, count, points):.1%}" for count in COMPARED)])
    show(["noise", *(f"{count} quantizers" for count in COMPARED)], rows)


def _false_verdicts(spread: Spread, rng: np.random.Generator, count: int, tables: int) -> float:
    """The share of tables of so many equal quantizers in which one is called worse than the best."""
    false = 0
    for _ in range(tables):
        values = {str(name): dict(enumerate(row)) for name, row in enumerate(spread(rng, (count, SEEDS)))}
        false += any(place.verdict == "worse" for place in ranked({0: values}, better="lower")[0])
    return false / tables


def _until(rule: Precision | Comparison) -> SeedsUntil:
    return SeedsUntil(scope="", first=0, least=LEAST, most=MOST, rule=rule)


def _last(until: SeedsUntil, *values: Values) -> Finding:
    """What the look finds at which adding stops."""
    for count in until.looks:
        found = judge(until, *(each[:count] for each in values))
        if found.decision != "undecided":
            break
    return found


if __name__ == "__main__":
    main()
