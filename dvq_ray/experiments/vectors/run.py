"""From the settings and seed of a cell of vectors to its metrics."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache

import numpy as np

from dvq_ray.experiment.experiment import Outcome
from dvq_ray.experiment.surroundings import Surroundings
from dvq_ray.experiments.vectors.data import DataSet, TestRows, Vectors, load
from dvq_ray.experiments.vectors.model import preparation_parts
from dvq_ray.experiments.vectors.neighbours import Search
from dvq_ray.experiments.vectors.preparation import Preparation, directions
from dvq_ray.experiments.vectors.settings import VectorCurve, VectorMetrics, VectorSettings
from dvq_ray.experiments.vectors.sources import State, VectorSource
from dvq_ray.fitting.fit import Data, fit
from dvq_ray.fitting.problem import FitResult
from dvq_ray.models.codec_model import codec_parts
from dvq_ray.quantizer import kept_codes
from dvq_ray.quantizer.base import Codec, Quantizer, blocks
from dvq_ray.quantizer.codecs import exported_bytes
from dvq_ray.quantizer.usage import (
    Counts,
    codes_used,
    count,
    perplexity,
    usage,
)


def run(settings: VectorSettings, seeds: Sequence[int], surroundings: Surroundings) -> Generator[Outcome]:
    """Fits one quantizer to the rows of a data set, from the start of each seed.

    On a CPU one seed is fitted after the other; on a GPU codebooks of all of them are fitted in one batch.
    """
    vectors = _vectors(surroundings.data[settings.dataset], settings)
    if surroundings.device == "cpu":
        for seed in seeds:
            yield from _fitted(settings, vectors, [seed], surroundings)
    else:
        yield from _fitted(settings, vectors, seeds, surroundings)


@dataclass(frozen=True, kw_only=True)
class _Vectors:
    """Rows as errors are measured on them, and what does not depend on the quantizer."""

    train: Vectors
    probe: Vectors
    data: DataSet
    normalise: bool
    search: Search
    variance: float

    def test_blocks(self) -> Iterable[Vectors]:
        return (directions(block) if self.normalise else block for block in self.data.test.blocks())


def _vectors(source: VectorSource, settings: VectorSettings) -> _Vectors:
    return _looked_up(source, settings.rows, settings.normalise, source.state())


@lru_cache(maxsize=1)  # the cells of a trial share one, and it takes as long as many a fit
def _search(test: TestRows, normalise: bool) -> Search:
    queries, database = (directions(part) if normalise else part for part in (test.probe, test.database))
    return Search.of(queries, database)


@lru_cache(maxsize=1)
def _looked_up(source: VectorSource, rows: int, normalise: bool, state: State) -> _Vectors:
    data = load(source, rows)
    train, probe = (directions(part) if normalise else part for part in (data.train, data.test.probe))
    mean = train.mean(axis=0, dtype=np.float64)
    found = _Vectors(
        train=train, probe=probe, data=data, normalise=normalise, search=_search(data.test, normalise), variance=0.0
    )
    error = sum(float(np.square(block - mean).sum()) for block in found.test_blocks())
    return _Vectors(**{**vars(found), "variance": error / (data.test.count * train.shape[1])})


def _fitted(
    settings: VectorSettings, vectors: _Vectors, seeds: Sequence[int], surroundings: Surroundings
) -> Generator[Outcome]:
    assert isinstance(settings, Quantizer)
    started = time.perf_counter()
    preparation = Preparation.fitted(vectors.train, centre=settings.centre, scale=settings.scale)
    train, probe = preparation.applied(vectors.train), preparation.applied(vectors.probe)
    data = [Data(seed=seed, train=train, test=probe) for seed in seeds]
    results = list(fit(settings, data, surroundings.device))
    fitting = (time.perf_counter() - started) / len(seeds)  # a batch on a GPU is done all at once
    for seed, result in zip(seeds, results, strict=True):
        started = time.perf_counter()
        curve = [
            asdict(VectorCurve(step=int(step), fit_mse=float(mse)))
            for step, mse in zip(result.curve_steps, result.curve_test_mse, strict=True)
        ]
        if result.diverged_at_step is not None:
            yield Outcome(curve=curve, diverged_at_step=result.diverged_at_step)
        else:
            metrics = _metrics(settings, vectors, preparation, result)
            duration = fitting + time.perf_counter() - started
            _keep(settings, seed, vectors, preparation, result.codec, surroundings)
            yield Outcome(metrics=asdict(metrics), curve=curve, duration_seconds=duration)


def _keep(
    settings: VectorSettings, seed: int, vectors: _Vectors, preparation: Preparation, codec: Codec,
    surroundings: Surroundings,
) -> None:  # fmt: skip
    files = surroundings.files_of(seed)
    if "codes" in surroundings.keep:
        train = (vectors.train[part] for part in blocks(*vectors.train.shape))
        splits = {
            split: np.concatenate([codec.encode(preparation.applied(block)) for block in rows])
            for split, rows in (("train", train), ("test", vectors.test_blocks()))
        }
        files.write_artifact(kept_codes.FILE, kept_codes.codes_file(splits))
    if "model" in surroundings.keep:
        parts, arrays = codec_parts(codec)
        files.write_model({**parts, **preparation_parts(settings, preparation)}, arrays, vectors.data.sha256)


@dataclass(kw_only=True)
class _Tally:
    """What adds up over blocks of rows."""

    sizes: tuple[int, ...]
    squares: float = 0.0
    numbers: int = 0
    rows: int = 0
    encoding_seconds: float = 0.0
    decoding_seconds: float = 0.0
    counts: list[Counts] = field(default_factory=list)

    def add(self, codec: Codec, preparation: Preparation, block: Vectors) -> None:
        """Takes a block of rows in, which are in the units of the data."""
        prepared = preparation.applied(block)
        started = time.perf_counter()
        codes = codec.encode(prepared)
        encoded = time.perf_counter()
        decoded = codec.decode(codes)
        self.decoding_seconds += time.perf_counter() - encoded
        self.encoding_seconds += encoded - started
        decoded = preparation.undone(decoded)
        self.squares += float(np.square(block - decoded, dtype=np.float64).sum())
        self.numbers += block.size
        self.rows += len(block)
        counts = count(codes, self.sizes)
        self.counts = [own + more for own, more in zip(self.counts, counts, strict=True)] if self.counts else counts

    @property
    def mse(self) -> float:
        return self.squares / self.numbers


def _metrics(settings: VectorSettings, vectors: _Vectors, preparation: Preparation, result: FitResult) -> VectorMetrics:
    assert isinstance(settings, Quantizer)
    sizes, codec, (rows, dimension) = settings.codebook_sizes(), result.codec, vectors.train.shape
    of_train, of_test = _Tally(sizes=sizes), _Tally(sizes=sizes)
    for part in blocks(rows, dimension):
        of_train.add(codec, preparation, vectors.train[part])
    for block in vectors.test_blocks():
        of_test.add(codec, preparation, block)
    codes = codec.encode(preparation.applied(vectors.search.database))
    decoded = preparation.undone(codec.decode(codes))
    recall = vectors.search.recall(codes, decoded, (1, 10, 100))
    return VectorMetrics(
        test_mse=of_test.mse,
        train_mse=of_train.mse,
        data_variance=vectors.variance,
        loss_over_variance=of_test.mse / vectors.variance if vectors.variance else 0.0,
        bits_per_vector=settings.bits(),
        **usage(of_train.counts, of_test.counts),
        codes_used=[codes_used(counts) for counts in of_test.counts],
        perplexity=[perplexity(counts) for counts in of_test.counts],
        codebook_parameters=settings.parameters(dimension),
        codec_bytes=exported_bytes(codec),
        recall_at_1=recall[1],
        recall_at_10=recall[10],
        recall_at_100=recall[100],
        inner_product_error=vectors.search.inner_product_error(decoded),
        distance_error=vectors.search.distance_error(decoded),
        encoded_per_second=of_test.rows / of_test.encoding_seconds,
        decoded_per_second=of_test.rows / of_test.decoding_seconds,
        dimension=dimension,
        train_rows=rows,
        test_rows=of_test.rows,
        data_sha256=vectors.data.sha256,
    )
