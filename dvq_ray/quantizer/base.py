"""A quantizer: maps a vector to codes and back. One class describes it to every experiment that quantizes.

A subclass declares its fields, says what its codes cost, and does one of two things: `build` a module that learns by
gradient, or `fit` a codec to vectors. Nothing else in this package needs to know of it. Importing a quantizer should
cost nothing heavy: import torch or scikit-learn inside `build` and `fit`.

    class Rvq(Quantizer):
        label = "RVQ"
        stages: Annotated[int, Field(ge=1), Axis(label="stages", symbol="M")]
        codebook_size: CodebookSize

        def codebook_sizes(self):
            return (self.codebook_size,) * self.stages

        def parameters(self, features):
            return self.stages * self.codebook_size * features

        def build(self, features, generator):
            return ResidualModule(...)      # a `QuantizerModule`
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Set
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field

from dvq_ray.declarations.field import Axis
from dvq_ray.declarations.settings import Settings

if TYPE_CHECKING:
    import faiss
    import torch

    from dvq_ray.quantizer.module import QuantizerModule

Vectors = npt.NDArray[np.float32]
Codes = npt.NDArray[np.integer[Any]]

_NUMBERS_AT_ONCE = 1 << 24
"""In a block: 64 MiB of float32."""

CodebookSize = Annotated[int, Field(ge=2), Axis(label="codebook size", symbol="K", example=[16, 64])]


class Quantizer(Settings):
    """The fields of one quantizer, and what can be said and made from them."""

    label: ClassVar[str] = ""
    """What figures and tables call it, such as `VQ`. Empty: its name."""
    family: ClassVar[str] = ""
    """Colour family (`green`, `orange`, `olive`, `plum`); empty: one that follows from the name."""
    shade: ClassVar[str] = ""
    """The field along which members of the family darken in figures; empty: they have one colour."""
    needs: ClassVar[Set[str]] = frozenset()
    """What an experiment must provide: `positions` (vectors have neighbours in space), `decoder` (a network that
    takes codes of any width back to the data)."""
    stream: ClassVar[str] = "fit"
    """Purpose of the random numbers that `fit` draws."""
    positionwise: ClassVar[bool] = True
    """Whether each vector has a code of its own in every codebook."""

    @classmethod
    def variant(cls, provided: Set[str]) -> type[Quantizer] | None:
        """The class for an experiment that provides this; None where the quantizer cannot be used there."""
        return cls if cls.needs <= provided else None

    @classmethod
    def learns_by_gradient(cls) -> bool:
        """Whether it builds a module; else it is fitted."""
        return cls.build is not Quantizer.build

    @classmethod
    def is_fitted(cls) -> bool:
        """Whether it fits a codec."""
        return cls.fit is not Quantizer.fit

    @classmethod
    def cuts_features(cls) -> bool:
        """Whether its fields say how many slices of the features it has."""
        return cls.feature_slices is not Quantizer.feature_slices

    @classmethod
    def at_bits(cls, bits: int, features: int) -> Mapping[str, Any] | None:
        """Its fields with which a vector of so many features has at most `bits` bits, and nearly as many.

        None where it cannot, or where that takes far longer than others: `dvq-ray compare` then leaves it out.
        """
        return None

    @abstractmethod
    def codebook_sizes(self) -> tuple[int, ...]:
        """Sizes of the codebooks that a vector's code indexes: [codebooks]."""
        raise NotImplementedError(f"{type(self).__name__} does not say what its codes are: codebook_sizes is missing")

    @abstractmethod
    def parameters(self, features: int) -> int:
        """Numbers that its codec holds, for vectors of so many features."""
        raise NotImplementedError(f"{type(self).__name__} does not say how large it is: parameters is missing")

    def bits(self, vectors: int = 1) -> float:
        """Bits of the codes of so many vectors, all codes being equally likely."""
        # Python 3.12 changed how sum rounds; fsum is the same in every version.
        return vectors * math.fsum(math.log2(size) for size in self.codebook_sizes())

    def products(self, features: int) -> float:
        """About how many multiplications it takes to encode one vector."""
        return float(self.parameters(features))

    def feature_slices(self) -> int:
        """Equal parts of the features that are quantized independently of each other; 1 where there are none."""
        return 1

    def out_features(self, features: int) -> int:
        """Features of a decoded vector."""
        return features

    def build(self, features: int, generator: torch.Generator) -> QuantizerModule:
        """A module on the CPU that learns by gradient; `generator`, a CPU one, draws what it starts from.

        Raises ValueError where it cannot quantize vectors of so many features.
        """
        raise NotImplementedError(f"{type(self).__name__} does not learn by gradient")

    def fit(self, vectors: Vectors, rng: np.random.Generator) -> Codec:
        """A codec fitted to `vectors` [samples, features]. Raises ValueError where they cannot be used."""
        raise NotImplementedError(f"{type(self).__name__} is not fitted")

    def fit_seconds(self, vectors: int, features: int) -> float:
        """About how long `fit` takes on one core of a 2026 server."""
        return 20 * vectors * self.products(features) * 2.5e-11 + 0.03


