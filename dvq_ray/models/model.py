"""What `load_model` returns: data to codes and back, in the user's units."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy.typing as npt

from dvq_ray.models.files import KeptModel, ModelError


class Model:
    """A model that a finished cell kept."""

    def __init__(self, kept: KeptModel) -> None:
        self.kept = kept

    @property
    def settings(self) -> Mapping[str, Any]:
        """Every field of the cell but its seed."""
        return self.kept.settings

    @abstractmethod
    def encode(self, data: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Codes of `data`: vectors [samples, features], or images uint8 [samples, 3, height, width]."""
        raise NotImplementedError

    @abstractmethod
    def decode(self, codes: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """What `encode` took, as far as the codes say."""
        raise NotImplementedError

    def to_faiss(self) -> Any:
        """The same quantizer as an index of faiss. Raises `ModelError` where faiss has none."""
        raise ModelError(f"faiss has no index with the codes of {self.settings['quantizer']} in {self.kept.experiment}")
