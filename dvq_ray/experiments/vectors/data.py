"""The vectors of a data set: checked, divided into train and test, and as many of them as a cell asks for.

Everything goes by a row's content, a digest of its numbers in float32: which rows are for testing (`holdout`), which
ones a subsample has, and their order. So neither the order of a file nor its format changes a result, and 4,000 rows
are among the 8,000.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from dvq_ray.experiments.vectors.rows import Block, Rows
from dvq_ray.experiments.vectors.sources import Split, State, VectorsError, VectorSource

Vectors = npt.NDArray[np.float32]
Digests = npt.NDArray[np.uint64]
"""[rows, 2]: the first decides the order, the second the side."""

_MOST_NUMBERS_KEPT = 1 << 27
"""Up to half a gibibyte all rows of a split are kept in memory. Of more, those for training are kept that a cell asks
for, and those for testing are read anew each time, in the order of the file."""
MOST_SEARCHED = 100_000
"""Training rows in which test rows look for their neighbours."""
MOST_PROBED = 4096
"""Test rows that follow a fit on its way."""
_SHARE_OF_MEMORY = 0.5


@dataclass(frozen=True, kw_only=True)
class Scan:
    """What one pass over the rows of a split found."""

    shown: str
    dimension: int
    digests: Digests
    broken: VectorsError | None
    """Rows that are not finite."""
    constant: int
    """Columns in which all rows agree."""
    empty: int
    """Rows of zeros, which have no direction."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TestRows:
    """The rows for testing, and those that they are searched among: the same for cells of any number of rows."""

    count: int
    probe: Vectors
    """[at most MOST_PROBED, dimension] those that come first by their digests."""
    database: Vectors
    """[at most MOST_SEARCHED, dimension] the first of all training rows, however many of them are learned from."""
    kept: Vectors | None
    """[count, dimension] all of them by their digests, where they fit into memory."""
    source: VectorSource

    def blocks(self) -> Iterator[Vectors]:
        """All rows, in blocks [rows, dimension]."""
        if self.kept is not None:
            step = max(1, (1 << 22) // self.kept.shape[1])
            yield from (self.kept[start : start + step] for start in range(0, self.count, step))
            return
        rows, chosen, start = _opened(self.source, "test"), _side(self.source, "test"), 0
        for block in rows.blocks():
            yield in_float32(block)[chosen[start : start + len(block)]]
            start += len(block)


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """The rows that a cell learns from, and those that it is tested on."""

    train: Vectors
    """[rows, dimension] by their digests."""
    test: TestRows
    sha256: str
    """Digest of all training rows and all test rows, in whatever order."""


def load(source: VectorSource, rows: int) -> DataSet:
    """Reads a data set, to learn from the first `rows` of its training rows by their digests; 0: all.

    The last one is kept as long as its files do not change; do not write to it. Raises `VectorsError`.
    """
    source = source.expanded()
    own, available = scan(source, "train"), train_count(source)
    if rows > available:
        raise VectorsError(f"{own.shown}: {too_many_rows(rows, available)}")
    if available * own.dimension > _MOST_NUMBERS_KEPT:
        return _load(source, rows, source.state())
    found = _load(source, 0, source.state())  # for cells of any number of rows
    return replace(found, train=found.train[: rows or None])


@lru_cache(maxsize=1)  # the cells of a trial share one
def _load(source: VectorSource, rows: int, state: State) -> DataSet:
    own, other = scan(source, "train"), scan(source, "test")
    for found in (own, other):
        if found.broken:
            raise found.broken
    for problem in problems_of_split(source):
        raise problem
    train, test = (np.flatnonzero(_side(source, split)) for split in ("train", "test"))
    train, test = _by_digest(train, own.digests), _by_digest(test, other.digests)
    fits = len(test) * own.dimension <= _MOST_NUMBERS_KEPT
    gathered = _gathered(source, "test", test if fits else test[:MOST_PROBED])
    first = _gathered(source, "train", train[: max(rows or len(train), MOST_SEARCHED)])
    return DataSet(
        train=first[: rows or None],
        test=TestRows(
            count=len(test),
            probe=gathered[:MOST_PROBED],
            database=first[:MOST_SEARCHED],
            kept=gathered if fits else None,
            source=source,
        ),
        sha256=digest(source),
    )


def scan(source: VectorSource, split: Split) -> Scan:
    """One pass over all rows of a file; `holdout` divides those of `train`. Raises `VectorsError`."""
    return _scan(source, "train" if source.holdout is not None else split, source.state())


@lru_cache(maxsize=8)
def _scan(source: VectorSource, split: Split, state: State) -> Scan:
    rows = _opened(source, split)
    digests: list[Digests] = []
    low, high = np.full(rows.dimension, np.inf), np.full(rows.dimension, -np.inf)
    broken, first_broken, empty, count = 0, 0, 0, 0
    for block in rows.blocks():
        vectors = in_float32(block)
        finite = np.isfinite(vectors).all(axis=1)
        if not finite.all():
            first_broken = first_broken if broken else count + int(np.argmin(finite))
            broken += int((~finite).sum())
        empty += int((~vectors.any(axis=1)).sum())
        digests.append(_digests(vectors))
        low, high = np.minimum(low, vectors.min(axis=0)), np.maximum(high, vectors.max(axis=0))
        count += len(vectors)
    if not count:
        raise VectorsError.of(rows.shown, expected="one row or more", found="none")
    error = None
    if broken:
        found = f"{broken:,} of {count:,} rows with another, the first of them row {first_broken} (from 0)"
        error = VectorsError.of(rows.shown, expected="numbers that are finite in float32", found=found)
    return Scan(
        shown=rows.shown,
        dimension=rows.dimension,
        digests=np.concatenate(digests),
        broken=error,
        constant=int((low == high).sum()),
        empty=empty,
    )


def problems_of_split(source: VectorSource) -> Iterator[VectorsError]:
    """What is wrong between train and test. Raises `VectorsError`."""
    train, test = scan(source, "train"), scan(source, "test")
    if train.dimension != test.dimension:
        expected = f"rows of {train.dimension} numbers, as in {train.shown}"
        yield VectorsError.of(test.shown, expected=expected, found=f"{test.dimension}")
        return
    sides = [int(_side(source, split).sum()) for split in ("train", "test")]
    if not all(sides):
        found = f"all of its {sum(sides):,} rows on one side at holdout = {source.holdout:g}"
        remedy = "Write another holdout, or test in its place"
        yield VectorsError.of(train.shown, expected="rows for training and for testing", found=found, remedy=remedy)
    elif source.holdout is None and shared_rows(source) == sides[1]:
        expected = f"test rows that are not among the training rows of {train.shown}"
        yield VectorsError.of(test.shown, expected=expected, found=f"all {sides[1]:,} among them")


def digest(source: VectorSource) -> str:
    """Digest of all training rows and all test rows, in whatever order they are. Raises `VectorsError`."""
    train, test = _digests_of(source, "train"), _digests_of(source, "test")
    return _digest_of_rows(train, test, scan(source, "train").dimension)


def _digests_of(source: VectorSource, split: Split) -> Digests:
    """Those of the rows of a split, in order."""
    digests = scan(source, split).digests
    return digests[_by_digest(np.flatnonzero(_side(source, split)), digests)]


def shared_rows(source: VectorSource) -> int:
    """Test rows that are among the training rows."""
    if source.holdout is not None:
        return 0  # equal rows are on one side
    train, test = scan(source, "train").digests, scan(source, "test").digests
    return int(np.isin(test[:, 0], train[:, 0]).sum())


def train_count(source: VectorSource) -> int:
    """Training rows in all."""
    return int(_side(source, "train").sum())


def test_count(source: VectorSource) -> int:
    """Test rows in all."""
    return int(_side(source, "test").sum())


def too_many_rows(rows: int, available: int) -> str:
    """Says that there are fewer training rows."""
    return (
        f"found rows = {rows}, of which there are {available:,} for training; allowed: at most {available}, or 0: all"
    )


def most_rows_in_memory(dimension: int) -> int:
    """Training rows that this machine has the memory for: a fit holds them twice."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return int(_SHARE_OF_MEMORY * memory / (2 * 4 * dimension))


def in_float32(block: Block) -> Vectors:
    """Rows as they are quantized: in float32, and with one zero."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(block, np.float32) + np.float32(0)


def _opened(source: VectorSource, split: Split) -> Rows:
    return source.opened("train" if source.holdout is not None else split)


def _side(source: VectorSource, split: Split) -> npt.NDArray[np.bool_]:
    """[rows of the file] whether each is of this split."""
    digests = scan(source, split).digests
    if source.holdout is None:
        return np.ones(len(digests), np.bool_)
    held = digests[:, 1] < np.uint64(int(source.holdout * 2**64))
    return held if split == "test" else ~held


def _by_digest(chosen: npt.NDArray[np.int64], digests: Digests) -> npt.NDArray[np.int64]:
    return chosen[np.lexsort((digests[chosen, 1], digests[chosen, 0]))]


def _gathered(source: VectorSource, split: Split, chosen: npt.NDArray[np.int64]) -> Vectors:
    """The rows `chosen` of a file, in that order."""
    rows = _opened(source, split)
    gathered = np.empty((len(chosen), rows.dimension), np.float32)
    places = np.argsort(chosen)
    in_file, start = chosen[places], 0
    for block in rows.blocks():
        first, last = np.searchsorted(in_file, [start, start + len(block)])
        if last > first:
            gathered[places[first:last]] = in_float32(block[in_file[first:last] - start])
        start += len(block)
    return gathered


def _digests(vectors: Vectors) -> Digests:
    contiguous = np.ascontiguousarray(vectors)
    found = b"".join(hashlib.blake2b(row, digest_size=16).digest() for row in contiguous)
    return np.frombuffer(found, ">u8").reshape(len(vectors), 2).astype(np.uint64)


def _digest_of_rows(train: Digests, test: Digests, dimension: int) -> str:
    digest = hashlib.sha256(f"{len(train)}, {len(test)}, {dimension}".encode())
    for digests in (train, test):
        digest.update(np.ascontiguousarray(digests, ">u8").data)
    return digest.hexdigest()
