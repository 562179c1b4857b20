"""Quantizers of vector-quantize-pytorch, against the library used by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from vector_quantize_pytorch import FSQ, VectorQuantize  # type: ignore[import-untyped]

from dvq_ray.problems import SweepFileError
from dvq_ray.quantizer.library_module import LibraryModule
from dvq_ray.quantizers import vector_quantize_pytorch as adapter
from dvq_ray.quantizers.vector_quantize_pytorch import VectorQuantizePytorch
from dvq_ray.sweep.spec import load_sweep
from tests.sweep_files import write

torch.set_num_threads(1)


def settings(library_call: str) -> VectorQuantizePytorch:
    return VectorQuantizePytorch(quantizer="vector_quantize_pytorch", library_call=library_call)


def built(library_call: str, features: int) -> LibraryModule:
    module = settings(library_call).build(features, torch.Generator().manual_seed(0))
    assert isinstance(module, LibraryModule)
    return module


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_moving_averages_end_where_those_of_the_library_do() -> None:
    ours = built("VectorQuantize(codebook_size=16, decay=0.9, threshold_ema_dead_code=0)", 6)
    theirs = VectorQuantize(dim=6, codebook_size=16, decay=0.9, threshold_ema_dead_code=0)
    theirs.load_state_dict(ours.inner.state_dict())
    for step in range(20):
        latents = random(64, 6, seed=step)
        quantized = ours(latents)
        codes, indices, _ = theirs(latents.unsqueeze(1))
        torch.testing.assert_close(quantized.latents, codes.squeeze(1))
        assert (quantized.indices[:, 0] == indices).all()
        ours.update(latents, quantized, torch.Generator().manual_seed(step))
    codebooks: Any = ours.inner
    torch.testing.assert_close(codebooks._codebook.embed, theirs._codebook.embed)


def test_looking_at_vectors_changes_no_moving_average() -> None:
    ours = built("ResidualVQ(num_quantizers=2, codebook_size=16)", 6)
    before = {name: tensor.clone() for name, tensor in ours.state_dict().items()}
    for _ in range(3):
        ours(random(64, 6))
    assert all((tensor == before[name]).all() for name, tensor in ours.state_dict().items())


def test_maps_of_fsq_get_the_gradient_that_the_library_gives_them() -> None:
    ours = built("FSQ(levels=[5, 5])", 6)
    theirs = FSQ(levels=[5, 5], dim=6)
    theirs.load_state_dict(ours.inner.state_dict())
    latents = random(64, 6)
    ours(latents).codebook_loss.backward()
    (theirs(latents.unsqueeze(1))[0].squeeze(1) - latents).square().mean().backward()
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, other.grad)


@pytest.mark.parametrize(
    ("library_call", "sizes"),
    [
        ("VectorQuantize(codebook_size=16)", [16]),
        ("VectorQuantize(codebook_size=16, heads=2)", [16, 16]),
        ("ResidualVQ(num_quantizers=3, codebook_size=16)", [16] * 3),
        ("ResidualVQ(num_quantizers=2, codebook_size=(16, 8))", [16, 8]),
        ("GroupedResidualVQ(num_quantizers=3, groups=2, codebook_size=16)", [16] * 6),
        ("FSQ(levels=[8, 6, 5])", [240]),
        ("FSQ(levels=[5, 5], num_codebooks=2)", [25, 25]),
        ("LFQ(codebook_size=64, num_codebooks=2)", [64, 64]),
        ("ResidualLFQ(num_quantizers=2, codebook_size=64)", [64, 64]),
        ("SimVQ(codebook_size=16)", [16]),
    ],
)
def test_codes_cost_what_the_arguments_say(library_call: str, sizes: list[int]) -> None:
    assert list(settings(library_call).codebook_sizes()) == sizes
    indices = built(library_call, 8)(random(500, 8)).indices
    assert indices.shape == (500, len(sizes), 1)
    assert all(column.max() < size for column, size in zip(indices.unbind(1), sizes, strict=True))


@pytest.mark.parametrize(
    ("library_call", "message"),
    [
        (
            "VectorQuantise(codebook_size=16)",
            "can be used (did you mean VectorQuantize?); allowed: ",
        ),
        ("VectorQuantize(codebok_size=16)", "has the argument codebok_size (did you mean codebook_size?); allowed: "),
        ("VectorQuantize(decay=0.9)", "lacks the argument codebook_size"),
        ("VectorQuantize(codebook_size=16, dim=8)", "has the argument dim"),
        ("ResidualVQ(num_quantizers=2, codebook_size=16, quantize_dropout=True)", "has the argument quantize_dropout"),
        ("VectorQuantize(codebook_size=0)", "makes codebooks of the sizes [0]"),
        ("VectorQuantize(16)", "it has arguments without a name; allowed: such as ResidualVQ("),
        ("VectorQuantize(codebook_size=", "cannot be read: "),
        ("VectorQuantize(codebook_size=open('x'))", "cannot be read: "),
        ("FSQ(levels=[2, 2])", "is refused by the library for 8 features: turn on `preserve_symmetry`"),
        ("GroupedResidualVQ(groups=3, num_quantizers=2, codebook_size=4)", "is refused by the library for 8 features"),
    ],
)
def test_what_the_library_refuses_is_an_error_before_anything_starts(
    tmp_path: Path, library_call: str, message: str
) -> None:
    grid = f"{{quantizer: vector_quantize_pytorch, dimension: 8, factors: 16, library_call: {library_call!r}}}"
    with pytest.raises(SweepFileError) as raised:
        load_sweep(write(tmp_path, f"name: x\ntrainable: static_prior\nseeds: 1\ngrids: {{a: {grid}}}\n"))
    assert message in str(raised.value)
    assert len(raised.value.problems) == 1


def test_without_the_library_the_sweep_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "find_spec", lambda name: None)
    grid = "{quantizer: vector_quantize_pytorch, dimension: 8, factors: 16, library_call: SimVQ(codebook_size=16)}"
    with pytest.raises(SweepFileError, match="pip install vector-quantize-pytorch"):
        load_sweep(write(tmp_path, f"name: x\ntrainable: static_prior\nseeds: 1\ngrids: {{a: {grid}}}\n"))
