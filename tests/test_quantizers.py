from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from vector_quantize_pytorch import VectorQuantize  # type: ignore[import-untyped]

from dvq_ray.experiment.registry import find_experiment
from dvq_ray.experiments.learned_prior.settings import LearnedPriorSettings
from dvq_ray.quantizer import nearest
from dvq_ray.quantizer.base import Quantizer
from dvq_ray.quantizer.codebook import CodebookQuantizer
from dvq_ray.quantizer.codebook_module import CodebookModule
from dvq_ray.quantizer.codebooks import EmaCodebooks, GradientCodebooks, KMeansStart, Learning, k_means
from dvq_ray.quantizer.module import Quantized
from dvq_ray.quantizer.nearest import nearest_codes
from dvq_ray.quantizers.dvq import Dvq
from dvq_ray.quantizers.fsq import Fsq
from dvq_ray.quantizers.svq import Svq
from dvq_ray.quantizers.vq import JointVq

# The tensors are so small that threads only wait for each other.
torch.set_num_threads(1)

BATCH, FEATURES, HEIGHT, WIDTH, SIZE = 6, 12, 4, 8, 9
POSITIONS = HEIGHT * WIDTH


def built(quantizer: CodebookQuantizer, features: int, learning: Learning | None) -> CodebookModule:
    module = quantizer.build(features, generator(), learning)
    assert isinstance(module, CodebookModule)
    return module


def vq(features: int, size: int, joint: int = 1, *, learning: Learning | None = None) -> CodebookModule:
    return built(JointVq(quantizer="vq", codebook_size=size, joint_codebooks=joint), features, learning)


def dvq(features: int, size: int, slices: int, *, learning: Learning | None = None) -> CodebookModule:
    return built(Dvq(quantizer="dvq", codebook_size=size, slices=slices), features, learning)


def svq(features: int, size: int, slices: int, joint: int = 1, *, learning: Learning | None = None) -> CodebookModule:
    return built(Svq(quantizer="svq", codebook_size=size, slices=slices, joint_positions=joint), features, learning)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@dataclass(frozen=True, kw_only=True)
class Case:
    """A quantizer, and how it cuts latents [B, F, P] into vectors [B, C, d] of each codebook, written out."""

    make: Callable[[Learning], CodebookModule]
    split: Callable[[Tensor], list[Tensor]]
    join: Callable[[list[Tensor]], Tensor]
    out_features: int
    codes: int


def concatenate(parts: list[Tensor]) -> Tensor:
    return torch.cat([part.mT for part in parts], dim=1)


def runs(slices: int, joint: int) -> Callable[[Tensor], list[Tensor]]:
    codes = POSITIONS // slices // joint

    def code(latents: Tensor, first: int) -> Tensor:
        return torch.cat([latents[:, :, first + j] for j in range(joint)], dim=1)

    return lambda latents: [
        torch.stack([code(latents, (s * codes + c) * joint) for c in range(codes)], dim=1) for s in range(slices)
    ]


def in_raster_order(parts: list[Tensor]) -> Tensor:
    every_code = torch.cat(parts, dim=1)
    return (
        torch.cat([part for code in every_code.unbind(1) for part in torch.split(code, FEATURES, dim=1)], dim=1)
        .view(len(every_code), POSITIONS, FEATURES)
        .mT
    )


