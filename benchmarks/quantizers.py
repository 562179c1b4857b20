"""`python -m benchmarks.quantizers`: forward and backward of DVQ against other ways to write it, side by side.

Each way gets the same latents [batch, slices * d, side, side], codebooks [slices, K, d] and incoming gradient, and
returns the gradients of both; commitment weight 1, codes learn by gradient.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor
from vector_quantize_pytorch import VectorQuantize  # type: ignore[import-untyped]

from benchmarks.static_prior.tables import say, show, spread
from dvq_ray.execution.machine import usable_cores
from dvq_ray.quantizer.module import Quantized
from dvq_ray.quantizers.dvq import Dvq

OURS, LOOP, LIBRARY, COMPILED = "dvq_ray", "loop over slices", "vector-quantize-pytorch", "dvq_ray, compiled"
PRODUCT, COPY = "large product", "large copy"
"""What the limits come from; measured in turn with the ways, so that all see the same machine."""
SPEEDUP, MEMORY_SHARE = {"cpu": 2.0, "cuda": 3.0}, 0.5
"""Wanted against the library: at least so many times as fast, with at most that share of its memory."""

T = TypeVar("T")
Step = Callable[[], tuple[Tensor, Tensor, Tensor, Tensor]]
"""Indices [batch, slices, positions], quantized latents, and gradients of latents and codes."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    slices: int
    codes: int
    slice_dim: int
    side: int = 8
    batch: int
    channels_last: bool = False

    def __str__(self) -> str:
        layout = ", channels last" if self.channels_last else ""
        return f"{self.slices}, {self.codes}, {self.slice_dim}, {self.batch}{layout}"

    @property
    def products(self) -> int:
        """Multiply-adds of the distances, which no way gets around."""
        return self.numbers * self.codes

    @property
    def numbers(self) -> int:
        """In the latents."""
        return self.batch * self.side**2 * self.slices * self.slice_dim

    @property
    def bytes_moved(self) -> int:
        """Latents read and codes written; then both, and the incoming gradient, read and a gradient written."""
        return 4 * (6 * self.numbers + 3 * self.slices * self.codes * self.slice_dim)


SHAPES = (
    Shape(slices=10, codes=512, slice_dim=255, batch=128),
    Shape(slices=10, codes=512, slice_dim=255, batch=128, channels_last=True),
    Shape(slices=1, codes=512, slice_dim=255, batch=128),
    Shape(slices=4, codes=64, slice_dim=16, batch=64),
    Shape(slices=1, codes=64, slice_dim=16, batch=64),
)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--quick", is_flag=True, help="Small shapes and few rounds, to see that everything works.")
@click.option(
    "--cores", "counts", multiple=True, type=int, help="Of the CPU; by default one, and all. Can be repeated."
)
def main(quick: bool, counts: Sequence[int]) -> None:
    """Print tables of time and of peak memory, on the CPU and on a GPU where there is one."""
    # Threads that spin while they wait would measure what else runs on the cores; read as a process loads torch.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    rounds, shapes = (2, SHAPES[3:]) if quick else (9, SHAPES)
    for device, cores in _places(counts):
        where = torch.cuda.get_device_name() if device == "cuda" else f"{cores} of {usable_cores()} cores"
        ways = (OURS, LOOP, LIBRARY, *[COMPILED] * (device == "cuda"))
        say(
            f"\n{where}, load {os.getloadavg()[0]:.1f}, torch {torch.__version__}: forward and backward, {rounds} "
            "rounds in which the ways take turns, min / median / max of the milliseconds\n"
            "limits: the distances' multiply-adds at the rate of torch's product of two large matrices, and each "
            "tensor moved once at the rate of a large copy, both taking turns with the ways"
        )
        times = {shape: _in_a_process(measure_times, shape, device, cores, ways, rounds) for shape in shapes}
        _show_times(times, ways, device)
        peaks = {
            shape: {way: _in_a_process(_peak_bytes, shape, device, cores, way) for way in ways} for shape in shapes
        }
        _show_peaks(peaks, ways)
        for shape in shapes[:1]:
            speedup = min(times[shape][LIBRARY]) / min(times[shape][OURS])
            share = peaks[shape][OURS] / peaks[shape][LIBRARY]
            say(
                f"{shape}: {speedup:.1f} times as fast as the library (wanted: {SPEEDUP[device]:g}), "
                f"{share:.2f} of its memory (wanted: {MEMORY_SHARE:g})"
            )