class Codec:
    """Vectors to codes and back, as they are after a fit. Equal vectors get equal codes each time.

    `encode` and `decode` need no more memory than what goes in and comes out, and a block: see `blocks`. With
    `description`, `arrays` and `rebuilt` it can be exported without pickle: see `dvq_ray/quantizer/codecs.py`.
    """

    @abstractmethod
    def encode(self, vectors: Vectors) -> Codes:
        """Codes [samples, codebooks], of `code_type`, of `vectors` [samples, features]."""
        raise NotImplementedError

    @abstractmethod
    def decode(self, codes: Codes) -> Vectors:
        """Vectors [samples, features], float32, of `codes` [samples, codebooks]."""
        raise NotImplementedError

    def evaluate(self, vectors: Vectors, sizes: tuple[int, ...]) -> tuple[float, list[npt.NDArray[np.int64]]]:
        """Mean squared error per feature, and how often each code of each codebook occurs: [codebooks] of [codes].

        It is what a fit reports, to the bit.
        """
        error, counts = 0.0, [np.zeros(size, np.int64) for size in sizes]
        for rows in blocks(*vectors.shape):
            codes = self.encode(vectors[rows])
            error += float(np.square(vectors[rows] - self.decode(codes), dtype=np.float64).sum())
            for count, column, size in zip(counts, codes.T, sizes, strict=True):
                count += np.bincount(column, minlength=size)
        return error / vectors.size, counts

    def description(self) -> Mapping[str, Any]:
        """What plain JSON can say of it, beside its `arrays`; by default nothing."""
        return {}

    def arrays(self) -> Mapping[str, npt.NDArray[Any]]:
        """All numbers that it needs, by name."""
        raise NotImplementedError(f"{type(self).__name__} cannot be exported: arrays is missing")

    def to_faiss(self, offset: Vectors, unit: float) -> faiss.Index:
        """An index of faiss without rows, with these codes, of vectors times `unit`, plus `offset` [features] or [1].

        Raises ValueError where faiss cannot have it.
        """
        raise NotImplementedError(f"{type(self).__name__} has no index of faiss")

    @classmethod
    def rebuilt(cls, description: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> Self:
        """The codec that gave this description and these arrays. Raises ValueError where they make none."""
        raise NotImplementedError(f"{cls.__name__} cannot be read from an export: rebuilt is missing")


def blocks(samples: int, numbers: int) -> Iterator[slice]:
    """Consecutive rows of an array [samples, numbers], so few at a time that work on them takes little memory."""
    at_once = max(1, _NUMBERS_AT_ONCE // max(1, numbers))
    return (slice(start, min(start + at_once, samples)) for start in range(0, samples, at_once))


def code_type(sizes: Iterable[int]) -> np.dtype[Any]:
    """The smallest unsigned type that holds the codes of codebooks of these `sizes`."""
    return np.min_scalar_type(max(sizes, default=1) - 1)
