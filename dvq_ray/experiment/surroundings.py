"""What a computation may use and its results must not depend on: the device, where data is, where things are kept."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from typing import Any, Protocol


class CellFiles(Protocol):
    """What one cell keeps besides its row."""

    def read_checkpoint(self) -> bytes | None:
        """The last checkpoint written; None where there is none."""
        ...

    def write_checkpoint(self, content: bytes) -> None:
        """Replaces the checkpoint, as a whole or not at all."""
        ...

    def reject_checkpoint(self, reason: str) -> None:
        """Sets a checkpoint aside that cannot be read, so that the cell begins anew."""
        ...

    def write_artifact(self, name: str, content: bytes) -> None:
        """Keeps a file beside the results."""
        ...

    def write_model(self, parts: Mapping[str, Any], arrays: Mapping[str, Any], data_digest: str) -> None:
        """Keeps the model that a cell learned, so that `Experiment.model` builds it again.

        `parts` is what plain JSON can say of it, `arrays` its numpy arrays by name.
        """
        ...


class NoFiles:
    """Keeps nothing: for a cell that is only computed."""

    def read_checkpoint(self) -> bytes | None:
        """There is none."""
        return None

    def write_checkpoint(self, content: bytes) -> None:
        """Forgets it."""

    def reject_checkpoint(self, reason: str) -> None:
        """There is none."""

    def write_artifact(self, name: str, content: bytes) -> None:
        """Forgets it."""

    def write_model(self, parts: Mapping[str, Any], arrays: Mapping[str, Any], data_digest: str) -> None:
        """Forgets it."""


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """Where cells are computed."""

    device: str = "cpu"
    """`cpu` or `cuda`."""
    gpu_share: float = 1.0
    """Part of a GPU's memory that a trial may take: its `resources.gpu`, where that is a fraction."""
    data: Mapping[str, Any] = field(default_factory=dict)
    """Sources of data sets by name, for experiments that read any."""
    checkpoint_seconds: float = 60.0
    """Between two checkpoints of a cell that takes longer."""
    tensorboard: bool = False
    """Whether the curves of cells that are being computed are kept for TensorBoard too."""
    keep: Set[str] = frozenset()
    """What finished cells keep besides their row, of what their experiment can."""
    files: Mapping[int, CellFiles] = field(default_factory=dict)
    """By seed, of the cells that are computed."""

    def files_of(self, seed: int) -> CellFiles:
        """What the repetition `seed` keeps."""
        return self.files.get(seed, NoFiles())
