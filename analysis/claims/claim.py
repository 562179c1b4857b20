"""What a claim is: words for people, and the tests of it for the machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ..data.summary import LEVEL
from .intervals import Array, Region

Settings = Mapping[str, Any]
"""Values of a point, by column."""
Verdict = Literal["reproduced", "not reproduced", "inconclusive", "not run"]


@dataclass(frozen=True, kw_only=True)
class Member:
    """One point of a comparison: what its repetitions measured, in the order of their seeds."""

    metrics: Mapping[str, Array]
    """Each of shape [seeds]."""
    curves: Sequence[tuple[npt.NDArray[np.int64], Array]] = ()
    """For each seed the logged steps and the curve's values there, where a test asks for them."""


@dataclass(frozen=True, kw_only=True)
class Test:
    """One statistic, taken in many cells: at each anchor that the store has, with the points that go with it."""

    __test__ = False  # pytest: this is no class of tests

    anchors: Mapping[str, tuple[Any, ...]]
    """What the claim speaks of: values by column. Those that no store has are reported as never run."""
    keep: Callable[[Settings], bool] = lambda point: True
    """False for anchors that the claim does not speak of."""
    partners: Callable[[Settings], Sequence[Settings]] = lambda point: ()
    """The other points of the comparison, each by the values in which it differs from the anchor."""
    along: tuple[str, tuple[Any, ...]] | None = None
    """A column and its values: the comparison is one of all of these that the store has, four at least. The members
    are the anchor and its partners at the first value, then at the next."""
    metrics: tuple[str, ...]
    """Columns that the statistic takes; a repetition without one of them counts as failed."""
    curve: str | None = None
    """Column of the curves that the statistic takes."""
    statistic: Callable[[Sequence[Member]], Array]
    """Takes the anchor and its partners, returns a number for each seed."""
    name: str
    """What the number is."""
    unit: str = ""
    region: Region
    """Where the claim says that it lies."""
    percent: bool = False
    """Shown in percent."""
    level: float = LEVEL
    """Coverage of its intervals."""


@dataclass(frozen=True, kw_only=True)
class Form:
    """One reading of a claim: it holds where all its tests hold in all their cells."""

    name: str = "as the paper has it"
    ours: str
    """The statement that is tested."""
    tests: tuple[Test, ...]


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A claim of the paper."""

    number: int
    paper: str
    """Its words in short."""
    where: str
    """Where the paper says it."""
    trainable: str
    form: Form
    """What decides it."""
    others: tuple[Form, ...] = field(default=())
    """Other readings that stand beside it: at equal bits, at equal parameters, with what the codes cost."""
    least_repetitions: int = 5
    sweep: str
    """What provides its cells, as arguments of `python -m dvq_ray.sweep`."""
    fuller: str = ""
    """A larger sweep, with settings that the claim speaks of and `sweep` does not have."""
