"""The model of a code-prior cell: the prior, as what turns codes into bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt

from dvq_ray.experiments.code_prior.coding import decoded, encoded
from dvq_ray.experiments.code_prior.layout import Codes, Layout, arranged, kept
from dvq_ray.experiments.code_prior.prior import FittedPrior
from dvq_ray.experiments.code_prior.registry import find_prior
from dvq_ray.models.files import KeptModel, ModelError
from dvq_ray.models.model import Model
from dvq_ray.quantizer.base import code_type


def prior_parts(name: str, prior: FittedPrior, *, vectors: bool, joint_positions: int) -> Mapping[str, Any]:
    """What a kept model says of a prior besides its arrays."""
    layout = {**asdict(prior.layout), "sizes": list(prior.layout.sizes)}
    return {"prior": name, "layout": layout, "vectors": vectors, "joint_positions": joint_positions}


class CodePriorModel(Model):
    """Codes, as cells keep them, to bytes and back. The bytes are the same on every processor."""

    def __init__(self, kept: KeptModel) -> None:
        """Raises ValueError where the parts or the arrays make no prior."""
        super().__init__(kept)
        parts = kept.parts
        layout = {**parts["layout"], "sizes": tuple(parts["layout"]["sizes"])}
        self.layout = Layout(**layout)
        self._vectors, self._joint = parts["vectors"], parts["joint_positions"]
        self.prior = find_prior(parts["prior"]).fitted.rebuilt(self.layout, kept.arrays)

    def compress(self, codes: npt.NDArray[Any]) -> bytes:
        """A file of codes [samples, codebooks] of vectors, or [samples, codebooks, codes of each] of images."""
        return encoded(self.prior, self.arranged(codes))

    def decompress(self, content: bytes) -> npt.NDArray[Any]:
        """The codes in a file. Raises `CodingError` where it is damaged, or of another prior."""
        return self.as_kept(decoded(self.prior, content))

    def as_kept(self, placed: Codes) -> npt.NDArray[Any]:
        """What `arranged` was given."""
        return kept(placed, self.layout, vectors=self._vectors).astype(code_type(self.layout.sizes))

    def bits(self, codes: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """What the codes of each sample cost: [samples]."""
        return self.prior.bits(self.arranged(codes))

    def encode(self, data: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
        """`compress`, as an array of bytes."""
        return np.frombuffer(self.compress(data), np.uint8)

    def decode(self, codes: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """`decompress` of an array of bytes."""
        return self.decompress(np.asarray(codes, np.uint8).tobytes())

    def arranged(self, codes: npt.NDArray[Any]) -> Codes:
        """Codes as `compress` takes them, on their grid [samples, positions, codes]."""
        placed, layout = arranged(
            codes, self.layout.sizes, positionwise=self.layout.shared, joint_positions=self._joint
        )
        if layout != self.layout:
            raise ModelError(f"found codes of shape {list(codes.shape)}, which are not those of a sample of this prior")
        return placed