CASES = {
    "vq": Case(
        make=lambda learning: vq(FEATURES, SIZE, learning=learning),
        split=lambda latents: [latents.mT],
        join=concatenate,
        out_features=FEATURES,
        codes=POSITIONS,
    ),
    "joint vq": Case(
        make=lambda learning: vq(FEATURES, SIZE, 3, learning=learning),
        split=lambda latents: [latents.mT] * 3,
        join=concatenate,
        out_features=3 * FEATURES,
        codes=POSITIONS,
    ),
    "dvq": Case(
        make=lambda learning: dvq(FEATURES, SIZE, 4, learning=learning),
        split=lambda latents: [latents[:, 3 * s : 3 * s + 3].mT for s in range(4)],
        join=concatenate,
        out_features=FEATURES,
        codes=POSITIONS,
    ),
    "svq": Case(
        make=lambda learning: svq(FEATURES, SIZE, 4, learning=learning),
        split=runs(4, 1),
        join=in_raster_order,
        out_features=FEATURES,
        codes=POSITIONS // 4,
    ),
    "joint svq": Case(
        make=lambda learning: svq(FEATURES, SIZE, 4, 2, learning=learning),
        split=runs(4, 2),
        join=in_raster_order,
        out_features=FEATURES,
        codes=POSITIONS // 8,
    ),
}
LEARNINGS = {
    "gradient": Learning(),
    "ema": Learning(ema_decay=0.9),
    "k-means": Learning(start=KMeansStart(iterations=3)),
    "restart": Learning(restart_below=2.0),
    "all": Learning(ema_decay=0.9, start=KMeansStart(), restart_below=2.0),
}

every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)
every_learning = pytest.mark.parametrize("learning", LEARNINGS.values(), ids=LEARNINGS)


def draw_latents(seed: int = 1, batch: int = BATCH) -> Tensor:
    return 0.1 * torch.randn(batch, FEATURES, HEIGHT, WIDTH, generator=generator(seed))


def train(quantizer: CodebookModule, *, steps: int = 3) -> None:
    """Updates the codes as a training does, with Adam where they take gradients."""
    random = generator(5)
    quantizer.start(draw_latents(), random)
    parameters = list(quantizer.parameters())
    optimizer = torch.optim.Adam(parameters, lr=0.01) if parameters else None
    for step in range(steps):
        latents = draw_latents(seed=step)
        quantized = quantizer(latents)
        if optimizer:
            optimizer.zero_grad()
            quantized.codebook_loss.backward()
            optimizer.step()
        quantizer.update(latents, quantized, random)


def reference(case: Case, latents: Tensor, codebooks: Tensor) -> tuple[Tensor, list[Tensor], Tensor, Tensor]:
    """Latents, indices [B, C] of each codebook and both losses, by equations 1, 2 and 4 and nothing else."""
    parts = case.split(latents.flatten(2))
    indices = [
        (part.unsqueeze(2) - codes).square().sum(-1).argmin(-1) for part, codes in zip(parts, codebooks, strict=True)
    ]
    found = [codes[index] for codes, index in zip(codebooks, indices, strict=True)]
    pairs = list(zip(parts, found, strict=True))
    quantized = case.join([part + (code - part).detach() for part, code in pairs])
    codebook_loss = sum((part.detach() - code).square().mean() for part, code in pairs)
    commitment_loss = sum((part - code.detach()).square().mean() for part, code in pairs)
    assert isinstance(codebook_loss, Tensor)
    assert isinstance(commitment_loss, Tensor)
    return quantized.view(len(latents), -1, HEIGHT, WIDTH), indices, codebook_loss, commitment_loss


def gradients(latents: Tensor, losses: tuple[Tensor, Tensor, Tensor], codes: Tensor) -> list[Tensor]:
    """Gradients of the latents and the codes of a loss in which all three results count, each by its own measure."""
    quantized, codebook_loss, commitment_loss = losses
    weights = torch.linspace(-1, 1, quantized.numel(), dtype=quantized.dtype).view(quantized.shape)
    total = (weights * quantized).sum() + 30 * codebook_loss + 7 * commitment_loss
    wanted = (latents, codes) if codes.requires_grad else (latents,)
    return list(torch.autograd.grad(total, wanted))


@every_learning
@every_case
def test_decoded_codes_are_the_latents_that_forward_gives(case: Case, learning: Learning) -> None:
    quantizer = case.make(learning)
    train(quantizer)
    latents = draw_latents(seed=9)
    quantized = quantizer(latents)
    indices = quantizer.encode(latents)
    assert torch.equal(indices, quantized.indices)
    assert torch.equal(quantizer.decode(indices, (HEIGHT, WIDTH)), quantized.latents)


