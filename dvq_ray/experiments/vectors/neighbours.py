"""How well decoded vectors stand for vectors in a search: neighbours, inner products, distances."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dvq_ray.process.blas_threads import one_blas_thread

Vectors = npt.NDArray[np.float32]

MOST_QUERIES = 1000
_PAIRED_ROWS = 1000
"""Of the database, that each query is compared with for inner products and distances."""
_CANDIDATES = 8
"""Rows near a query in float32, of which float64 says which one is the nearest."""
_NUMBERS_AT_ONCE = 1 << 24


@dataclass(frozen=True, kw_only=True)
class Search:
    """Queries, a database, and which row of it is nearest to each query."""

    queries: Vectors
    """[queries, dimension]"""
    database: Vectors
    """[rows, dimension]"""
    nearest: npt.NDArray[np.int64]
    """[queries] rows of the database; of equal distances the first."""

    @classmethod
    def of(cls, queries: Vectors, database: Vectors) -> Search:
        """The first of these queries, and their exact neighbours."""
        queries, database = queries[:MOST_QUERIES], database
        return cls(queries=queries, database=database, nearest=_nearest(queries, database))

    def recall(
        self, codes: npt.NDArray[np.integer[Any]], decoded: Vectors, ranks: Sequence[int]
    ) -> Mapping[int, float]:
        """Share of queries whose nearest row is among the first R when the decoded rows are sorted by distance.

        `codes` [rows, codebooks] and `decoded` [rows, dimension] are those of the database; the queries are not
        quantized (Jégou, Douze and Schmid, "Product quantization for nearest neighbor search", IEEE TPAMI 33, 2011).
        Rows with equal codes are equally far: their order is random, and what counts is the chance to be among the
        first R.
        """
        _, first, group, size = np.unique(codes, axis=0, return_index=True, return_inverse=True, return_counts=True)
        group, different = group.reshape(-1), decoded[first]
        nearer, as_near = np.empty(len(self.queries)), np.empty(len(self.queries))
        for rows, distances in _distances(self.queries, different):
            own = np.take_along_axis(distances, group[self.nearest[rows], None], axis=1)
            nearer[rows] = (distances < own) @ size
            as_near[rows] = (distances == own) @ size
        return {rank: float(np.clip((rank - nearer) / as_near, 0, 1).mean()) for rank in ranks}

    def inner_product_error(self, decoded: Vectors) -> float:
        """Mean error of the inner products of queries with decoded rows, over the mean size of the inner products."""
        exact, found = (self._products(rows) for rows in (self.database, decoded))
        return _relative(exact, found)

    def distance_error(self, decoded: Vectors) -> float:
        """The same of squared distances."""
        exact, found = (self._squared_distances(rows) for rows in (self.database, decoded))
        return _relative(exact, found)

    def _products(self, rows: Vectors) -> npt.NDArray[np.float64]:
        with one_blas_thread():
            products: npt.NDArray[np.float64] = self.queries.astype(np.float64) @ rows[:_PAIRED_ROWS].T
        return products

    def _squared_distances(self, rows: Vectors) -> npt.NDArray[np.float64]:
        lengths = [np.square(each, dtype=np.float64).sum(axis=1) for each in (self.queries, rows[:_PAIRED_ROWS])]
        found: npt.NDArray[np.float64] = lengths[0][:, None] + lengths[1] - 2 * self._products(rows)
        return np.maximum(found, 0, out=found)


def _relative(exact: npt.NDArray[np.float64], found: npt.NDArray[np.float64]) -> float:
    """A ratio of means: the mean of ratios would be that of the few pairs whose exact value is near zero."""
    size = np.abs(exact).mean()
    return float(np.abs(exact - found).mean() / size) if size else 0.0


def _nearest(queries: Vectors, database: Vectors) -> npt.NDArray[np.int64]:
    found = np.empty(len(queries), np.int64)
    candidates = min(_CANDIDATES, len(database))
    for rows, distances in _distances(queries, database):
        near = np.sort(np.argpartition(distances, candidates - 1, axis=1)[:, :candidates], axis=1)
        exact = np.square(database[near] - queries[rows, None].astype(np.float64)).sum(axis=2)
        found[rows] = np.take_along_axis(near, exact.argmin(axis=1)[:, None], axis=1)[:, 0]
    return found


def _distances(queries: Vectors, database: Vectors) -> Iterator[tuple[slice, Vectors]]:
    """Blocks of queries, and the squared distances [queries, rows] of each less its own squared length."""
    # A shift changes no distance; about zero, float32 loses least.
    centre = database.mean(axis=0, dtype=np.float64).astype(np.float32)
    queries, database = queries - centre, database - centre
    lengths = np.square(database).sum(axis=1)
    step = max(1, _NUMBERS_AT_ONCE // len(database))
    with one_blas_thread():
        for start in range(0, len(queries), step):
            rows = slice(start, min(start + step, len(queries)))
            yield rows, lengths - 2 * (queries[rows] @ database.T)
