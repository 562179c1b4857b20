"""Anything that faiss makes of a factory string and that has a codec of its own (Douze et al., "The Faiss library",
arXiv 2401.08281)."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from pydantic import Field

from dvq_ray.declarations.field import Axis
from dvq_ray.declarations.settings import Count, Rule
from dvq_ray.quantizer.base import Codec, Quantizer, Vectors
from dvq_ray.quantizer.rules import faiss_is_installed
from dvq_ray.quantizers._faiss import NEEDS_FAISS

if TYPE_CHECKING:
    import faiss


def _is_of(features: int, dimension: int) -> str | None:
    return None if features == dimension else f"is not dimension = {dimension}; allowed: {dimension}"


def _has_codec(factory_string: str, features: int, quantizer: str) -> str | None:
    if faiss_is_installed(quantizer):
        return None  # which another rule says
    try:
        _sizes(factory_string, features)
    except ValueError as error:
        return f"has no codec for {features} features ({error}); allowed: such as PQ4x8, OPQ4,PQ4x8, RQ8x8, SQ4"
    return None


class Faiss(Quantizer):
    """`faiss.index_factory(features, factory_string)`, with what the string leaves open as faiss has it.

    So k-means takes 256 training vectors for each code, and warns below 39. Codes of product and additive quantizers
    are counted in each codebook; others in each byte of what faiss stores. PQ is trained without the order of its codes
    that a search in bits wants, which takes most of the time and changes no error.
    """

    label: ClassVar[str] = "faiss"
    shade: ClassVar[str] = ""
    stream: ClassVar[str] = "faiss"
    rules: ClassVar[tuple[Rule, ...]] = (
        NEEDS_FAISS,
        Rule(fields=("factory_string", "features", "quantizer"), breach=_has_codec),
        Rule(fields=("features", "dimension"), breach=_is_of),
    )

    factory_string: Annotated[
        str, Field(min_length=1), Axis(label="factory string", example="PQ4x8", stands_alone=True)
    ]
    """What faiss makes: `PQ8x8`, `OPQ16,PQ16x8`, `RQ8x8`, `LSQ8x8`, `SQ4`, `RaBitQ`, ..."""
    features: Annotated[Count, Axis(label="features", role="data", example=16)]
    """Numbers in a vector. What a string means, and how many bits it takes, depends on them."""

    def codebook_sizes(self) -> tuple[int, ...]:
        """[codebooks], or [bytes of a code]"""
        return _sizes(self.factory_string, self.features)

    def parameters(self, features: int) -> int:
        """Centroids, codebooks, rotations and ranges; what other parts hold is not counted."""
        from dvq_ray.fitting.codecs.faiss import numbers

        return numbers(_made(self.factory_string, self.features))

    def products(self, features: int) -> float:
        """About as many as numbers in the codec."""
        return float(max(features, self.parameters(features)))

    def fit(self, vectors: Vectors, rng: np.random.Generator) -> Codec:
        """The codec of the trained index."""
        from dvq_ray.fitting.codecs.faiss import FaissCodec
        from dvq_ray.fitting.with_faiss import errors_for_people, trained

        if vectors.shape[1] != self.features:
            raise ValueError(f"features = {self.features} {_is_of(self.features, vectors.shape[1])}")
        codec = FaissCodec(trained(lambda: _made(self.factory_string, self.features), vectors, rng))
        with errors_for_people():  # some transforms cannot be undone
            codec.decode(codec.encode(vectors[:1]))
        return codec

    def fit_seconds(self, vectors: int, features: int) -> float:
        """As of k-means, ten times as long where codes are added up or rotated."""
        slow = 10 if any(kind in self.factory_string for kind in ("OPQ", "RQ", "LSQ")) else 1
        return 25 * slow * vectors * self.products(features) * 1e-10 + 0.05


def _made(factory: str, features: int) -> faiss.Index:
    import faiss

    from dvq_ray.fitting.with_faiss import errors_for_people

    with errors_for_people():
        index = faiss.index_factory(features, factory)
    inner: Any = faiss.downcast_index(index.index) if isinstance(index, faiss.IndexPreTransform) else index
    if hasattr(inner, "do_polysemous_training"):
        inner.do_polysemous_training = False
    return index


@lru_cache
def _sizes(factory: str, features: int) -> tuple[int, ...]:
    """Raises ValueError where faiss makes nothing with a codec of the string."""
    from dvq_ray.fitting.codecs.faiss import sizes

    found = sizes(_made(factory, features))
    if not found:
        raise ValueError("faiss: its code has no bits")
    return found


QUANTIZER = Faiss