@every_learning
@every_case
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_results_have_their_shapes_and_latents_keep_their_layout(
    case: Case, learning: Learning, layout: torch.memory_format
) -> None:
    quantizer = case.make(learning)
    quantized = quantizer(draw_latents().contiguous(memory_format=layout))
    codebooks = len(quantizer.codebooks.codes)
    assert quantized.latents.shape == (BATCH, case.out_features, HEIGHT, WIDTH)
    assert quantizer.out_features == case.out_features
    assert quantized.latents.dtype == torch.float32
    assert quantized.indices.shape == (BATCH, codebooks, case.codes)
    assert quantized.indices.dtype == torch.int64
    assert quantized.codebook_loss.shape == quantized.commitment_loss.shape == ()
    assert quantized.perplexity.shape == quantized.codes_used.shape == (codebooks,)
    if case.out_features == FEATURES:
        assert quantized.latents.is_contiguous(memory_format=layout)


@every_learning
@every_case
def test_results_and_gradients_are_those_of_the_equations(case: Case, learning: Learning) -> None:
    quantizer = case.make(learning)
    train(quantizer)
    latents = draw_latents(seed=9).requires_grad_()
    quantized = quantizer(latents)
    exact_latents = latents.detach().double().requires_grad_()
    codes = quantizer.codebooks.codes
    exact_codes = codes.detach().double().requires_grad_(codes.requires_grad)
    exact, indices, codebook_loss, commitment_loss = reference(case, exact_latents, exact_codes)

    assert torch.equal(quantized.indices, torch.stack(indices, dim=1))
    close = partial(torch.testing.assert_close, rtol=2e-5, atol=1e-7, check_dtype=False)
    close(quantized.latents, exact)
    close(quantized.codebook_loss, codebook_loss)
    close(quantized.commitment_loss, commitment_loss)
    ours = gradients(latents, (quantized.latents, quantized.codebook_loss, quantized.commitment_loss), codes)
    theirs = gradients(exact_latents, (exact, codebook_loss, commitment_loss), exact_codes)
    assert len(ours) == len(theirs) == 1 + codes.requires_grad
    for mine, other in zip(ours, theirs, strict=True):
        close(mine, other)


@every_case
def test_in_float64_results_and_gradients_agree_to_float64(case: Case) -> None:
    quantizer = case.make(Learning()).double()
    latents = draw_latents().double().requires_grad_()
    quantized = quantizer(latents)
    codes = quantizer.codebooks.codes
    exact, _, codebook_loss, commitment_loss = reference(case, latents, codes)
    ours = gradients(latents, (quantized.latents, quantized.codebook_loss, quantized.commitment_loss), codes)
    for mine, other in zip(ours, gradients(latents, (exact, codebook_loss, commitment_loss), codes), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-12, atol=1e-15)


@every_case
def test_each_loss_reaches_what_it_should_and_nothing_else(case: Case) -> None:
    quantizer = case.make(Learning())
    latents, codes = draw_latents().requires_grad_(), quantizer.codebooks.codes
    quantized = quantizer(latents)
    for result, reached, missed in (
        (quantized.codebook_loss, codes, latents),
        (quantized.commitment_loss, latents, codes),
        (quantized.latents.sum(), latents, codes),
    ):
        hit, spared = torch.autograd.grad(result, (reached, missed), retain_graph=True)
        assert hit.abs().sum() > 0
        assert not spared.any()


@every_case
def test_the_backward_pass_keeps_latents_and_indices_but_no_distances(case: Case) -> None:
    kept: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    quantizer = case.make(Learning())
    latents = draw_latents().requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        quantized = quantizer(latents)
    assert kept
    numbers = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in kept}
    indices = quantized.indices.numel() * 8
    assert sum(numbers.values()) <= 4 * (2 * latents.numel() + quantized.latents.numel()) + indices


# vector-quantize-pytorch


def library(features: int, **options: Any) -> VectorQuantize:
    return VectorQuantize(
        dim=features, codebook_size=SIZE, rotation_trick=False, threshold_ema_dead_code=0, **options
    ).train()


