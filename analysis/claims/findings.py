"""What the README and the results page say beyond the paper: tested like its claims, in cells of the protocol."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from . import statistics
from .claim import Claim, Fields, Reading, Region, Test
from .static_prior import FACTORIAL_SWEEP, LOSS, SEEDS, SWEEP, VARIANCE, equal_bits, vq

_SAME = 0.1
_DEPENDENCES = (0.5, 0.75, 1.0)
_MIXINGS = (0.25, 0.5, 1.0)
_DEPENDENT_SWEEP = "sweeps/claims_dependent_features.yaml"


def _factorial(quantizer: str, *, groups: int = 4, **fields: Any) -> Fields:
    slices = {} if quantizer == "vq" else {"slices": groups}
    shared = {"dimension": 64, "centres": 16, "groups": groups, "codebook_size": 16}
    return {"quantizer": quantizer, **shared, **slices, **fields}


def _cut(quantizer: str, **fields: Any) -> Fields:
    """Four slices of four groups of eight features each."""
    shared = {"dimension": 32, "centres": 16, "groups": 4, "slices": 4, "codebook_size": 16}
    return {"quantizer": quantizer, **shared, **fields}


def _finding(number: str, says: str, trainable: str, ours: str, *tests: Test, why: str = "", sweep: str = "") -> Claim:
    sweep = sweep or (SWEEP if trainable == "static_prior" else FACTORIAL_SWEEP)
    reading = Reading(name="as tested", ours=ours, why=why, tests=tests, seeds=SEEDS, sweep=sweep)
    return Claim(number=number, paper=says, where="", trainable=trainable, reading=reading)


def _change(cells: Iterable[Sequence[Fields]], name: str, region: Region) -> Test:
    return Test(
        cells=tuple(cells), metrics=(LOSS,), statistic=statistics.excess(LOSS), name=name, region=region, percent=True
    )  # fmt: skip


def _drop(bound: float, region: Region) -> Test:
    """From K = 16 to K = 1024 at D = 256."""
    return Test(
        cells=[(vq(256, 4096, 16, bound), vq(256, 4096, 1024, bound))], metrics=(LOSS, VARIANCE),
        statistic=statistics.drop_over(LOSS, VARIANCE), region=region, percent=True,
        name=f"test loss at K = 16 less that at K = 1024, over the variance, from ±{bound:g}",
    )  # fmt: skip


FINDINGS = (
    _finding(
        "A", "At equal bits plain VQ has the lower loss on blobs: DVQ's gain is a gain in rate", "static_prior",
        "DVQ's test loss (K = 16 and 32, L = 2) is above that of VQ of as many bits (K = 256; K = 1024) at every F, D "
        "= 16 and 64",
        _change(equal_bits(), "test loss of DVQ above that of VQ, share of the latter", Region(low=0)),
    ),
    _finding(
        "B", "Whether large codebooks help above 16 dimensions is a matter of where codes start", "static_prior",
        "at D = 256 and F = 4096 the step from K = 16 to K = 1024 takes more than 10% of the variance off VQ's test "
        "loss from a start in ±1, and less than 5% from ±17.3",
        _drop(1.0, Region(low=0.1)), _drop(17.3, Region(low=-0.05, high=0.05)),
        why="5% is what claim 7 calls the same, 10% twice that.",
    ),
    _finding(
        "C", "What keeps DVQ from K^L factors is training from a uniform start", "factorial_prior",
        "on F = 16^L blobs DVQ's test loss from one k-means++ start is less than half of that from the uniform start",
        Test(
            cells=[
                (_factorial("dvq", groups=groups, start="k-means++"), _factorial("dvq", groups=groups))
                for groups in (2, 4, 8)
            ],
            metrics=(LOSS,), statistic=statistics.gain(LOSS), region=Region(low=0.5), percent=True,
            name="gain of a k-means++ start on a uniform one, share of the latter's test loss",
        ),
        why="Half: training from the uniform start is then the larger part of what is lost.",
    ),
    _finding(
        "D", "How much groups of features depend on each other does not change DVQ's loss", "factorial_prior",
        "DVQ's test loss on four groups that pick the same centre with a chance of 0.5, 0.75 or 1 differs by less than "
        "10% from that on independent ones",
        _change(
            ((_factorial("dvq", dependence=chance), _factorial("dvq")) for chance in _DEPENDENCES),
            "test loss on dependent groups above that on independent ones", Region(low=-_SAME, high=_SAME),
        ),
        why="The same: 10% of the loss, less than what is substantial in claim 2. From the uniform start, as in the "
        "paper.",
    ),
    _finding(
        "E", "Plain VQ gains where groups depend, because there are fewer blobs then", "factorial_prior",
        "VQ's test loss (K = 16) falls with every step of the dependence, from 0 to 0.5, 0.75 and 1",
        _change(
            (
                (_factorial("vq", dependence=chance), _factorial("vq", dependence=before))
                for before, chance in zip((0.0, *_DEPENDENCES), _DEPENDENCES, strict=False)
            ),
            "test loss above that with less dependence", Region(high=0),
        ),
    ),
    _finding(
        "F", "Mixed features take from slices what they have, and a learned rotation gives it back", "factorial_prior",
        "PQ's test loss (K = 16, L = 4) on groups of features that are rotated into each other is more than 10% above "
        "that on unmixed ones, and OPQ's there is more than 10% below PQ's",
        _change(
            ((_cut("pq", mixing=mixing), _cut("pq")) for mixing in _MIXINGS),
            "PQ's test loss on mixed features above that on unmixed ones", Region(low=_SAME),
        ),
        _change(
            ((_cut("opq", mixing=mixing), _cut("pq", mixing=mixing)) for mixing in _MIXINGS),
            "OPQ's test loss above PQ's, on mixed features", Region(high=-_SAME),
        ),
        why="Substantial: 10% of the loss, as in claim 2.", sweep=_DEPENDENT_SWEEP,
    ),
    _finding(
        "G", "Where features are cut right already, a rotation learned from a random start does worse than none",
        "factorial_prior",
        "on unmixed groups that are independent or follow each other with a chance of 0.5, OPQ's test loss from a "
        "random start is more than 10% above PQ's; that from the best of several starts is at most 10% above it, with "
        "a chance of 0.9 too",
        _change(
            ((_cut("opq", dependence=chance), _cut("pq", dependence=chance)) for chance in (0.0, 0.5)),
            "OPQ's test loss above PQ's, from a random start", Region(low=_SAME),
        ),
        _change(
            (
                (_cut("opq", rotation_start="best", dependence=chance), _cut("pq", dependence=chance))
                for chance in (0.0, 0.5, 0.9)
            ),
            "OPQ's test loss above PQ's, from the best of several starts", Region(high=_SAME),
        ),
        sweep=_DEPENDENT_SWEEP,
    ),
)  # fmt: skip
