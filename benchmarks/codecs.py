"""`python -m benchmarks.codecs`: training and encoding of quantizers against the libraries, by turns.

Each pair gets the same vectors, trains with one thread and encodes the test vectors. A loss ratio of 1 says that the
two are as good; time ratios say what our way around the library costs.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click
import faiss
import numpy as np
import torch
import vector_quantize_pytorch as library  # type: ignore[import-untyped]
from torch import Tensor

from benchmarks.static_prior.tables import say, show, spread
from dvq_ray.experiment.registry import find_experiment
from dvq_ray.fitting.codecs.modules import one_thread as one_torch_thread
from dvq_ray.fitting.fit import Data, fit
from dvq_ray.fitting.problem import BETAS, EPSILON, learning_rates
from dvq_ray.fitting.with_faiss import one_thread
from dvq_ray.quantizer.base import Vectors
from dvq_ray.streams import stream

DIMENSION, RATE, BATCH = 32, 0.03, 256
Encode = Callable[[Vectors], Any]
Trained = tuple[Encode, Callable[[Any], Vectors]]
"""Vectors to codes, and codes to vectors."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A quantizer of ours, and the same of a library."""

    fields: Mapping[str, Any]
    name: str
    train: Callable[[Vectors, int], Trained]
    """Of the library: takes the vectors and a number of steps."""


def _index(make: Callable[[Any], Any]) -> Callable[[Vectors, int], Trained]:
    def train(vectors: Vectors, steps: int) -> Trained:
        index = make(faiss)
        index.train(vectors)
        return index.sa_encode, index.sa_decode

    return train


def _module(make: Callable[[], Any]) -> Callable[[Vectors, int], Trained]:
    """Trains a module of the library by the error of what it gives, and by the loss that it returns."""

    def train(vectors: Vectors, steps: int) -> Trained:
        torch.manual_seed(0)
        module = make()
        optimizer = torch.optim.Adam(module.parameters(), betas=BETAS, eps=EPSILON)
        rows = stream(0, "batches").integers(len(vectors), size=(steps, BATCH))
        given = torch.from_numpy(vectors)
        for step, rate in enumerate(learning_rates("cosine", RATE, steps)):
            batch = given[rows[step]].unsqueeze(0)
            decoded, _, *losses = module(batch)
            loss = (decoded - batch).square().mean() + sum(each.sum() for each in losses)
            optimizer.param_groups[0]["lr"] = float(rate)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        module.eval()

        @torch.no_grad()
        def encode(of: Vectors) -> Tensor:
            return module(torch.from_numpy(of).unsqueeze(0))[1]  # type: ignore[no-any-return]

        @torch.no_grad()
        def decode(codes: Tensor) -> Vectors:
            return module.indices_to_codes(codes)[0].numpy()  # type: ignore[no-any-return]

        return encode, decode

    return train


def _all_vectors(index: Any) -> Any:
    for quantizer in (getattr(index, name) for name in ("pq", "rq") if hasattr(index, name)):
        quantizer.cp.max_points_per_centroid = 10**9
    return index


def _signs(*, spherical: bool) -> Any:
    return library.LFQ(codebook_size=2**8, dim=DIMENSION, spherical=spherical, entropy_loss_weight=0.0)


def _long(index: Any, iterations: int) -> Any:
    index.pq.cp.niter = iterations
    return index


