"""The contract suite finds faults that are planted into copies of a quantizer."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from dvq_ray.fitting.codecs.codebooks import CodebookCodec
from dvq_ray.quantizer.base import Codec, Codes, Vectors
from dvq_ray.quantizer.module import Quantized, QuantizerModule
from dvq_ray.quantizer.projected_module import ProjectedModule
from dvq_ray.quantizers.fsq import Fsq
from dvq_ray.quantizers.kmeans import KMeans
from dvq_ray.testing import QuantizerContract


class SoundKMeans(KMeans):
    """A copy without a fault."""

    codec: ClassVar[type[CodebookCodec]] = CodebookCodec

    def fit(self, vectors: Vectors, rng: np.random.Generator) -> Codec:
        found = super().fit(vectors, rng)
        assert isinstance(found, CodebookCodec)
        return self.codec(found.codebooks)


class ResidualLeaks(CodebookCodec):
    """Remembers what its codes left over, and adds half of it."""

    rest: Vectors | None = None

    def encode(self, vectors: Vectors) -> Codes:
        codes = super().encode(vectors)
        self.rest = vectors - super().decode(codes)
        return codes

    def decode(self, codes: Codes) -> Vectors:
        decoded = super().decode(codes)
        leaks = self.rest is not None and len(self.rest) == len(codes)
        return decoded + self.rest / np.float32(2) if leaks and self.rest is not None else decoded

    def evaluate(self, vectors: Vectors, sizes: tuple[int, ...]) -> tuple[float, list[npt.NDArray[np.int64]]]:
        return Codec.evaluate(self, vectors, sizes)


class LeakyKMeans(SoundKMeans):
    codec: ClassVar[type[CodebookCodec]] = ResidualLeaks


class CountsTwice(CodebookCodec):
    """Counts each code twice."""

    def evaluate(self, vectors: Vectors, sizes: tuple[int, ...]) -> tuple[float, list[npt.NDArray[np.int64]]]:
        error, counts = super().evaluate(vectors, sizes)
        return error, [2 * count for count in counts]


class TwiceCountedKMeans(SoundKMeans):
    codec: ClassVar[type[CodebookCodec]] = CountsTwice


class TwicePaidKMeans(SoundKMeans):
    """Its bits are those of twice as many codebooks."""

    def bits(self, vectors: int = 1) -> float:
        return 2 * super().bits(vectors)


class SoundFsq(Fsq):
    """A copy without a fault."""

    def build(self, features: int, generator: torch.Generator) -> QuantizerModule:
        module = super().build(features, generator)
        assert isinstance(module, ProjectedModule)
        module.forward = lambda latents: self.changed(ProjectedModule.forward(module, latents), latents)  # type: ignore[method-assign]
        return module

    def changed(self, quantized: Quantized, latents: Tensor) -> Quantized:
        return quantized


def _but(quantized: Quantized, **changes: Any) -> Quantized:
    return Quantized(**{**vars(quantized), **changes})


class NoGradientFsq(SoundFsq):
    """The decoder's gradient ends at the codes."""

    def changed(self, quantized: Quantized, latents: Tensor) -> Quantized:
        return _but(quantized, latents=quantized.latents.detach().requires_grad_() + 0 * latents.detach())


class PullingFsq(SoundFsq):
    """Its codebook loss moves the latents too."""

    def changed(self, quantized: Quantized, latents: Tensor) -> Quantized:
        return _but(quantized, codebook_loss=quantized.codebook_loss + quantized.commitment_loss)


class LeakyFsq(SoundFsq):
    """A part of the latents passes beside the codes."""

    def changed(self, quantized: Quantized, latents: Tensor) -> Quantized:
        return _but(quantized, latents=quantized.latents + 0.1 * (latents - quantized.latents))


KMEANS: Mapping[str, Any] = {"codebook_size": 16, "slices": 2}
FSQ: Mapping[str, Any] = {"levels": "8x8x8x8"}


def failures(name: str, fields: Mapping[str, Any], *, finds_nearest: bool) -> set[str]:
    """Tests of the contract that the quantizer fails."""
    made = {"quantizer": f"{__name__}:{name}", "fields": fields, "finds_nearest": finds_nearest}
    suite = type("Suite", (QuantizerContract,), made)()
    found = set()
    for test, run in inspect.getmembers(suite, inspect.ismethod):
        if test.startswith("test_"):
            try:
                run()
            except (AssertionError, RuntimeError):
                found.add(test)
    return found


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "test"),
    [
        ("SoundKMeans", ""),
        ("LeakyKMeans", "test_a_decoded_vector_follows_from_its_code_alone"),
        ("TwiceCountedKMeans", "test_codes_are_within_their_codebooks_and_every_vector_has_one_in_each"),
        ("TwicePaidKMeans", "test_its_rate_is_that_of_its_codebooks"),
        ("SoundFsq", ""),
        ("NoGradientFsq", "test_gradients_reach_the_codes_and_go_straight_through_to_the_latents"),
        ("PullingFsq", "test_gradients_reach_the_codes_and_go_straight_through_to_the_latents"),
        ("LeakyFsq", "test_a_module_gives_codes_and_decodes_them_to_its_latents"),
    ],
)
def test_the_contract_suite_finds_the_fault(name: str, test: str) -> None:
    found = failures(name, FSQ if "Fsq" in name else KMEANS, finds_nearest="KMeans" in name)
    assert (test in found) if test else not found, found
