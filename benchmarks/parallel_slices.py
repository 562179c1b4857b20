"""`python -m benchmarks.parallel_slices`: do slices run in parallel?

Slices are independent of each other, so all of them could be encoded in the time of one. Ways to find the nearest codes
of the same vectors, by turns: one slice after the other; one product of all slices, which is how dvq_ray computes them,
with one thread and with as many as there are slices and cores; and a process for each slice, with one thread, which
holds its slice and its codebook. Processes are started once, and what is timed is from the word to start until the last
one has written its codes.

Speed-up is over one slice after the other with one thread. The ideal is the number of slices, on a CPU at most that of
its cores, and 1 for what has one thread.
"""

from __future__ import annotations

import itertools
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection

import click
import torch
from torch import Tensor
from torch import multiprocessing as processes

from benchmarks.static_prior.tables import say, show
from dvq_ray.quantizer.nearest import nearest_codes

WAYS = ("one by one", "one product", "one product, all cores", "a process for each")
_READY, _GO, _END = "ready", "go", "end"


@dataclass(frozen=True, kw_only=True)
class Size:
    """What is encoded."""

    slices: int
    vectors: int
    features: int
    """Of a slice."""
    codebook_size: int

    @property
    def bits(self) -> float:
        """Of all codes."""
        return self.vectors * self.slices * math.log2(self.codebook_size)

    def tensors(self) -> tuple[Tensor, Tensor]:
        """Vectors [slices, vectors, features] and codebooks [slices, codes, features]."""
        generator = torch.Generator().manual_seed(self.slices)
        shapes = ((self.slices, self.vectors, self.features), (self.slices, self.codebook_size, self.features))
        vectors, codebooks = (torch.randn(shape, generator=generator) for shape in shapes)
        return vectors, codebooks


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Of one number of slices, the fastest of the rounds: whatever else a machine does only makes them slower."""

    size: Size
    ideal: dict[str, int]
    """Largest speed-up, by way."""
    seconds: dict[str, float]
    """By way."""
    different: float
    """Share of codes in which ways differ: rounding may decide between two codes that are equally near."""

    def speed_up(self, way: str) -> float:
        """Over one slice after the other."""
        return self.seconds[WAYS[0]] / self.seconds[way]

    def row(self) -> list[str]:
        """Bits per second of each way, in millions, with speed-ups and their share of the ideal."""
        rates = [f"{self.size.bits / self.seconds[way] / 1e6:,.0f}" for way in WAYS]
        gains = [f"{self.speed_up(way):.2f} ({self.speed_up(way) / self.ideal[way]:.0%})" for way in WAYS[1:]]
        return [str(self.size.slices), rates[0], *itertools.chain(*zip(rates[1:], gains, strict=True))]


def measure(size: Size, device: str, rounds: int, cores: int) -> Measured:
    """Encodes the same vectors each way, by turns."""
    vectors, codebooks = size.tensors()
    with _processes(vectors, codebooks, device) as (every, codes):
        threads = min(size.slices, cores)
        vectors, codebooks = vectors.to(device), codebooks.to(device)
        found: dict[str, Tensor] = {}

        def in_turn() -> None:
            parts = [nearest_codes(vectors[i : i + 1], codebooks[i : i + 1]) for i in range(size.slices)]
            found[WAYS[0]] = torch.cat(parts)

        def at_once() -> None:
            found[WAYS[1]] = nearest_codes(vectors, codebooks)

        works = dict(zip(WAYS, ((in_turn, 1), (at_once, 1), (at_once, threads), (every, 1)), strict=True))
        seconds: dict[str, list[float]] = {way: [] for way in WAYS}
        for round_ in range(-1, rounds):  # the first one warms up
            for way, (work, its_threads) in works.items():
                took = _timed(work, device, its_threads)
                if round_ >= 0:
                    seconds[way].append(took)
    first = found[WAYS[0]].cpu()
    different = max(float((each.cpu() != first).float().mean()) for each in (found[WAYS[1]], codes))
    on_gpu = device == "cuda"
    ideals = (1, size.slices if on_gpu else 1, size.slices if on_gpu else threads, size.slices if on_gpu else threads)
    return Measured(
        size=size, ideal=dict(zip(WAYS, ideals, strict=True)), different=different,
        seconds={way: min(its) for way, its in seconds.items()},
    )  # fmt: skip


def _timed(work: Callable[[], None], device: str, threads: int) -> float:
    torch.set_num_threads(threads)
    _wait_for(device)
    start = time.perf_counter()
    work()
    _wait_for(device)
    return time.perf_counter() - start


def _wait_for(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


@contextmanager
def _processes(vectors: Tensor, codebooks: Tensor, device: str) -> Iterator[tuple[Callable[[], None], Tensor]]:
    """What makes a process for each slice find its codes, and where these are: [slices, vectors]."""
    context = processes.get_context("forkserver")
    context.set_forkserver_preload([__name__])  # which imports torch once
    codes = torch.zeros(vectors.shape[:2], dtype=torch.int64)
    codes.share_memory_()  # type: ignore[no-untyped-call]
    ends, started = [], []
    for place in range(len(vectors)):
        ours, theirs = context.Pipe()
        arguments = (
            theirs,
            vectors[place : place + 1].clone(),
            codebooks[place : place + 1].clone(),
            codes[place],
            device,
        )
        started.append(context.Process(target=_slice, args=arguments, daemon=True))
        started[-1].start()
        ends.append(ours)

    def tell(word: str) -> None:
        for end in ends:
            end.send(word)

    def every() -> None:
        tell(_GO)
        for end in ends:
            end.recv()

    try:
        for end in ends:
            assert end.recv() == _READY
        yield every, codes
    finally:
        tell(_END)
        for process in started:
            process.join()


def _slice(end: Connection, vectors: Tensor, codebooks: Tensor, codes: Tensor, device: str) -> None:
    """The loop of one process: encodes its slice each time it is told to."""
    torch.set_num_threads(1)
    vectors, codebooks = vectors.to(device), codebooks.to(device)
    end.send(_READY)
    while end.recv() == _GO:
        codes.copy_(nearest_codes(vectors, codebooks)[0])  # waits for the device
        end.send(_READY)


def table(found: Sequence[Measured]) -> None:
    """Prints them."""
    headings = ["L", f"{WAYS[0]}, Mbit/s", *itertools.chain(*((way, "speed-up (of ideal)") for way in WAYS[1:]))]
    show(headings, [measured.row() for measured in found])


@click.command()
@click.option("--slices", default="1,2,4,8,16,32", show_default=True, help="Numbers of slices.")
@click.option("--vectors", default=4096, show_default=True)
@click.option("--features", default=16, show_default=True, help="Of a slice.")
@click.option("--codes", default=256, show_default=True, help="Codes of a slice.")
@click.option("--rounds", default=25, show_default=True)
def main(slices: str, vectors: int, features: int, codes: int, rounds: int) -> None:
    """Measure the CPU, and the GPU if there is one."""
    cores = len(os.sched_getaffinity(0))
    for device in ("cpu", *(["cuda"] if torch.cuda.is_available() else [])):
        where = f"{cores} cores" if device == "cpu" else torch.cuda.get_device_name()
        what = f"{vectors:,} vectors, slices of {features} features and {codes} codes"
        say(f"{where}: {what}, the fastest of {rounds} rounds\n")
        found = [
            measure(
                Size(slices=int(count), vectors=vectors, features=features, codebook_size=codes), device, rounds, cores
            )
            for count in slices.split(",")
        ]
        table(found)
        say(f"codes that differ between ways: at most {max(each.different for each in found):.2g}\n")


if __name__ == "__main__":
    main()
