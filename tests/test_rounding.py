"""Quantizers that round, codebooks of one matrix and the rotation trick, against closed forms and a library."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from vector_quantize_pytorch import FSQ, LFQ, SimVQ  # type: ignore[import-untyped]
from vector_quantize_pytorch.vector_quantize_pytorch import rotate_to  # type: ignore[import-untyped]

from dvq_ray.experiment.registry import find_experiment
from dvq_ray.quantizer.codebooks import Learning
from dvq_ray.quantizer.projected_module import ProjectedModule
from dvq_ray.quantizer.registry import QUANTIZERS
from dvq_ray.quantizer.rotation import turned
from dvq_ray.quantizer.roundings import Levels, Signs
from dvq_ray.quantizers.dvq import Dvq
from dvq_ray.sweep.cells import Point

torch.set_num_threads(1)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def built(features: int, **fields: Any) -> Any:
    settings = QUANTIZERS.find(fields["quantizer"]).value.model_validate(fields)
    return settings.build(features, torch.Generator().manual_seed(0))


@pytest.mark.parametrize("levels", [(8, 6, 5), (4, 4, 4, 4), (7, 3, 16)])
def test_fsq_rounds_as_the_library_does_and_passes_the_same_gradient(levels: tuple[int, ...]) -> None:
    channels = (3 * random(2, 40, len(levels))).requires_grad_()
    other = FSQ(levels=list(levels))
    expected, joint = other(channels)
    values, _ = Levels(levels)(channels)
    torch.testing.assert_close(values, expected)
    incoming = random(2, 40, len(levels), seed=1)
    torch.testing.assert_close(
        torch.autograd.grad(values, channels, incoming)[0], torch.autograd.grad(expected, channels, incoming)[0]
    )
    assert (Levels(levels).indices(values) == other.indices_to_level_indices(joint)).all()


@pytest.mark.parametrize("count", [3, 4, 5, 8, 256])
def test_levels_are_evenly_spaced_and_all_of_them_are_reached(count: int) -> None:
    rounding = Levels((count,))
    values, _ = rounding(torch.linspace(-9, 9, 200_001).view(1, -1, 1))
    reached = values.unique()
    assert len(reached) == count
    step = 1 / (count // 2)
    torch.testing.assert_close(reached, torch.arange(count) * step - 1)
    torch.testing.assert_close(rounding.values(torch.arange(count).view(1, -1, 1)).flatten(), reached)
    assert (rounding.indices(reached.view(1, -1, 1)).flatten() == torch.arange(count)).all()


@pytest.mark.parametrize("sphere", [False, True])
def test_signs_and_the_entropy_of_each_vector_are_those_of_the_library(sphere: bool) -> None:
    bits = 5
    channels = 0.02 * random(2, 40, bits)
    other = LFQ(codebook_size=2**bits, spherical=sphere, entropy_loss_weight=1.0, diversity_gamma=0.0)
    (expected, joint, _), breakdown = other(channels, return_loss_breakdown=True)
    rounding = Signs(sphere=sphere, entropy_weight=1.0)
    values, penalty = rounding(channels)
    torch.testing.assert_close(values, expected)
    weights = 2 ** torch.arange(bits - 1, -1, -1)
    assert ((rounding.indices(values) * weights).sum(-1) == joint).all()
    placed = torch.nn.functional.normalize(channels, dim=-1) if sphere else channels
    mean = (400 * (bits**-0.5 if sphere else 1.0) * placed).sigmoid().flatten(0, 1).mean(0)
    of_mean = -(mean * mean.log() + (1 - mean) * (1 - mean).log()).sum()
    torch.testing.assert_close(penalty + of_mean, breakdown.per_sample_entropy, rtol=1e-4, atol=1e-5)
    assert of_mean >= breakdown.batch_entropy - 1e-5, "the entropy of all codes together is at most that of each bit"


def test_the_penalty_of_one_bit_is_the_library_s() -> None:
    channels = 0.01 * random(1, 200, 1)
    (_, _, expected), _ = LFQ(codebook_size=2, entropy_loss_weight=0.1, diversity_gamma=1.0)(
        channels, return_loss_breakdown=True
    )
    torch.testing.assert_close(Signs(sphere=False, entropy_weight=0.1)(channels)[1], expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("sphere", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_signs_that_all_vectors_are_sure_of_get_no_gradient_from_the_penalty(
    sphere: bool, dtype: torch.dtype, sign: float
) -> None:
    channels = torch.cat([sign * (3 + random(2, 40, 1).abs()), random(2, 40, 1, seed=1)], -1).to(dtype)
    channels.requires_grad_()
    _, penalty = Signs(sphere=sphere, entropy_weight=1.0)(channels)
    gradient = torch.autograd.grad(penalty, channels)[0]
    assert penalty.isfinite()
    assert gradient.isfinite().all()
    if not sphere:  # on a sphere the other channel moves this one
        assert (gradient[..., 0] == 0).all()
    assert (gradient[..., 1] != 0).any()


def test_the_penalty_of_signs_has_the_gradient_of_its_definition() -> None:
    channels = (0.01 * random(1, 30, 3).double()).requires_grad_()
    assert torch.autograd.gradcheck(lambda each: Signs(sphere=False, entropy_weight=1.0)(each)[1], channels)
    assert torch.autograd.gradcheck(lambda each: Signs(sphere=True, entropy_weight=1.0)(each)[1], channels)


def test_codes_of_bsq_lie_on_the_sphere_and_no_direction_is_further_than_the_bound() -> None:
    bits = 8
    channels = random(1, 4000, bits)
    values, _ = Signs(sphere=True, entropy_weight=0.0)(channels)
    torch.testing.assert_close(values.norm(dim=-1), torch.ones(1, 4000))
    error = (torch.nn.functional.normalize(channels, dim=-1) - values).norm(dim=-1)
    assert error.max() < math.sqrt(2 - 2 / math.sqrt(bits)), "arXiv 2406.07548, section 3.2"


def test_maps_start_at_the_principal_components() -> None:
    latents = random(500, 2) @ random(2, 10, seed=1) + 5
    module = built(10, quantizer="fsq", levels="256x256")
    assert isinstance(module, ProjectedModule)
    module.start(latents, torch.Generator().manual_seed(0))
    variance = latents.var(0, correction=0).mean()
    assert (module(latents).latents - latents).square().mean() < 0.1 * variance
    few = built(10, quantizer="lfq", sign_bits=40)
    few.start(latents, torch.Generator().manual_seed(0))
    assert (few(latents).latents - latents).square().mean() < 0.3 * variance, "more channels than features"


@pytest.mark.parametrize("rotation", [False, True])
def test_codes_of_one_matrix_are_those_of_the_library_and_so_are_its_gradients(rotation: bool) -> None:
    ours = built(6, quantizer="simvq", codebook_size=9)
    ours.rotates_gradients = rotation
    theirs = SimVQ(dim=6, codebook_size=9, rotation_trick=rotation, channel_first=True)
    with torch.no_grad():
        theirs.frozen_codebook.copy_(ours.codebooks.fixed[0])
        ours.codebooks.matrix.copy_(theirs.code_transform.weight.T)
    latents = random(4, 6, 8).requires_grad_()
    mine, (codes, indices, loss) = ours(latents), theirs(latents)
    torch.testing.assert_close(mine.latents, codes)
    assert (mine.indices[:, 0] == indices).all()
    incoming = random(4, 6, 8, seed=1)
    own_loss = mine.codebook_loss + 0.25 * mine.commitment_loss
    own = torch.autograd.grad((mine.latents, own_loss), (latents, ours.codebooks.matrix), (incoming, torch.tensor(1.0)))
    other = torch.autograd.grad((codes, loss), (latents, theirs.code_transform.weight), (incoming, torch.tensor(1.0)))
    torch.testing.assert_close(own[0], other[0])
    if not rotation:  # in the library a decoder's gradient reaches the matrix through the rotation too
        torch.testing.assert_close(own[1][0], other[1].T)


def test_one_step_of_one_matrix_moves_every_code() -> None:
    module = built(6, quantizer="simvq", codebook_size=64)
    before = module.codebooks.codes.detach().clone()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    module(random(1, 6)).codebook_loss.backward()
    optimizer.step()
    assert ((module.codebooks.codes - before).norm(dim=-1) > 0).all()
    assert not module.updates


def test_the_rotation_trick_is_the_library_s() -> None:
    vectors, codes = random(50, 7).requires_grad_(), random(50, 7, seed=1)
    incoming = random(50, 7, seed=2)
    ours, theirs = turned(vectors, codes), rotate_to(vectors, codes)
    torch.testing.assert_close(ours, codes)
    torch.testing.assert_close(theirs, codes, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(
        torch.autograd.grad(ours, vectors, incoming)[0],
        torch.autograd.grad(theirs, vectors, incoming)[0],
        rtol=1e-4,
        atol=1e-4,
    )


def test_the_rotation_trick_keeps_angles_and_scales_lengths() -> None:
    vectors, codes = random(50, 7).requires_grad_(), 3 * random(50, 7, seed=1)
    incoming = random(50, 7, seed=2)
    (gradient,) = torch.autograd.grad(turned(vectors, codes), vectors, incoming)
    scale = codes.norm(dim=-1) / vectors.norm(dim=-1)
    torch.testing.assert_close(gradient.norm(dim=-1), scale * incoming.norm(dim=-1))
    torch.testing.assert_close((gradient * vectors).sum(-1), (incoming * codes).sum(-1), rtol=1e-4, atol=1e-4)
    same = vectors.detach()
    (through,) = torch.autograd.grad(turned(vectors, same), vectors, incoming)
    torch.testing.assert_close(through, incoming, rtol=1e-4, atol=1e-5)


def test_a_vector_of_zeros_and_one_opposite_to_its_code_have_finite_gradients() -> None:
    vectors = torch.tensor([[0.0, 0.0], [1.0, 0.0]], requires_grad=True)
    codes = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    (gradient,) = torch.autograd.grad(turned(vectors, codes).sum(), vectors)
    assert gradient.isfinite().all()


def test_the_rotation_trick_changes_gradients_of_latents_and_nothing_else() -> None:
    quantizer = Dvq(quantizer="dvq", codebook_size=9, slices=2)
    latents = random(3, 8, 5).requires_grad_()
    found = []
    for rotates in (False, True):
        learning = Learning(rotates_gradients=rotates)
        module = quantizer.build(8, torch.Generator().manual_seed(0), learning)
        quantized = module(latents)
        losses = quantized.codebook_loss + quantized.commitment_loss
        of_losses = torch.autograd.grad(losses, (latents, *module.parameters()), retain_graph=True)
        (of_codes,) = torch.autograd.grad((quantized.latents * random(3, 8, 5, seed=1)).sum(), latents)
        found.append((quantized.latents.detach(), quantized.indices, *of_losses, of_codes))
    for one, other in zip(*(each[:-1] for each in found), strict=True):
        torch.testing.assert_close(one, other)
    assert not torch.allclose(found[0][-1], found[1][-1])


def test_cells_stored_before_gradients_could_be_turned_keep_their_ids() -> None:
    experiment = find_experiment("learned_prior")

    def cell_id(**more: object) -> str:
        settings = experiment.settings({"quantizer": "dvq", "slices": 2, "dimension": 8, **more})
        assert ("code_gradient" in settings.identity()) == (more.get("code_gradient") == "rotation")
        return Point(experiment=experiment, settings=settings).cell_id(0)

    assert cell_id() == cell_id(code_gradient="straight-through") == "3d9383694cbe8b8a"
    assert cell_id(code_gradient="rotation") != cell_id()


def test_a_quantizer_without_codebooks_has_no_codebook_size_in_the_learned_prior() -> None:
    variant = find_experiment("learned_prior").variant
    assert "codebook_size" not in variant("fsq").model_fields
    assert variant("simvq").model_fields["codebook_size"].default == 512
