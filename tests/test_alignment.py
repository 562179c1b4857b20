"""Zeros added to widths for a GPU's sake, tried on a CPU."""

from __future__ import annotations

import doctest

import pytest
import torch
from torch._subclasses import FakeTensorMode

from dvq_ray.quantizer import alignment, nearest
from dvq_ray.quantizer.alignment import aligned_width, widened
from dvq_ray.quantizer.nearest import nearest_codes
from dvq_ray.quantizers.dvq import Dvq


def test_the_documented_widths_are_those_that_are_computed() -> None:
    failed, tried = doctest.testmod(alignment)
    assert (failed, tried) == (0, 1)


def test_an_aligned_width_is_a_multiple_of_eight_or_would_cost_an_eighth_more() -> None:
    for width in range(1, 3000):
        aligned = aligned_width(width)
        assert width <= aligned <= width * 9 / 8
        next_multiple = -(-width // 8) * 8
        assert aligned % 8 == 0 or (aligned == width and next_multiple > width * 9 / 8)


@pytest.mark.parametrize("dimension", [0, 1, 2, -1])
def test_what_is_widened_has_zeros_behind_it_and_keeps_its_layout(dimension: int) -> None:
    tensor = torch.ones(2, 3, 4, 5).contiguous(memory_format=torch.channels_last)
    wide = widened(tensor, dimension, 7)
    assert wide.narrow(dimension, 0, tensor.shape[dimension]).equal(tensor)
    assert wide.sum() == tensor.sum()
    assert wide.shape[dimension] == 7
    assert wide.is_contiguous(memory_format=torch.channels_last)
    assert widened(tensor, dimension, tensor.shape[dimension]) is tensor


@pytest.fixture
def like_gpu(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Products are aligned on the CPU too; gives the widths that they were asked for."""
    asked: list[int] = []

    def asks(tensor: torch.Tensor) -> bool:
        asked.append(tensor.shape[-1])
        return True

    monkeypatch.setattr(nearest, "_multiplies_in_tiles", asks)
    return asked


@pytest.mark.parametrize("features", [255, 30, 3])
def test_aligned_products_find_the_same_codes(features: int, like_gpu: list[int]) -> None:
    random = torch.Generator().manual_seed(0)
    vectors, codebooks = (torch.randn(2, n, features, generator=random, dtype=torch.float64) for n in (200, 50))
    assert torch.equal(nearest_codes(vectors, codebooks), torch.cdist(vectors, codebooks).argmin(-1))
    assert like_gpu == [features, features]


def test_a_quantizer_with_aligned_products_has_the_same_results_and_gradients(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = Dvq(quantizer="dvq", codebook_size=20, slices=2).build(60, torch.Generator().manual_seed(0)).double()
    latents = torch.randn(4, 60, 3, 3, dtype=torch.float64, requires_grad=True)
    found = []
    for aligns in (True, False):
        monkeypatch.setattr(nearest, "_multiplies_in_tiles", lambda tensor, aligns=aligns: aligns)
        quantized = module(latents)
        loss = quantized.latents.square().sum() + quantized.codebook_loss + quantized.commitment_loss
        gradients = torch.autograd.grad(loss, (latents, *module.parameters()))
        found.append([quantized.indices, quantized.latents, *gradients])
    for aligned, plain in zip(*found, strict=True):
        torch.testing.assert_close(aligned, plain, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_products_are_aligned_on_a_gpu_alone(device: str) -> None:
    with FakeTensorMode():
        aligned = nearest._aligned(torch.empty(2, 5, 255, device=device))
    assert aligned.shape == (2, 5, 256 if device == "cuda" else 255)
