"""What a claim is: words for people, and the tests of it for the machine. Together they are the protocol."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Fields = Mapping[str, Any]
"""Settings of a point by field, without those that have their defaults."""
Verdict = Literal["holds", "holds within", "fails", "undecided", "not run"]
VERDICTS: tuple[Verdict, ...] = ("holds", "holds within", "fails", "undecided", "not run")


@dataclass(frozen=True, kw_only=True)
class Region:
    """Where a claim says that an effect lies. A bound that is finite is a margin, and its claim says why it is that."""

    low: float = -math.inf
    high: float = math.inf

    def margin(self, effect: float) -> float:
        """From the effect to the nearer bound; negative outside."""
        return min(effect - self.low, self.high - effect)

    def text(self) -> str:
        """`below 0`, `above 0.1`, `between 0.28 and 0.38`."""
        if math.isinf(self.low):
            return f"below {self.high:g}"
        return f"above {self.low:g}" if math.isinf(self.high) else f"between {self.low:g} and {self.high:g}"


@dataclass(frozen=True, kw_only=True)
class Member:
    """One point of a comparison: what its repetitions measured, in the order of their seeds."""

    metrics: Mapping[str, Array]
    """Each of shape [seeds]."""
    curves: Sequence[tuple[npt.NDArray[np.int64], Array]] = ()
    """For each seed the logged steps and the curve's values there, where a test takes them."""
    images: Mapping[str, Array] = field(default_factory=dict)
    """The same metrics of each test image, where a test takes them: [seeds, images]."""


@dataclass(frozen=True, kw_only=True)
class Test:
    """One statistic, taken in stated cells: each compares a few points seed by seed."""

    __test__ = False  # pytest: this class holds no tests

    cells: Sequence[Sequence[Fields]]
    """The points of each cell, as the statistic takes them. The first one names the cell."""
    metrics: tuple[str, ...]
    """Columns that the statistic takes; a repetition without one of them counts as failed."""
    curve: str = ""
    """Column of the curves that the statistic takes."""
    images: tuple[str, ...] = ()
    """Metrics that are means over test images, over which they are resampled."""
    statistic: Callable[[Sequence[Member]], Array]
    """Takes the members of a cell, returns a number for each seed."""
    name: str
    """What the number is."""
    unit: str = ""
    region: Region
    """Where the claim says that it lies."""
    percent: bool = False
    """Shown in percent."""
    any: bool = False
    """Whether the claim says so of some cell, and not of each."""
    prior: str = ""
    """Prior over the codes of the points, from whose rows the metrics are: its name, or `best` (`priors.py`). Empty
    where they are from the points' own rows."""


@dataclass(frozen=True, kw_only=True)
class Scope:
    """A part of a reading's cells that the claim may hold in, where it does not hold in all."""

    name: str
    """`L = 8`."""
    covers: Callable[[Fields], bool]
    """Takes the first point of a cell."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One way to take a claim: it holds where all its tests hold."""

    name: str = "as the paper has it"
    ours: str
    """The statement that is tested."""
    why: str = ""
    """Reasons for its margins, and for what it is tested on."""
    tests: tuple[Test, ...]
    scopes: tuple[Scope, ...] = ()
    seeds: range
    """Repetitions of each cell."""
    sweep: str
    """What provides its cells, as arguments of `python -m dvq_ray.sweep`."""
    prior_sweep: str = ""
    """What provides priors over the codes of its cells, as arguments of the same; empty where it takes none."""

    @property
    def to_run(self) -> str:
        """All that provides its numbers, in the order in which it is run."""
        return f"{self.sweep}, then {self.prior_sweep}" if self.prior_sweep else self.sweep

    def points(self) -> Iterator[Fields]:
        """The points of all its cells; some more than once."""
        yield from (fields for test in self.tests for cell in test.cells for fields in cell)


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A claim of the paper."""

    number: str
    paper: str
    """Its words in short."""
    where: str
    """Where the paper says it."""
    trainable: str
    reading: Reading
    """What decides it."""
    small: Reading | None = None
    """What decides it at small scale: a verdict of its own, which says nothing about the paper's scale."""
    others: tuple[Reading, ...] = ()
    """Other readings that stand beside it: at equal bits, at equal parameters, with what the codes cost."""

    @property
    def readings(self) -> tuple[Reading, ...]:
        """All of them, those that decide first."""
        return (self.reading, *([self.small] if self.small else []), *self.others)