@every_case
def test_agrees_with_vector_quantize_pytorch(case: Case) -> None:
    quantizer = case.make(Learning())
    latents, codes = draw_latents().requires_grad_(), quantizer.codebooks.codes
    quantized = quantizer(latents)
    parts, indices, losses, parameters = [], [], [], []
    for part, codebook in zip(case.split(latents.flatten(2)), codes.detach(), strict=True):
        other = library(codes.shape[2], ema_update=False, learnable_codebook=True)
        other.codebook.data.copy_(codebook)
        found, index, loss = other(part)
        parts.append(found)
        indices.append(index)
        losses.append(loss.squeeze())
        parameters += list(other.parameters())
    theirs = case.join(parts).view(quantized.latents.shape)
    total = torch.stack(losses).sum()
    assert torch.equal(quantized.indices, torch.stack(indices, dim=1))
    torch.testing.assert_close(quantized.latents, theirs)
    torch.testing.assert_close(quantized.codebook_loss, total)
    # There, one loss has both gradients.
    ours = quantized.latents.square().sum() + quantized.codebook_loss + quantized.commitment_loss
    of_latents, of_codes = torch.autograd.grad(ours, (latents, codes))
    expected = torch.autograd.grad(theirs.square().sum() + total, (latents, *parameters))
    torch.testing.assert_close(of_latents, expected[0])
    torch.testing.assert_close(of_codes, torch.cat([gradient.view(1, *codes.shape[1:]) for gradient in expected[1:]]))


def test_dvq_agrees_with_vector_quantize_pytorch_with_a_codebook_for_each_head() -> None:
    quantizer = CASES["dvq"].make(Learning())
    latents, slices = draw_latents(), 4
    other = library(
        FEATURES,
        heads=slices,
        separate_codebook_per_head=True,
        codebook_dim=FEATURES // slices,
        ema_update=False,
        learnable_codebook=True,
        commitment_weight=slices,
        accept_image_fmap=True,
    )
    other.codebook.data.copy_(quantizer.codebooks.codes.detach())
    found, indices, loss = other(latents)
    quantized = quantizer(latents)
    assert torch.equal(quantized.indices, indices.flatten(1, 2).mT)
    torch.testing.assert_close(quantized.latents, found)
    torch.testing.assert_close(quantized.codebook_loss, loss.squeeze())


@every_case
def test_moving_averages_agree_with_vector_quantize_pytorch(case: Case) -> None:
    quantizer = case.make(Learning(ema_decay=0.8))
    codebooks = quantizer.codebooks
    assert isinstance(codebooks, EmaCodebooks)
    others = []
    for codes in codebooks.codes:
        other = library(codes.shape[1], decay=0.8)
        other.codebook.copy_(codes)
        other._codebook.embed_avg.copy_(codes)
        others.append(other)
    for seed in range(3):
        latents = draw_latents(seed)
        quantizer.update(latents, quantizer(latents), generator())
        for part, other in zip(case.split(latents.flatten(2)), others, strict=True):
            other(part)
        torch.testing.assert_close(codebooks.codes, torch.stack([other.codebook for other in others]))


# What learns


def test_codes_that_are_moving_averages_are_no_parameters() -> None:
    quantizer = CASES["dvq"].make(Learning(ema_decay=0.9))
    assert not list(quantizer.parameters())
    quantized = quantizer(draw_latents().requires_grad_())
    assert quantized.commitment_loss.requires_grad
    before = quantizer.codebooks.codes.clone()
    (quantized.codebook_loss + quantized.commitment_loss).backward()
    assert torch.equal(quantizer.codebooks.codes, before)


