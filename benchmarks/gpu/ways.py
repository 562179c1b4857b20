"""Ways to compute a training step: compiled or eager, aligned or not, in several precisions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from dvq_ray.experiments.learned_prior.device import Device
from dvq_ray.experiments.learned_prior.settings import Precision


@dataclass(frozen=True, kw_only=True)
class Way(Device):
    """A way to compute a training step."""

    numbers: str = "bfloat16"
    """`bfloat16`, `tf32` or `float32`: of the convolutions; in `tf32` the distances are in TF32 too."""
    compiled: bool = True
    aligned: bool = True

    @property
    def precision(self) -> Precision:
        """Of the convolutions; TF32 is kept in float32."""
        return "bfloat16" if self.numbers == "bfloat16" else "float32"

    @property
    def warms_up(self) -> bool:
        """Always."""
        return True

    @property
    def aligns_widths(self) -> bool:
        """As it says."""
        return self.aligned

    def compiles(self, steps: int) -> bool:
        """As it says."""
        return self.compiled

    @contextmanager
    def prepared(self) -> Iterator[None]:
        """As for any training; TF32 is on or off."""
        before = torch.backends.cudnn.allow_tf32
        with super().prepared():
            torch.backends.cudnn.allow_tf32 = self.numbers == "tf32"
            torch.set_float32_matmul_precision("high" if self.numbers == "tf32" else "highest")
            try:
                yield
            finally:
                torch.backends.cudnn.allow_tf32 = before
                torch.set_float32_matmul_precision("highest")


def kind() -> str:
    """The device that is measured."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def ways() -> dict[str, Way]:
    """By name, the most telling first."""
    of = kind()
    return {
        "bfloat16, aligned, compiled": Way(kind=of),
        "bfloat16, compiled": Way(kind=of, aligned=False),
        "bfloat16, aligned, eager": Way(kind=of, compiled=False),
        "bfloat16, eager": Way(kind=of, aligned=False, compiled=False),
        "TF32, aligned, compiled": Way(kind=of, numbers="tf32"),
        "float32, aligned, compiled": Way(kind=of, numbers="float32"),
    }