PAIRS = (
    Pair(fields={"quantizer": "kmeans", "codebook_size": 256}, name="faiss k-means, 100 iterations",
         train=_index(lambda lib: _long(_all_vectors(lib.IndexPQ(DIMENSION, 1, 8)), 100))),
    Pair(fields={"quantizer": "pq", "slices": 4, "codebook_size": 256}, name="faiss.IndexPQ",
         train=_index(lambda lib: _all_vectors(lib.IndexPQ(DIMENSION, 4, 8)))),
    Pair(fields={"quantizer": "opq", "slices": 4, "codebook_size": 256}, name="faiss OPQ4 and IndexPQ",
         train=_index(lambda lib: lib.IndexPreTransform(lib.OPQMatrix(DIMENSION, 4), lib.IndexPQ(DIMENSION, 4, 8)))),
    Pair(fields={"quantizer": "rvq", "stages": 4, "codebook_size": 64}, name="faiss.IndexResidualQuantizer",
         train=_index(lambda lib: _all_vectors(lib.IndexResidualQuantizer(DIMENSION, 4, 6)))),
    Pair(fields={"quantizer": "lsq", "additive_codebooks": 4, "codebook_size": 64}, name="faiss.IndexLocalSearch...",
         train=_index(lambda lib: lib.IndexLocalSearchQuantizer(DIMENSION, 4, 6))),
    Pair(fields={"quantizer": "fsq", "levels": "8x8x8x8"}, name="library FSQ",
         train=_module(lambda: library.FSQ(levels=[8] * 4, dim=DIMENSION))),
    Pair(fields={"quantizer": "lfq", "sign_bits": 8, "entropy_weight": 0.0}, name="library LFQ",
         train=_module(lambda: _signs(spherical=False))),
    Pair(fields={"quantizer": "bsq", "sign_bits": 8, "entropy_weight": 0.0}, name="library LFQ, spherical",
         train=_module(lambda: _signs(spherical=True))),
    Pair(fields={"quantizer": "simvq", "codebook_size": 256}, name="library SimVQ",
         train=_module(lambda: library.SimVQ(dim=DIMENSION, codebook_size=256, rotation_trick=False))),
)  # fmt: skip


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--quick", is_flag=True, help="Few vectors, steps and rounds, to see that everything works.")
@click.option("--only", "names", multiple=True, type=click.Choice([p.fields["quantizer"] for p in PAIRS]),
              help="Can be repeated.")  # fmt: skip
def main(quick: bool, names: Sequence[str]) -> None:
    """Print a table of losses and times."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    samples, steps, rounds = (2048, 50, 1) if quick else (16384, 500, 5)
    rows = []
    say(
        f"{samples} vectors in {DIMENSION} dimensions, 256 blobs; {steps} steps of {BATCH}; one thread, load "
        f"{os.getloadavg()[0]:.1f}; ratios of ours to the library, min / median / max of {rounds} rounds by turns"
    )
    for pair in [pair for pair in PAIRS if not names or pair.fields["quantizer"] in names]:
        _ratios(pair, 1024, 2, 0)  # loads the libraries
        ratios = [_ratios(pair, samples, steps, seed) for seed in range(rounds)]
        rows.append((pair.fields["quantizer"], pair.name, *(spread(column) for column in zip(*ratios, strict=True))))
    show(
        ("quantizer", "library", "test loss", "training", "encoding", "ours, s", "ours, ms"),
        rows,
    )


def _ratios(pair: Pair, samples: int, steps: int, seed: int) -> Sequence[float]:
    own = find_experiment("static_prior").variant(pair.fields["quantizer"])
    training = {"steps": steps, "learning_rate": RATE, "batch_size": BATCH} if "steps" in own.model_fields else {}
    settings: Any = own.model_validate(
        {**pair.fields, **training, "dimension": DIMENSION, "factors": 256, "train_samples": samples}
    )
    blobs = settings.draw(seed)

    def ours() -> Trained:
        (found,) = fit(settings, [Data(seed=seed, train=blobs.train, test=blobs.test[:16])], "cpu")
        return found.codec.encode, found.codec.decode

    def theirs() -> Trained:
        return pair.train(blobs.train, steps)

    ways = (ours, theirs) if seed % 2 == 0 else (theirs, ours)
    with one_thread(), one_torch_thread("cpu"):
        measured = {way: _measured(way, blobs.test) for way in ways}
    (loss, train, encode), others = measured[ours], measured[theirs]
    return loss / others[0], train / others[1], encode / others[2], train, 1e3 * encode


def _measured(train: Callable[[], Trained], test: Vectors) -> tuple[float, float, float]:
    """Loss on the test vectors, seconds of training, seconds of encoding the test vectors."""
    started = time.perf_counter()
    encode, decode = train()
    trained = time.perf_counter()
    encode(test)  # loads what is loaded once
    again = time.perf_counter()
    codes = encode(test)
    done = time.perf_counter()
    return float(np.square(test - decode(codes)).mean()), trained - started, done - again


if __name__ == "__main__":
    main()