def test_moving_averages_of_the_same_batch_end_at_its_means() -> None:
    vectors = torch.tensor([[[0.0, 1.0], [0.0, 3.0], [10.0, 0.0], [30.0, 0.0], [20.0, 3.0]]])
    codebooks = EmaCodebooks(torch.tensor([[[0.0, 0.0], [15.0, 0.0]]]), decay=0.5)
    for _ in range(60):
        codebooks.update(vectors, nearest_codes(vectors, codebooks.codes))
    torch.testing.assert_close(codebooks.codes, torch.tensor([[[0.0, 2.0], [20.0, 1.0]]]), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(codebooks.counts, torch.tensor([[2.0, 3.0]]))


def test_k_means_follows_lloyds_iterations() -> None:
    vectors = torch.randn(2, 60, 3, generator=generator(), dtype=torch.float64)
    found = k_means(vectors, 7, generator(3), iterations=4)
    first = torch.randperm(60, generator=generator(3))[:7].numpy()
    for samples, ours in zip(vectors.numpy(), found.numpy(), strict=True):
        means = samples[first]
        for _ in range(4):
            own = ((samples[:, None] - means) ** 2).sum(-1).argmin(1)
            means = np.stack([samples[own == k].mean(0) if (own == k).any() else means[k] for k in range(7)])
        np.testing.assert_allclose(ours, means, rtol=1e-12, atol=1e-12)


def test_clusters_without_vectors_stay_where_they_are() -> None:
    vectors = torch.tensor([[[1.0], [1.0], [1.0], [5.0]]])
    means = k_means(vectors, 4, generator())
    torch.testing.assert_close(means.flatten().sort().values, torch.tensor([1.0, 1.0, 1.0, 5.0]))


@every_case
def test_a_k_means_start_leaves_less_error_than_vectors_of_the_batch(case: Case) -> None:
    latents = draw_latents()
    losses = []
    for iterations in (0, 10):
        quantizer = case.make(Learning(start=KMeansStart(iterations=iterations)))
        quantizer.start(latents, generator())
        losses.append(quantizer(latents).codebook_loss.item())
    assert losses[1] < 0.9 * losses[0]


def test_without_k_means_codes_stay_as_drawn() -> None:
    quantizer = CASES["dvq"].make(Learning())
    before = quantizer.codebooks.codes.clone()
    quantizer.start(draw_latents(), generator())
    latents = draw_latents()
    quantizer.update(latents, quantizer(latents), generator())
    assert torch.equal(quantizer.codebooks.codes, before)


@pytest.mark.parametrize("decay", [None, 0.99])
@every_case
def test_dead_codes_move_to_different_vectors_of_the_batch_and_living_ones_stay(
    case: Case, decay: float | None
) -> None:
    quantizer = case.make(Learning(ema_decay=decay, restart_below=1e-3))
    latents = draw_latents()
    parts = case.split(latents.flatten(2))
    codes = quantizer.codebooks.codes
    dead = torch.arange(SIZE) % 3 == 0
    with torch.no_grad():
        codes[:, dead] += 100
        restart = quantizer.restart
        assert restart is not None
        restart.usage[:, dead] = 1e-7
    living = codes[:, ~dead].clone()
    quantizer.update(latents, quantizer(latents), generator())
    if decay is None:
        assert torch.equal(codes[:, ~dead], living)
    moved = set()
    for part, its_codes in zip(parts, codes.detach(), strict=True):
        vectors = {tuple(vector) for vector in part.flatten(0, 1).tolist()}
        places = {tuple(code) for code in its_codes[dead].tolist()}
        assert places <= vectors
        assert len(places) == dead.sum()
        moved |= places
    assert len(moved) == len(codes) * dead.sum(), "codebooks moved to the same vectors"
    torch.testing.assert_close(restart.usage[:, dead], torch.full((len(codes), int(dead.sum())), 1 / SIZE))
    assert (quantizer(latents).codes_used > 0).all()


def test_a_code_has_time_to_gather_vectors_before_it_counts_as_dead() -> None:
    quantizer = CASES["vq"].make(Learning(restart_below=1.0))
    codes = quantizer.codebooks.codes
    with torch.no_grad():
        codes[0, 0] = 100.0
    latents = draw_latents()
    steps = 0
    while codes[0, 0, 0].item() == 100.0:
        quantizer.update(latents, quantizer(latents), generator(steps))
        steps += 1
    share = BATCH * POSITIONS / SIZE
    assert steps == int(np.log(share) / -np.log(0.99)) + 1


def test_a_code_moved_under_moving_averages_stays_where_it_was_put() -> None:
    codebooks = EmaCodebooks(torch.zeros(1, 2, 3), decay=0.9)
    place = torch.tensor([[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]])
    codebooks.move(torch.tensor([[False, True]]), place)
    assert torch.equal(codebooks.codes, torch.stack([torch.zeros(3), place[0, 1]])[None])
    codebooks.update(place[:, 1:], torch.tensor([[1]]))
    torch.testing.assert_close(codebooks.codes[0, 1], place[0, 1], rtol=1e-4, atol=0)


# State and determinism


@every_learning
@every_case
def test_the_same_generator_gives_the_same_bytes(case: Case, learning: Learning) -> None:
    states = []
    for seed in (1, 2):
        torch.manual_seed(seed)  # which must not matter
        quantizer = case.make(learning)
        train(quantizer)
        states.append({name: tensor.numpy().tobytes() for name, tensor in quantizer.state_dict().items()})
    assert states[0] == states[1]


@every_learning
@every_case
def test_a_training_resumes_from_its_state_dict_as_if_nothing_had_happened(case: Case, learning: Learning) -> None:
    whole, first, second = case.make(learning), case.make(learning), case.make(learning)
    train(first)
    second.load_state_dict(first.state_dict())
    train(whole)
    for quantizer in (whole, second):
        latents = draw_latents(seed=7)
        quantizer.update(latents, quantizer(latents), generator(8))
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[name]), name


