"""The nearest code of each vector, and its gradients: the arithmetic that all quantizers share.

Letters in shapes: L codebooks, K codes, N vectors, d features of a code, B images of a batch, C codes of an image in
each codebook.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from dvq_ray.quantizer.alignment import aligned_width, widened

_NUMBERS_AT_ONCE = {"cpu": 1 << 19, "cuda": 1 << 26}
"""Vectors [L, N, d] and their distances [L, N, K] in work at once: on a CPU few enough for its cache, on a GPU enough
to keep it busy."""


@torch.no_grad()
def nearest_codes(vectors: Tensor, codebooks: Tensor) -> Tensor:
    """Index [L, N] of the code nearest to each vector, the lowest one where several are. Has no gradient.

    `vectors` is [L, N, d], `codebooks` [L, K, d].
    """
    half_norms, codebooks = _half_norms(codebooks), _aligned(codebooks)
    chunks = torch.split(vectors, _vectors_at_once(codebooks), dim=1)
    return torch.cat([_nearest(chunk, codebooks, half_norms) for chunk in chunks], dim=1)


def look_up(codebooks: Tensor, indices: Tensor) -> Tensor:
    """The codes [L, ..., d] of `codebooks` [L, K, d] at `indices` [L, ...]."""
    return codebooks.flatten(0, 1)[_rows(indices, codebooks.shape[1])]


def count_by_code(indices: Tensor, codebook_size: int) -> Tensor:
    """How many of the `indices` [L, N] are each code: int64 [L, K]."""
    counts = indices.new_zeros(len(indices), codebook_size)
    return counts.scatter_add_(1, indices, torch.ones_like(indices))


def sum_by_code(vectors: Tensor, indices: Tensor, codebook_size: int) -> Tensor:
    """Sums [L, K, d] of the vectors [L, N, d] that share a code, which `indices` [L, N] says."""
    sums = vectors.new_zeros(len(vectors), codebook_size, vectors.shape[2])
    _add_by_code(sums, vectors, indices)
    return sums


class StraightThrough(torch.autograd.Function):
    """Vectors [L, B, C, d] to their nearest codes of codebooks [L, K, d].

    Returns the codes [L, B, C, d], in memory as the vectors are; their indices [L, B, C]; and the mean squared error,
    summed over codebooks, twice: as codebook loss, whose gradient reaches the codebooks alone, and as commitment
    loss, whose gradient reaches the vectors alone (equations 1 and 4). The codes' own gradient goes to the vectors
    (equation 2).

    What the backward pass needs is the codes, which the decoder keeps as well, and their indices: nothing as large as
    the distances [L, B, C, K] is kept, and few images at a time go through all steps, so that on a CPU what lies
    between the steps stays in its cache.
    """

    @staticmethod
    def forward(ctx: Any, vectors: Tensor, codebooks: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """See the class."""
        images_at_once = max(1, _vectors_at_once(codebooks) // vectors.shape[2])
        half_norms, aligned = _half_norms(codebooks), _aligned(codebooks)
        codes = torch.empty_like(vectors)
        indices = torch.empty(vectors.shape[:3], dtype=torch.int64, device=vectors.device)
        squares = vectors.new_zeros(())
        for x, code, index in _together(images_at_once, vectors, codes, indices):
            index.copy_(_nearest(x.flatten(1, 2), aligned, half_norms).view(index.shape))
            code.copy_(look_up(codebooks, index))
            squares += (x - code).square_().sum()
        loss = squares / vectors[0].numel()
        ctx.save_for_backward(vectors, codes, indices)
        ctx.codebook_size = codebooks.shape[1]
        ctx.images_at_once = images_at_once
        ctx.mark_non_differentiable(indices)
        return codes, indices, loss, loss.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Gradients of the vectors and of the codebooks."""
        of_codes, _, of_codebook_loss, of_commitment_loss = gradients
        vectors, codes, indices = ctx.saved_tensors
        scale = 2 / vectors[0].numel()
        of_vectors = torch.empty_like(codes)
        of_codebooks = vectors.new_zeros(len(vectors), ctx.codebook_size, vectors.shape[3])
        for x, code, index, of_code, of_x in _together(
            ctx.images_at_once, vectors, codes, indices, of_codes, of_vectors
        ):
            error = code - x
            of_x.copy_(of_code).addcmul_(error, -scale * of_commitment_loss)
            if ctx.needs_input_grad[1]:
                _add_by_code(of_codebooks, error.flatten(1, 2), index.flatten(1))
        return of_vectors, of_codebooks.mul_(scale * of_codebook_loss)


