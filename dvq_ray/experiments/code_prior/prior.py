"""What a prior over codes is: a distribution over all codes of a sample, one after the other.

A fitted prior gives the probabilities of the next code from those before it. Its likelihood and its entropy coder both
use these, so what a prior says it costs is what it costs. The probabilities are the same bits on every processor: they
follow from integers by additions, multiplications and one division, each of which IEEE 754 rounds in one way only,
and sums are of integers below 2^53, which no order of adding changes.
"""

from __future__ import annotations

import hashlib
import json
from abc import abstractmethod
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from dvq_ray.experiments.code_prior.layout import Codes, Layout

if TYPE_CHECKING:
    from dvq_ray.experiments.code_prior.settings import CodePriorSettings

Arrays = Mapping[str, npt.NDArray[Any]]
Probabilities = npt.NDArray[np.float64]
"""[N, K], above 0; each row adds up to 1 but for rounding."""

_POSITIONS_AT_ONCE = 1 << 16


def blocks(samples: int, layout: Layout) -> Iterator[slice]:
    """Consecutive samples, so few at a time that what a network keeps of all of their positions takes little memory."""
    at_once = max(1, _POSITIONS_AT_ONCE // layout.positions)
    return (slice(start, min(start + at_once, samples)) for start in range(0, samples, at_once))


class Stepper:
    """The codes of some samples, one after the other: `probabilities` of the next ones, then `see` them.

    The order is that of a `Layout`: positions in raster order, and at each the codebooks in theirs.
    """

    @abstractmethod
    def probabilities(self) -> Probabilities:
        """Of the next code of each sample: [N, K], or [1, K] where they are the same for all."""
        raise NotImplementedError

    @abstractmethod
    def see(self, codes: npt.NDArray[np.int64]) -> None:
        """Takes in what the next codes [N] are."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Fit:
    """What a prior is fitted with."""

    layout: Layout
    settings: CodePriorSettings
    seed: int
    device: str = "cpu"
    log: Callable[[int, float], None] = lambda step, bits: None
    """Takes a training step and the bits of a held-out sample."""


class FittedPrior:
    """A prior that knows the training codes."""

    stopped_at: int | None = None
    """The training step whose weights it has; None where there was no training."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout

    @abstractmethod
    def stepper(self, samples: int) -> Stepper:
        """At the first code of so many samples."""
        raise NotImplementedError

    @abstractmethod
    def arrays(self) -> Arrays:
        """All numbers that it needs, by name: integers."""
        raise NotImplementedError

    @classmethod
    @abstractmethod
    def rebuilt(cls, layout: Layout, arrays: Arrays) -> Self:
        """The prior that has these arrays. Raises ValueError or KeyError where they make none."""
        raise NotImplementedError

    @property
    def parameters(self) -> int:
        """Numbers that it holds."""
        return sum(array.size for array in self.arrays().values())

    @property
    def bytes(self) -> int:
        """What its numbers take, each in its own type, not compressed."""
        return sum(array.nbytes for array in self.arrays().values())

    @property
    def digest(self) -> str:
        """SHA-256 of its kind, its layout and its numbers: equal digests, equal probabilities."""
        found = hashlib.sha256(json.dumps([type(self).__qualname__, vars(self.layout)], sort_keys=True).encode())
        for name, array in sorted(self.arrays().items()):
            found.update(f"{name} {array.dtype.str} {array.shape}".encode())
            found.update(np.ascontiguousarray(array).tobytes())
        return found.hexdigest()

    def bits(self, codes: Codes) -> npt.NDArray[np.float64]:
        """What all codes [N, P, L] of each sample cost: [N]."""
        parts = [self._bits(codes[block]) for block in blocks(len(codes), self.layout)]
        return np.concatenate(parts) if parts else np.zeros(0)

    def _bits(self, codes: Codes) -> npt.NDArray[np.float64]:
        total, rows = np.zeros(len(codes)), np.arange(len(codes))
        stepper = self.stepper(len(codes))
        for position in range(self.layout.positions):
            for place in range(self.layout.codes):
                column = codes[:, position, place]
                probabilities = stepper.probabilities()
                total -= np.log2(probabilities[rows if len(probabilities) > 1 else 0, column])
                stepper.see(column)
        return total


class Prior:
    """One kind of prior: a step of the ladder."""

    rank: ClassVar[int]
    """Its place in the ladder: from what knows least of the codes to what knows most."""
    takes: ClassVar[Sequence[str]] = ()
    """Fields of the settings that it has; the others of `OWN_FIELDS` are not part of its cells."""
    needs_positions: ClassVar[bool] = False
    """Whether it needs more than one position to be useful."""
    fitted: ClassVar[type[FittedPrior]]
    """What `fit` gives."""

    @classmethod
    @abstractmethod
    def fit(cls, codes: Codes, fit: Fit) -> FittedPrior:
        """Fitted to training codes [N, P, L]."""
        raise NotImplementedError

    @classmethod
    def fitting(cls, codes: Codes, fit: Fit) -> Generator[float, None, FittedPrior]:
        """Fits like `fit`, and yields from time to time the part that is done: there it can be stopped."""
        yield 0.0
        return cls.fit(codes, fit)