@every_case
def test_an_image_has_the_same_codes_whatever_its_layout(case: Case) -> None:
    quantizer, latents = case.make(Learning()), draw_latents()
    assert torch.equal(
        quantizer.encode(latents), quantizer.encode(latents.contiguous(memory_format=torch.channels_last))
    )


def test_one_image_at_a_time_gives_what_all_give(monkeypatch: pytest.MonkeyPatch) -> None:
    quantizer, latents = CASES["dvq"].make(Learning()), draw_latents().requires_grad_()
    results = []
    for numbers in (1 << 30, 1):
        monkeypatch.setitem(nearest._NUMBERS_AT_ONCE, "cpu", numbers)
        found = quantizer(latents)
        losses = (found.latents, found.codebook_loss, found.commitment_loss)
        codes = quantizer.codebooks.codes
        vectors = torch.randn(4, 50, 3, generator=generator())
        results.append([found.indices, nearest_codes(vectors, codes), *gradients(latents, losses, codes)])
    for together, apart in zip(*results, strict=True):
        torch.testing.assert_close(together, apart)


def test_the_nearest_of_equal_codes_is_the_first() -> None:
    codes = torch.tensor([[[3.0, 0.0], [1.0, 1.0], [1.0, 1.0], [-1.0, -1.0]]])
    vectors = torch.tensor([[[0.9, 1.2], [0.0, 0.0], [-5.0, 0.0]]])
    assert nearest_codes(vectors, codes).tolist() == [[1, 1, 3]]


@pytest.mark.parametrize("codes", [1, 2, 17, 64, 1000])
def test_the_nearest_code_is_that_of_all_distances_in_float64(codes: int) -> None:
    vectors = torch.randn(3, 200, 5, generator=generator(), dtype=torch.float64)
    codebooks = torch.randn(3, codes, 5, generator=generator(1), dtype=torch.float64)
    assert torch.equal(nearest_codes(vectors, codebooks), torch.cdist(vectors, codebooks).argmin(-1))


def test_vectors_that_are_no_numbers_have_a_code_and_spoil_no_other() -> None:
    vectors, codes = torch.randn(1, 4, 3, generator=generator()), torch.randn(1, 7, 3, generator=generator())
    expected = nearest_codes(vectors, codes)
    vectors[0, 1, 2], vectors[0, 2, 0] = torch.nan, torch.inf
    found = nearest_codes(vectors, codes)
    assert torch.equal(found[0, [0, 3]], expected[0, [0, 3]])
    assert ((found >= 0) & (found < 7)).all()