def _half_norms(codebooks: Tensor) -> Tensor:
    return codebooks.square().sum(-1).unsqueeze(1) / 2


def _nearest(vectors: Tensor, codebooks: Tensor, half_norms: Tensor) -> Tensor:
    """As `nearest_codes`, of codebooks that are `_aligned`.

    Of |x - e|^2 / 2, |x|^2 / 2 is left out, being the same for all codes of a vector.
    """
    scores = (_aligned(vectors) @ codebooks.mT).sub_(half_norms)
    if not scores.is_cpu:
        return scores.argmax(-1)
    # argmax would take half as long as the product: on a CPU it is no vector code, unlike the highest number of those
    # places, counted from the end, where the maximum is. Scores that are no numbers have none; any code will do.
    from_end = torch.arange(scores.shape[-1], 0, -1, dtype=scores.dtype)
    places = scores.ge_(scores.amax(-1, keepdim=True)).mul_(from_end).amax(-1)
    return (len(from_end) - places).long().clamp_(max=len(from_end) - 1)


def _aligned(vectors: Tensor) -> Tensor:
    """Vectors [..., d], with zeros behind them where that makes products faster."""
    return widened(vectors, -1, aligned_width(vectors.shape[-1])) if _multiplies_in_tiles(vectors) else vectors


def _multiplies_in_tiles(tensor: Tensor) -> bool:
    """Whether products are slower at odd widths where the tensor is."""
    return tensor.is_cuda


def _add_by_code(sums: Tensor, vectors: Tensor, indices: Tensor) -> None:
    """Adds vectors [L, N, d] to the sums [L, K, d] of their codes; the same bytes each time, on a GPU too."""
    rows, columns = _rows(indices, sums.shape[1]).flatten(), sums.shape[2]
    vectors = vectors.reshape(-1, columns)
    if _adds_in_any_order(sums):
        sums += _sum_rows(vectors, rows, sums.shape[0] * sums.shape[1]).view_as(sums)
    else:
        sums.view(-1, columns).index_add_(0, rows, vectors)


def _adds_in_any_order(tensor: Tensor) -> bool:
    """Whether index_add_ does where the tensor is."""
    return tensor.is_cuda


@torch.library.custom_op("dvq_ray::sum_rows", mutates_args=())
def _sum_rows(vectors: Tensor, rows: Tensor, count: int) -> Tensor:
    """Sums [count, d] of the vectors [N, d] that share a row [N].

    On a GPU index_add_ adds in whatever order its threads arrive; the gradient of an embedding sorts them first. It has
    an operator of its own because the compiler would replace that gradient by one that does not sort.
    """
    sums: Tensor = torch.ops.aten.embedding_dense_backward(vectors, rows, count, -1, False)
    return sums


@_sum_rows.register_fake
def _(vectors: Tensor, rows: Tensor, count: int) -> Tensor:
    return vectors.new_empty(count, vectors.shape[1])


def _rows(indices: Tensor, codebook_size: int) -> Tensor:
    """Indices [L, ...] of codes as rows of all codebooks one below the other."""
    first = torch.arange(0, len(indices) * codebook_size, codebook_size, device=indices.device)
    return indices + first.view(-1, *[1] * (indices.ndim - 1))


def _together(images_at_once: int, *tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """The same few images of all tensors [L, B, ...], from the first to the last."""
    return zip(*(torch.split(tensor, images_at_once, dim=1) for tensor in tensors), strict=True)


def _vectors_at_once(codebooks: Tensor) -> int:
    count, size, features = codebooks.shape
    at_once = _NUMBERS_AT_ONCE.get(codebooks.device.type, _NUMBERS_AT_ONCE["cuda"])
    return max(1, at_once // (count * (size + features)))