def _show_times(times: dict[Shape, dict[str, list[float]]], ways: Sequence[str], device: str) -> None:
    size, copied = _limit_sizes(device)
    rows = []
    for shape, found in times.items():
        best = {way: min(milliseconds) for way, milliseconds in found.items()}
        product = best[PRODUCT] * shape.products / size**3
        traffic = best[COPY] * shape.bytes_moved / (2 * 4 * copied)
        rows.append(
            (
                str(shape),
                *(spread(found[way], ".3g") for way in ways),
                *(f"{best[way] / best[OURS]:.1f}" for way in ways[1:]),
                f"{product:.3g}",
                f"{traffic:.3g}",
                f"{100 * max(product, traffic) / best[OURS]:.0f} %",
            )
        )
    over = ("loop/ours", "library/ours", *["compiled/ours"] * (len(ways) > 3))
    show(("L, K, d, batch", *ways, *over, "products", "traffic", "reached"), rows)


def _show_peaks(peaks: dict[Shape, dict[str, int]], ways: Sequence[str]) -> None:
    say("\npeak memory beyond latents, codebooks and incoming gradient, MB")
    rows = [
        (str(shape), *(f"{found[way] / 1e6:.1f}" for way in ways), f"{found[OURS] / found[LIBRARY]:.2f}")
        for shape, found in peaks.items()
    ]
    show(("L, K, d, batch", *ways, "share of the library's"), rows)


def _places(counts: Sequence[int]) -> Iterator[tuple[str, int]]:
    """Devices and numbers of cores to measure on."""
    if torch.cuda.is_available():
        yield "cuda", usable_cores()
    yield from (("cpu", cores) for cores in counts or sorted({1, usable_cores()}))


def _in_a_process(run: Callable[..., T], *arguments: object) -> T:
    """Runs it alone in a new process, because torch keeps threads and memory."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(run, arguments)


def _settle(device: str, cores: int) -> None:
    torch.set_num_threads(cores)
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    torch.backends.cuda.matmul.allow_tf32 = False


def measure_times(shape: Shape, device: str, cores: int, ways: Sequence[str], rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each round of each way, and of what the limits come from."""
    _settle(device, cores)
    steps = {way: _make(way, shape, device) for way in ways}
    expected = steps[LIBRARY]()
    for way in ways:
        _agree(steps[way](), expected, way)
    size, copied = _limit_sizes(device)
    a, b = torch.rand(2, size, size, device=device)
    c, d = torch.rand(2, copied, device=device)
    timed: dict[str, Callable[[], object]] = {**steps, PRODUCT: lambda: a @ b, COPY: lambda: d.copy_(c)}
    repeats = {way: max(1, int(0.05 / _seconds(step, device, 1))) for way, step in timed.items()}
    found: dict[str, list[float]] = {way: [] for way in timed}
    for _, way in itertools.product(range(rounds), timed):
        found[way].append(1e3 * _seconds(timed[way], device, repeats[way]))
    return found


def _peak_bytes(shape: Shape, device: str, cores: int, way: str) -> int:
    """Most memory held during the first step, less what was held before it."""
    _settle(device, cores)
    small = Shape(slices=shape.slices, codes=4, slice_dim=2, side=2, batch=2, channels_last=shape.channels_last)
    _make(way, small, device)()  # loads the libraries
    step = _make(way, shape, device)
    if device == "cuda":
        if way == COMPILED:
            step()
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step()
        return torch.cuda.max_memory_allocated() - before
    Path("/proc/self/clear_refs").write_text("5")  # sets the high-water mark to what is resident now
    before = _resident("VmRSS")
    step()
    return _resident("VmHWM") - before


def _resident(name: str) -> int:
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return 1024 * int(line.split()[1])


def _limit_sizes(device: str) -> tuple[int, int]:
    """Rows and columns of the matrices of the large product, and numbers in the large copy."""
    return (8192, 1 << 28) if device == "cuda" else (2048, 1 << 25)