@every_case
def test_autocast_changes_nothing(case: Case) -> None:
    quantizer = case.make(Learning())
    latents = draw_latents().bfloat16().requires_grad_()
    plain = quantizer(latents)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = quantizer(latents)
    assert mixed.latents.dtype == torch.float32
    assert torch.equal(mixed.latents, plain.latents)
    assert torch.equal(mixed.codebook_loss, plain.codebook_loss)
    (gradient,) = torch.autograd.grad(mixed.latents.sum() + mixed.commitment_loss, latents)
    assert gradient.dtype == torch.bfloat16


@pytest.mark.long
@every_case
def test_compiles_to_one_graph(case: Case) -> None:
    torch._dynamo.reset()
    quantizer, latents = case.make(Learning()), draw_latents().requires_grad_()
    compiled = torch.compile(quantizer, fullgraph=True, backend="aot_eager")
    results = []
    for run in (quantizer, compiled):
        found: Quantized = run(latents)
        losses = (found.latents, found.codebook_loss, found.commitment_loss)
        results.append([found.indices, *gradients(latents, losses, next(quantizer.parameters()))])
    for eager, traced in zip(*results, strict=True):
        torch.testing.assert_close(eager, traced)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@every_learning
@every_case
def test_a_gpu_agrees_with_the_cpu_repeats_itself_and_never_waits(case: Case, learning: Learning) -> None:
    quantizer = case.make(learning)
    train(quantizer)
    latents = draw_latents(seed=9).requires_grad_()
    found = quantizer(latents)
    codes = quantizer.codebooks.codes
    expected = [
        found.indices,
        *gradients(latents, (found.latents, found.codebook_loss, found.commitment_loss), codes),
    ]
    quantizer.cuda()
    codes, moved, random = quantizer.codebooks.codes, latents.detach().cuda().requires_grad_(), torch.Generator("cuda")
    weights = torch.linspace(-1, 1, found.latents.numel()).view(found.latents.shape).cuda()
    runs = []
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(2):
            there = quantizer(moved)
            total = (weights * there.latents).sum() + 30 * there.codebook_loss + 7 * there.commitment_loss
            wanted = (moved, codes) if codes.requires_grad else (moved,)
            runs.append([there.indices, *torch.autograd.grad(total, wanted)])
        quantizer.update(moved.detach(), there, random)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for first, second, other in zip(*runs, expected, strict=True):
        assert torch.equal(first, second)
        torch.testing.assert_close(first.cpu(), other, rtol=1e-4, atol=1e-6)


# Building, measuring and mistakes


@pytest.mark.parametrize(
    ("fields", "shape"),
    [
        ({"quantizer": "vq"}, (1, 16, 12)),
        ({"quantizer": "vq", "joint_codebooks": 3}, (3, 16, 12)),
        ({"quantizer": "dvq", "slices": 4}, (4, 16, 3)),
        ({"quantizer": "svq", "slices": 8}, (8, 16, 12)),
        ({"quantizer": "svq", "slices": 8, "joint_positions": 4}, (8, 16, 48)),
    ],
)
def test_settings_build_their_quantizer(fields: dict[str, Any], shape: tuple[int, int, int]) -> None:
    settings = learned_prior(dimension=12, codebook_size=16, **fields)
    assert isinstance(settings, Quantizer)
    module = settings.build(12, generator())
    assert isinstance(module, CodebookModule)
    assert module.codebooks.codes.shape == shape
    assert module.code_parameters() == settings.parameters(12) == math.prod(shape)
    assert module.out_features == settings.out_features(12)
    found = module(torch.zeros(2, 12, 8, 8))
    assert found.indices[0].numel() * math.log2(16) == settings.bits_per_image()
    assert type(module.codebooks) is GradientCodebooks
    assert module.restart is None


