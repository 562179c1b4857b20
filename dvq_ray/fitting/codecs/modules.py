"""The codec of a trained module."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dvq_ray.fitting.settings import GradientSettings
from dvq_ray.quantizer.base import Codec, Codes, Quantizer, Vectors, code_type
from dvq_ray.quantizer.module import QuantizerModule
from dvq_ray.quantizer.registry import QUANTIZERS

ROWS_AT_ONCE = 4096
"""Vectors that a module sees at once after its training. Its rounding depends on them, so this stays as it is."""


class ModuleCodec(Codec):
    """The codes that a module gives to vectors, which are its latents.

    It computes where the module is, on a CPU with one thread, and always in the same blocks: rounding depends on the
    other vectors of a block, and may decide between two codes that are equally near.
    """

    def __init__(self, module: QuantizerModule, settings: Quantizer) -> None:
        """`settings` built the module; they may have fields of an experiment too."""
        self.module = module
        self.settings = settings

    @torch.no_grad()
    def encode(self, vectors: Vectors) -> Codes:
        """Codes [samples, codebooks] of `vectors` [samples, features]."""
        sizes = self.settings.codebook_sizes()
        codes: Codes = np.empty((len(vectors), len(sizes)), code_type(sizes))
        with one_thread(self._device.type):
            for start in range(0, len(vectors), ROWS_AT_ONCE):
                rows = slice(start, start + ROWS_AT_ONCE)
                codes[rows] = self.module.encode(self._tensor(vectors[rows], torch.float32)).squeeze(2).cpu().numpy()
        return codes

    @torch.no_grad()
    def decode(self, codes: Codes) -> Vectors:
        """Vectors [samples, features] of `codes` [samples, codebooks]."""
        vectors = np.empty((len(codes), self.module.out_features), np.float32)
        with one_thread(self._device.type):
            for start in range(0, len(codes), ROWS_AT_ONCE):
                rows = slice(start, start + ROWS_AT_ONCE)
                indices = self._tensor(codes[rows], torch.int64).unsqueeze(2)
                vectors[rows] = self.module.decode(indices, (1,)).flatten(1).cpu().numpy()
        return vectors

    def evaluate(self, vectors: Vectors, sizes: tuple[int, ...]) -> tuple[float, list[npt.NDArray[np.int64]]]:
        """As of any codec, of what the module's forward pass gives."""
        with one_thread(self._device.type):
            starts = range(0, len(vectors), ROWS_AT_ONCE)
            blocks = (self._tensor(vectors[start : start + ROWS_AT_ONCE], torch.float32) for start in starts)
            return evaluate(self.module, blocks, sizes)

    def description(self) -> Mapping[str, Any]:
        """The quantizer's own fields, and the features of a vector."""
        own = next(
            base
            for base in type(self.settings).__mro__
            if issubclass(base, Quantizer) and not issubclass(base, GradientSettings)  # fields of an experiment
        )
        fields = self.settings.model_dump(mode="json", include=set(own.model_fields))
        return {"quantizer": fields, "features": self.module.features}

    def arrays(self) -> Mapping[str, npt.NDArray[Any]]:
        """The module's parameters and buffers."""
        return {name: tensor.cpu().numpy() for name, tensor in self.module.state_dict().items()}

    @classmethod
    def rebuilt(cls, description: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> Self:
        """The quantizer's module on the CPU, with these parameters and buffers."""
        if missing := [key for key in ("quantizer", "features") if key not in description]:
            raise ValueError(f"the description of a module lacks {' and '.join(missing)}")
        settings = _settings(description["quantizer"])
        with torch.random.fork_rng(devices=[]):  # a module may draw from torch's global state
            module = settings.build(description["features"], torch.Generator().manual_seed(0))
        try:
            module.load_state_dict({name: torch.tensor(array) for name, array in arrays.items()})
        except RuntimeError as error:  # names or shapes differ
            raise ValueError(f"the arrays are not those of {settings.quantizer}: {error}") from error
        return cls(module, settings)

    @property
    def _device(self) -> torch.device:
        tensors = (*self.module.parameters(), *self.module.buffers())
        return tensors[0].device if tensors else torch.device("cpu")

    def _tensor(self, rows: npt.NDArray[Any], dtype: torch.dtype) -> Tensor:
        # A copy, because rows of a file can be read only, and torch has few unsigned types.
        numbers = rows.astype(np.float32 if dtype.is_floating_point else np.int64)
        return torch.from_numpy(numbers).to(self._device)


@torch.no_grad()
def evaluate(
    module: QuantizerModule, blocks: Iterable[Tensor], sizes: tuple[int, ...]
) -> tuple[float, list[npt.NDArray[np.int64]]]:
    """Mean squared error per feature, and how often each code of each codebook occurs.

    `blocks` are vectors [samples, features], `ROWS_AT_ONCE` in each but the last.
    """
    error, numbers, counts = 0.0, 0, [np.zeros(size, np.int64) for size in sizes]
    for block in blocks:
        quantized = module(block)
        error += float((quantized.latents - block).double().square().sum())
        numbers += block.numel()
        indices = quantized.indices
        if indices.shape[1] != len(sizes):
            raise ValueError(
                f"the module gives {indices.shape[1]} codes for a vector, codebook_sizes names {len(sizes)}"
            )
        for count, size, column in zip(counts, sizes, indices.cpu().numpy().swapaxes(0, 1), strict=True):
            if column.min() < 0 or column.max() >= size:
                raise ValueError(f"the module gives codes {column.min()} to {column.max()} for a codebook of {size}")
            count += np.bincount(column.ravel(), minlength=size)
    return error / numbers, counts


@contextmanager
def one_thread(device: str) -> Iterator[None]:
    """Lets torch compute with one thread on a CPU: with several, sums depend on how many there are."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1 if device == "cpu" else threads)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _settings(fields: Mapping[str, Any]) -> Quantizer:
    """The settings of a quantizer from its own fields. Raises ValueError where they are not valid."""
    found = QUANTIZERS.find(fields["quantizer"]).value
    variants = [found.variant(provided) for provided in (frozenset(), frozenset({"positions", "decoder"}))]
    own = next((each for each in variants if each and fields.keys() <= each.model_fields.keys()), found)
    return own.model_validate_json(json.dumps({**own.added, **fields}))


CODEC = ModuleCodec
