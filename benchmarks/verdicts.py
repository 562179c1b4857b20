"""How often verdicts on the claims are wrong where nothing is true, and how often right where something is.

    python -m benchmarks.verdicts [--stores 1000]

For each reading of each claim, synthetic stores in which the effect of every cell lies exactly on the bound of what
is claimed: neither "holds" nor "fails" is then true. Numbers of single seeds scatter about it with a normal, a heavy-
tailed (Student's t with 2 degrees of freedom) or a bimodal spread. Cells share a part of their scatter, because they
share seeds and partners. Then stores in which the effect lies so many standard deviations inside or outside, with a
normal spread: the power that docs/protocol.md promises is for one cell.

Readings that have as many cells, tests and scopes are decided alike and shown once.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator

import click
import numpy as np
import numpy.typing as npt

from analysis.claims.claim import Reading, Region
from analysis.claims.decide import judged
from analysis.claims.product import CLAIMS
from analysis.claims.samples import Sample

Array = npt.NDArray[np.float64]
Spread = Callable[[np.random.Generator, tuple[int, ...]], Array]
_SHARED = 0.5
"""Of the variance, between the cells of a store."""
REPETITIONS = (8, 20)


def _bimodal(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return rng.choice([-1.0, 1.0], size=shape) + 0.1 * rng.standard_normal(shape)


SPREADS: dict[str, Spread] = {
    "normal": lambda rng, shape: rng.standard_normal(shape),
    "heavy tails": lambda rng, shape: rng.standard_t(2, shape),
    "bimodal": _bimodal,
}


def kinds() -> Iterator[tuple[str, Reading]]:
    """One reading of each kind, with the numbers of the claims that have such a one."""
    found: dict[tuple[object, ...], tuple[list[str], Reading]] = {}
    for claim in CLAIMS:
        for reading in claim.readings:
            regions = tuple((test.any, len(test.cells), _sides(test.region)) for test in reading.tests)
            covers = tuple(
                tuple(scope.covers(points[0]) for test in reading.tests for points in test.cells)
                for scope in reading.scopes
            )
            found.setdefault((regions, covers), ([], reading))[0].append(claim.number)
    return ((", ".join(dict.fromkeys(numbers)), reading) for numbers, reading in found.values())


def verdicts(reading: Reading, stores: int, n: int, spread: Spread, shift: float) -> Counter[str]:
    """Verdicts in so many stores whose effects lie `shift` inside of the first finite bound."""
    rng = np.random.default_rng(0)
    cells = [(test, place) for test in reading.tests for place in range(len(test.cells))]
    counts = Counter[str]()
    for _ in range(stores):
        own, shared = spread(rng, (len(cells), n)), spread(rng, (1, n))
        noise = np.sqrt(1 - _SHARED) * own + np.sqrt(_SHARED) * shared
        samples = [
            (test, place, Sample(seeds=tuple(range(n)), values=_at(test.region, values, shift), lost={}))
            for (test, place), values in zip(cells, noise, strict=True)
        ]
        counts[judged(reading, samples).verdict] += 1
    return counts


def _at(region: Region, noise: Array, shift: float) -> Array:
    """A region between two bounds is as wide as ten standard deviations."""
    if np.isfinite(region.low):
        scale = (region.high - region.low) / 10 if np.isfinite(region.high) else 1.0
        return region.low + scale * (noise + shift)
    return region.high + noise - shift


def _sides(region: Region) -> tuple[bool, bool]:
    return bool(np.isfinite(region.low)), bool(np.isfinite(region.high))


@click.command()
@click.option("--stores", default=1000, show_default=True, help="Synthetic stores of each kind.")
def main(stores: int) -> None:
    """Print the tables. Exit code 1: some rate of false verdicts is above 5%, by more than chance explains."""
    worst = 0.0
    limit = 0.05 + 3 * np.sqrt(0.05 * 0.95 / stores)
    print(f"False verdicts where the effect of every cell lies on the bound, of {stores:,} stores\n")
    print(
        f"{'claims':24}{'cells':>6}{'scopes':>7}  "
        + "".join(f"{f'{s}, n = {n}':>22}" for s in SPREADS for n in REPETITIONS)
    )
    for numbers, reading in kinds():
        line = f"{numbers:24}{sum(len(t.cells) for t in reading.tests):6}{len(reading.scopes):7}  "
        for spread in SPREADS.values():
            for n in REPETITIONS:
                counts = verdicts(reading, stores, n, spread, 0.0)
                false = sum(counts[verdict] for verdict in ("holds", "holds within", "fails"))
                worst = max(worst, false / stores)
                line += f"{false / stores:22.1%}"
        print(line, flush=True)
    print(f"\nworst: {worst:.1%}\n\nRight verdicts with a normal spread, of {stores // 5:,} stores\n")
    print(f"{'claims':24}{'cells':>6}  " + "".join(f"{f'{d:+} sd, n = {n}':>16}" for d, n in _EFFECTS))
    for numbers, reading in kinds():
        line = f"{numbers:24}{sum(len(t.cells) for t in reading.tests):6}  "
        for shift, n in _EFFECTS:
            counts = verdicts(reading, stores // 5, n, SPREADS["normal"], shift)
            line += f"{counts['holds' if shift > 0 else 'fails'] / (stores // 5):16.0%}"
        print(line, flush=True)
    sys.exit(int(worst > limit))


_EFFECTS = ((0.8, 20), (1.6, 20), (-0.8, 20), (-1.6, 20), (1.4, 8), (2.8, 8), (-1.4, 8), (-2.8, 8))

if __name__ == "__main__":
    main()
