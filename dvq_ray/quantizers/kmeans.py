"""k-means for each slice of the features: what the same codebooks could reach, had training found them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from dvq_ray.declarations.field import Axis
from dvq_ray.declarations.settings import Count, Rule
from dvq_ray.quantizer.base import CodebookSize, Codec, Quantizer, Vectors
from dvq_ray.quantizer.rules import enough_samples, faiss_is_installed, indexed_by_bits
from dvq_ray.quantizer.slices import slices_at_bits, slices_divide


class KMeans(Quantizer):
    """Lloyd's algorithm (scikit-learn's)."""

    label: ClassVar[str] = "k-means"
    family: ClassVar[str] = "grey"
    stream: ClassVar[str] = "k-means starts"

    codebook_size: CodebookSize
    """Codes in each codebook: K in the paper."""
    slices: Annotated[Count, Axis(label="slices", symbol="L", neutral=1)] = 1
    """Parts that the features are cut into, each clustered on its own."""
    start: Annotated[Literal["random", "k-means++", "best"], Axis(label="start", role="training")] = "random"
    """Random training vectors, k-means++, or `best`: both, of which each slice keeps what has the least error on the
    training vectors.

    A yardstick needs `best` and several restarts. From random starts some blobs are left without a code unless codes
    are far fewer than blobs: on 16 blobs in 64 dimensions 16 codes end at 6.0 on average from one start, and at 1.0005
    where each finds its own, as k-means++ does. With few vectors to a blob k-means++ spends codes on single vectors
    instead: on 4,096 blobs, 1,024 codes have the lower error on the training vectors (18.5 against 19.1) and the higher
    one on the test vectors (23.6 against 22.0). `best` keeps them all the same, for it must not look at the test ones:
    there, hold a result against both kinds."""
    restarts: Annotated[int, Field(ge=1), Axis(label="restarts", role="training")] = 1
    """Starts of each kind, of which the best on the training vectors is kept."""
    max_iterations: Annotated[int, Field(ge=1), Axis(label="iterations at most", role="training")] = 100
    """Lloyd iterations of a start, at most."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(fields=("slices", "dimension"), breach=slices_divide),
        Rule(fields=("codebook_size", "train_samples"), breach=enough_samples),
    )

    @classmethod
    def at_bits(cls, bits: int, features: int) -> Mapping[str, Any] | None:
        """The fewest slices with up to 256 codes each. None where `pq` makes the same of them in less time."""
        found = slices_at_bits(bits, features)
        if found is None or not (faiss_is_installed("pq") or indexed_by_bits(found[1])):
            return None
        return {"slices": found[0], "codebook_size": found[1], "start": "k-means++"}

    def codebook_sizes(self) -> tuple[int, ...]:
        """[slices]"""
        return (self.codebook_size,) * self.slices

    def parameters(self, features: int) -> int:
        """All numbers in the codebooks."""
        return self.codebook_size * features

    def feature_slices(self) -> int:
        """The slices."""
        return self.slices

    def bits(self, vectors: int = 1) -> float:
        """log2 of the codebook size for each code."""
        return self.slices * vectors * math.log2(self.codebook_size)

    def fit(self, vectors: Vectors, rng: np.random.Generator) -> Codec:
        """Lloyd's algorithm for each slice; of all starts the one with the least training error is kept."""
        # scikit-learn takes a second to import, which most workers need not spend
        from sklearn.cluster import KMeans as Lloyd

        from dvq_ray.fitting.codecs.codebooks import CodebookCodec
        from dvq_ray.process.blas_threads import one_blas_thread

        features = vectors.shape[1]
        if breach := slices_divide(self.slices, features):
            raise ValueError(f"slices = {self.slices} {breach}")
        part = features // self.slices
        codebooks = np.empty((self.slices, self.codebook_size, part), dtype=np.float32)
        # With several threads, BLAS and scikit-learn sum in an order that depends on how many there are.
        with one_blas_thread():
            for place in range(self.slices):
                own = vectors[:, place * part : (place + 1) * part]
                # Each kind draws what it would draw on its own: `best` is never worse than either.
                random_state = int(rng.integers(2**32))
                found = [
                    Lloyd(
                        n_clusters=self.codebook_size,
                        init=kind,
                        n_init=self.restarts,
                        max_iter=self.max_iterations,
                        random_state=random_state,
                        copy_x=False,
                    ).fit(np.array(own, order="C"))  # a copy, which it changes
                    for kind in self._kinds()
                ]
                codebooks[place] = min(found, key=lambda estimator: estimator.inertia_).cluster_centers_
        return CodebookCodec(codebooks)

    def _kinds(self) -> Sequence[str]:
        return ("random", "k-means++") if self.start == "best" else (self.start,)

    def fit_seconds(self, vectors: int, features: int) -> float:
        """Lloyd's passes over the vectors, and the seeding of k-means++."""
        part = features / self.slices
        lloyd = min(self.max_iterations, 10 + 200 / part)  # it settles sooner in many dimensions
        passes = self.restarts * sum(lloyd + (10 if kind == "k-means++" else 0) for kind in self._kinds())
        return self.slices * passes * vectors * self.codebook_size * (part + 16) * 2.5e-11 + 0.03


QUANTIZER = KMeans