def test_settings_choose_how_codes_learn() -> None:
    settings = learned_prior(
        quantizer="dvq", dimension=12, slices=4, ema_decay=0.9, restart_below=1.5, codebook_start="k-means"
    )
    assert isinstance(settings, Quantizer)
    module = settings.build(12, generator())
    assert isinstance(module, CodebookModule)
    codebooks, restart = module.codebooks, module.restart
    assert isinstance(codebooks, EmaCodebooks)
    assert codebooks.decay == 0.9
    assert restart is not None
    assert restart.below == 1.5
    before = codebooks.codes.clone()
    module.start(torch.randn(16, 12, 8, 8, generator=generator()), generator())
    assert not torch.isclose(codebooks.codes, before).any(-1).all()


def learned_prior(**fields: Any) -> LearnedPriorSettings:
    settings = find_experiment("learned_prior").settings(fields)
    assert isinstance(settings, LearnedPriorSettings)
    return settings


def test_initial_codes_are_a_normal_distribution_cut_off_at_two_deviations() -> None:
    codes = vq(64, 4096).codebooks.codes.detach().double().flatten()
    assert codes.abs().max() <= 0.2
    assert codes.abs().max() > 0.199
    # The deviation of a standard normal variable cut off at two deviations is 0.8796.
    np.testing.assert_allclose([codes.mean(), codes.std()], [0, 0.08796], atol=1e-3)


def test_perplexity_and_use_are_those_of_the_counts() -> None:
    indices = torch.tensor([[[0, 0, 1, 1], [2, 2, 2, 2]], [[3, 3, 2, 2], [2, 2, 2, 2]]])
    nothing = torch.zeros(())
    found = Quantized(latents=nothing, indices=indices, codebook_loss=nothing, commitment_loss=nothing, codebook_size=5)
    torch.testing.assert_close(found.perplexity, torch.tensor([4.0, 1.0]))
    assert found.codes_used.tolist() == [4, 1]


def test_latents_without_positions_are_one_vector() -> None:
    quantizer = dvq(FEATURES, SIZE, 4)
    latents = draw_latents()[:, :, 0, 0]
    found = quantizer(latents)
    assert found.latents.shape == latents.shape
    assert torch.equal(quantizer.decode(found.indices, ()), found.latents)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: dvq(12, 8, 5), "slices = 5 .* allowed: 1, 2, 3, 4, 6, 12"),
        (lambda: dvq(12, 8, 0), "slices\n.*greater than or equal to 1"),
        (lambda: vq(12, 0), "codebook_size\n.*greater than or equal to 2"),
        (lambda: vq(12, 8, 0), "joint_codebooks\n.*greater than or equal to 1"),
        (lambda: svq(12, 8, 2, 0), "joint_positions\n.*greater than or equal to 1"),
        (
            lambda: vq(12, 8, learning=Learning(ema_decay=1.0)),
            "decay = 1.0; allowed: .* below 1",
        ),
        (
            lambda: vq(12, 8, learning=Learning(restart_below=0.0)),
            "below = 0.0; allowed: above 0",
        ),
        (lambda: vq(12, 8)(torch.zeros(2, 8, 8, 12)), r"shape \[2, 8, 8, 12\]; allowed: .*12"),
        (lambda: svq(12, 8, 3)(torch.zeros(2, 12, 4, 4)), "16 positions .*multiples of 3"),
        (
            lambda: vq(12, 8).decode(torch.zeros(2, 1, 9, dtype=torch.int64), (4, 2)),
            "product is 9",
        ),
        (lambda: k_means(torch.zeros(1, 3, 2), 4, generator()), "3 vectors for 4 clusters; allowed: at least 4"),
    ],
)
def test_errors_are_reported_with_what_is_allowed(wrong: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        wrong()


def test_the_bits_of_many_codes_are_rounded_once() -> None:
    """Whatever the version of Python: 3.12 changed how `sum` rounds floats."""
    assert Fsq(quantizer="fsq", levels="7x7x7x7x7x7x7").bits() == float(7 * Fraction(math.log2(7)))
