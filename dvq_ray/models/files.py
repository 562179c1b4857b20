"""The two files of a kept model. Neither is a pickle: reading them runs no code.

model.safetensors   its arrays, by name
model.json          the format, the cell with its experiment and settings, the digests of the data and of the
                    arrays, versions, and `parts`: what the experiment needs besides the arrays to build it again
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

FORMAT = 1
ARRAYS, DESCRIPTION = "model.safetensors", "model.json"
FILES = (ARRAYS, DESCRIPTION)

Arrays = Mapping[str, npt.NDArray[Any]]


class ModelError(ValueError):
    """A kept model that cannot be used: says which cell or file, what was found and what to do."""


@dataclass(frozen=True, kw_only=True)
class KeptModel:
    """What the files of a model hold."""

    cell_id: str
    experiment: str
    revision: int
    settings: Mapping[str, Any]
    """Every field of the cell but its seed."""
    seed: int
    data_digest: str
    """Of the data that the cell read."""
    parts: Mapping[str, Any]
    """What plain JSON can say of the model. The experiment knows what it means."""
    arrays: Arrays
    versions: Mapping[str, str]
    """Of what the model was computed with."""

    def files(self) -> Mapping[str, bytes]:
        """The content of both files by name. That with the arrays is to be written first."""
        from safetensors.numpy import save

        numbers = save({name: np.asarray(array, order="C") for name, array in self.arrays.items()})
        fields = {name: value for name, value in vars(self).items() if name != "arrays"}
        text = {"format": FORMAT, **fields, "arrays_digest": hashlib.sha256(numbers).hexdigest()}
        return {ARRAYS: numbers, DESCRIPTION: json.dumps(text, indent=1, sort_keys=True, allow_nan=False).encode()}


def read_model(description: bytes, numbers: bytes) -> KeptModel:
    """The model of two files. Raises `ModelError` where they are damaged, or of a version that is not known."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        found = json.loads(description)
    except ValueError as error:
        raise ModelError(f"{DESCRIPTION}: is damaged: {error}") from error
    if not isinstance(found, dict) or "format" not in found:
        raise ModelError(f"{DESCRIPTION}: is damaged: format is missing; allowed: {FORMAT}")
    if found["format"] != FORMAT:
        raise ModelError(
            f"{DESCRIPTION}: found format = {found['format']!r:.40}; allowed: {FORMAT}. "
            f"A later version of dvq_ray has written it: install that, or compute the cell again"
        )
    names = [name for name in KeptModel.__dataclass_fields__ if name != "arrays"]
    if missing := [name for name in (*names, "arrays_digest") if name not in found]:
        raise ModelError(f"{DESCRIPTION}: is damaged: {', '.join(missing)} missing")
    if hashlib.sha256(numbers).hexdigest() != found["arrays_digest"]:
        raise ModelError(f"{ARRAYS}: is damaged: its digest is not that in {DESCRIPTION}")
    try:
        arrays = load(numbers)
    except SafetensorError as error:
        raise ModelError(f"{ARRAYS}: is damaged: {error}") from error
    return KeptModel(arrays=arrays, **{name: found[name] for name in names})