def _seconds(run: Callable[[], object], device: str, repeats: int) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    started = time.perf_counter()
    for _ in range(repeats):
        run()
    if device == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - started) / repeats


def _agree(found: Sequence[Tensor], expected: Sequence[Tensor], way: str) -> None:
    """Fails where a way computes something else; a vector between two codes may go to either."""
    (indices, *tensors), (other, *others) = found, expected
    assert (indices == other).double().mean() > 1 - 1e-4, way
    for mine, theirs in zip(tensors, others, strict=True):
        assert (mine - theirs).norm() < 0.02 * theirs.norm(), way


def _make(way: str, shape: Shape, device: str) -> Step:
    random = torch.Generator().manual_seed(0)
    layout = torch.channels_last if shape.channels_last else torch.contiguous_format
    size = (shape.batch, shape.slices * shape.slice_dim, shape.side, shape.side)
    latents, incoming = (
        torch.randn(size, generator=random).to(device).contiguous(memory_format=layout) for _ in range(2)
    )
    latents.requires_grad_()
    quantizer: Any = (
        Dvq(quantizer="dvq", codebook_size=shape.codes, slices=shape.slices).build(size[1], random).to(device)
    )
    codes = quantizer.codebooks.codes
    if way == LIBRARY:
        return _library(latents, incoming, codes.detach())
    if way == LOOP:
        return lambda: _loop(latents, incoming, codes)
    quantize: Callable[[Tensor], Quantized] = torch.compile(quantizer, fullgraph=True) if way == COMPILED else quantizer

    def step() -> tuple[Tensor, Tensor, Tensor, Tensor]:
        found = quantize(latents)
        loss = found.codebook_loss + found.commitment_loss
        return found.indices, found.latents.detach(), *_gradients(latents, codes, found.latents, incoming, loss)

    return step


def _library(latents: Tensor, incoming: Tensor, codes: Tensor) -> Step:
    slices, size, slice_dim = codes.shape
    other = VectorQuantize(
        dim=slices * slice_dim,
        codebook_size=size,
        codebook_dim=slice_dim,
        heads=slices,
        separate_codebook_per_head=True,
        ema_update=False,
        learnable_codebook=True,
        threshold_ema_dead_code=0,
        rotation_trick=False,
        commitment_weight=slices,
        accept_image_fmap=True,
    ).to(codes.device)
    parameter = other._codebook.embed
    parameter.data.copy_(codes)

    def step() -> tuple[Tensor, Tensor, Tensor, Tensor]:
        quantized, indices, loss = other(latents)
        found = _gradients(latents, parameter, quantized, incoming, loss.squeeze())
        return indices.flatten(1, 2).view(len(latents), -1, slices).mT, quantized.detach(), *found

    return step


def _loop(latents: Tensor, incoming: Tensor, codes: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """A slice after the other, each as one writes VQ-VAE by hand, without a one-hot matrix."""
    parts, indices, loss = [], [], latents.new_zeros(())
    for part, codebook in zip(latents.chunk(len(codes), dim=1), codes, strict=True):
        vectors = part.permute(0, 2, 3, 1)
        rows = vectors.reshape(-1, vectors.shape[-1])
        with torch.no_grad():
            distances = rows.square().sum(1, keepdim=True) - 2 * rows @ codebook.T + codebook.square().sum(1)
            index = distances.argmin(1)
        found = F.embedding(index, codebook).view(vectors.shape)
        loss = loss + F.mse_loss(found, vectors.detach()) + F.mse_loss(vectors, found.detach())
        parts.append((vectors + (found - vectors).detach()).permute(0, 3, 1, 2))
        indices.append(index.view(len(latents), -1))
    quantized = torch.cat(parts, dim=1)
    return torch.stack(indices, 1), quantized.detach(), *_gradients(latents, codes, quantized, incoming, loss)


def _gradients(
    latents: Tensor, codes: Tensor, quantized: Tensor, incoming: Tensor, loss: Tensor
) -> tuple[Tensor, Tensor]:
    of_latents, of_codes = torch.autograd.grad((quantized, loss), (latents, codes), (incoming, torch.ones_like(loss)))
    return of_latents, of_codes


if __name__ == "__main__":
    main()
