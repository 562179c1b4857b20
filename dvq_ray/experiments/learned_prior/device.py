"""Where a training runs, and what follows from it: precision, memory layout, where images lie, how much memory is held.

None of this is part of a cell's identity but the precision on a CPU, which is a field of its settings: otherwise a CPU
gives the same bytes, and a GPU what agrees with them within a tolerance.
"""

from __future__ import annotations

import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import torch
from torch import Tensor

from dvq_ray.experiments.learned_prior.images import Images, load_images
from dvq_ray.experiments.learned_prior.settings import Precision
from dvq_ray.experiments.learned_prior.sources import ImageSource
from dvq_ray.fitting.codecs.modules import one_thread

RESIDENT_SHARE = 0.4
"""Of a trial's GPU memory that images may take; larger sets stay in the computer's memory and travel batch by batch."""
LONG_ENOUGH_TO_COMPILE = 2000
"""Steps from which on compiling the step for a GPU, some tens of seconds, pays."""


def multiplies_bfloat16() -> bool:
    """Whether this processor has instructions for products of bfloat16; without them it is slower than float32."""
    names = ("avx512_bf16", "amx_bf16", "arm_bf16", "bf16")
    return any(torch.cpu.get_capabilities().get(name) for name in names)


@dataclass(frozen=True)
class Device:
    """A CPU, or a trial's part of a GPU."""

    kind: str
    """`cpu` or `cuda`."""
    share: float = 1.0
    """Part of the GPU's memory that may be used."""
    cpu_precision: Precision = "float32"
    """Of the convolutions on a CPU."""

    @property
    def on_gpu(self) -> bool:
        """Whether it is one."""
        return self.kind != "cpu"

    @property
    def precision(self) -> str:
        """Of the convolutions. Quantizers and likelihoods compute in float32 everywhere."""
        return "bfloat16" if self.on_gpu else self.cpu_precision

    @property
    def warms_up(self) -> bool:
        """Whether the first step takes far longer than others: it chooses algorithms, and may be compiled."""
        return self.on_gpu

    @property
    def aligns_widths(self) -> bool:
        """Whether convolutions are faster with zeros added to channels whose number is odd."""
        return self.on_gpu

    def compiles(self, steps: int) -> bool:
        """Whether compiling a training of so many steps pays."""
        return self.on_gpu and steps >= LONG_ENOUGH_TO_COMPILE

    def autocast(self) -> torch.autocast:
        """The precision, as a context."""
        return torch.autocast(self.kind, dtype=torch.bfloat16, enabled=self.precision == "bfloat16")

    @contextmanager
    def prepared(self) -> Iterator[None]:
        """For the length of a training: one thread on a CPU, the trial's part of the memory on a GPU.

        With one thread a cell gives the same bytes whatever a trial was given; cores are for cells side by side.
        """
        if self.on_gpu:
            torch.cuda.set_per_process_memory_fraction(min(self.share, 1.0))
            torch.backends.cudnn.benchmark = True
            torch.set_float32_matmul_precision("highest")
            try:
                yield
            finally:
                torch.cuda.empty_cache()  # a neighbour on the same GPU may want it
            return
        with one_thread("cpu"):
            yield

    def wait(self) -> None:
        """Until all that was asked of the device is done, so that a clock can be read."""
        if self.on_gpu:
            torch.cuda.synchronize()

    def start_counting_memory(self) -> None:
        """Forgets the most memory that was held so far."""
        if self.on_gpu:
            torch.cuda.reset_peak_memory_stats()
        elif sys.platform == "linux":
            with suppress(OSError):
                Path("/proc/self/clear_refs").write_text("5")

    def peak_memory_bytes(self) -> int:
        """Most memory held since then: tensors on a GPU, all of the process on a CPU."""
        if self.on_gpu:
            return torch.cuda.max_memory_allocated()
        if sys.platform == "linux":
            for line in Path("/proc/self/status").read_text().splitlines():
                if line.startswith("VmHWM"):
                    return int(line.split()[1]) * 1024
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024

    def room_for_images(self) -> float:
        """Bytes of images that may lie on the device."""
        if not self.on_gpu:
            return float("inf")
        return RESIDENT_SHARE * self.share * torch.cuda.get_device_properties(0).total_memory


@dataclass(frozen=True)
class ImageSet:
    """Images `[n, 3, height, width]` uint8, on the device where they fit."""

    pixels: Tensor
    device: Device

    def __len__(self) -> int:
        return len(self.pixels)

    def rows(self, rows: Tensor) -> Tensor:
        """The images of these rows, on the device and channels-last. `rows` is int64 on the CPU."""
        if self.pixels.device.type == self.device.kind:
            found = self.pixels[rows.to(self.device.kind, non_blocking=True)]
        else:
            found = self.pixels[rows].pin_memory().to(self.device.kind, non_blocking=True)
        return found.contiguous(memory_format=torch.channels_last)


@dataclass(frozen=True)
class DataSet:
    """A data set as a training takes it."""

    images: Images
    device: Device

    @cached_property
    def train(self) -> ImageSet:
        """Training images."""
        return self._placed(torch.from_numpy(self.images.train))

    @cached_property
    def test(self) -> ImageSet:
        """Test images."""
        return self._placed(torch.from_numpy(self.images.test))

    def _placed(self, pixels: Tensor) -> ImageSet:
        total = self.images.train.nbytes + self.images.test.nbytes
        fits = total <= self.device.room_for_images()
        return ImageSet(pixels.to(self.device.kind) if fits else pixels, self.device)


@lru_cache(maxsize=1)  # the cells that a worker takes up one after the other mostly read the same
def data_set(source: ImageSource, image_size: int, device: Device) -> DataSet:
    """The images of `source`, decoded once and moved to the device once."""
    return DataSet(load_images(source, image_size), device)
